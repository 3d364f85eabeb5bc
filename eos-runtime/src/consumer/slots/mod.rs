//! A partition whose keys are split into slots: each with a position row and a worker of its own, side by side.
//!
//! ```text
//! lease of the partition → how many slots are in force? ── as wanted ──► a worker for each, with a lease of its own
//!                             ↑       │ another number                     (`branches`: the log is read once for all)
//!                             │       ▼
//!                             └── all at one position? ── no ──► the same, up to the highest of them
//!                                     │ yes
//!                                     └► split anew, by one compare-and-set on all rows
//! ```
//!
//! Order holds for each key, because a key is one slot's; each slot is fenced and exactly once, because it is what a partition
//! without slots is. How many there are is in the database: a process that wants another number first brings all slots to the
//! highest position, so that no record is between the positions when the keys are dealt out anew. A partition that is not
//! split, and is not to be, costs nothing more than before: its take sees how many slots there are.
//!
//! | file | what it promises |
//! |---|---|
//! | `division.rs` | which slot is handed which record, and where the log is read again |
//! | `branches.rs` | the workers of all slots, while the partition is ours |
//! | `door.rs` | what a slot's worker asks of its lease, and who answers |

mod branches;
mod division;
mod door;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::owner::{self, Halt, TakeFailed};
use super::queue::Queue;
use super::stopped::stopped;
use super::transactional::{Bound, Left, work_on};
use super::trouble::Trouble;
use super::work::Work;
use crate::fault;
use crate::listener::spec::Handler;
use crate::source::Lease;
use crate::store::{Hold, KeySlot, LetterDialect, Store, Tx};
use branches::Parted;

/// Works on a lease until it is revoked.
pub(crate) async fn run<D: LetterDialect>(
    lease: Lease,
    work: Arc<Work>,
    bound: Bound<D>,
    handler: Handler<Tx<D>>,
) {
    let mut lease = lease;
    let mut done = None;
    let mut settled = Settled::AsWanted;
    // The take of a partition that is not to be split sees whether it is.
    let mut is_known = work.key_slots == 1;
    loop {
        if !is_known {
            // It has no worker meanwhile, and can be seen all the same.
            let _post = work.board.post(&lease);
            settled = match settle(&work, &bound, &lease, done.as_ref()).await {
                Ok(settled) => settled,
                Err(Halt::Revoked) => return,
                Err(Halt::Stop(why)) => return stopped(&work, &lease, None, &*why).await,
            };
        }
        is_known = false;
        done = None;
        let parted = match settled {
            Settled::AsWanted if work.key_slots == 1 => {
                let mut queue = Queue::new(lease, &work.board);
                let left = work_on(&mut queue, KeySlot::WHOLE, &work, &bound, handler).await;
                lease = queue.into_lease();
                left.into()
            }
            Settled::AsWanted => {
                branches::work_off(&mut lease, work.key_slots, None, &work, &bound, handler).await
            }
            Settled::Uneven { slots, highest } => {
                branches::work_off(&mut lease, slots, Some(highest), &work, &bound, handler).await
            }
        };
        match parted {
            Parted::Revoked => return,
            Parted::OtherSlots => {}
            Parted::Done(all_below) => done = Some(all_below),
            Parted::WrongLog { offset, why } => {
                let _post = work.board.post(&lease);
                return stopped(&work, &lease, offset, &*why).await;
            }
        }
    }
}

/// All below an offset is done.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    until: i64,
    /// Where each slot stands.
    positions: Vec<i64>,
}

impl Done {
    /// Whether it is so, still: nobody has moved a slot since, and none had been moved beyond it before.
    fn holds(&self, positions: &[i64]) -> bool {
        self.positions == positions && positions.iter().all(|position| *position <= self.until)
    }
}

impl From<Left> for Parted {
    fn from(left: Left) -> Self {
        match left {
            Left::Over => Parted::Revoked,
            Left::OtherSlots => Parted::OtherSlots,
            Left::WrongLog { offset, why } => Parted::WrongLog { offset, why },
        }
    }
}

/// What the rows say, compared with what the listener wants.
enum Settled {
    /// It is split as it is to be.
    AsWanted,
    /// It is split otherwise, and its slots stand at different positions, of which this is the highest.
    Uneven { slots: i32, highest: i64 },
}

/// Splits the partition anew where that is wanted and can be, trying until it is known how it stands.
async fn settle<D: LetterDialect>(
    work: &Work,
    bound: &Bound<D>,
    lease: &Lease,
    done: Option<&Done>,
) -> Result<Settled, Halt> {
    let revoked = lease.revoked.clone();
    let mut trouble = Trouble::default();
    loop {
        let tried = tokio::select! {
            biased;
            () = revoked.cancelled() => return Err(Halt::Revoked),
            tried = try_settle(work, bound, lease, done) => tried,
        };
        if let Some(settled) = owner::after_try(work, lease, &mut trouble, tried).await? {
            trouble.over(work, lease, owner::TAKEN);
            return Ok(settled);
        }
    }
}

/// One try; `None` where the group did not confirm that the partition is ours, or somebody else was at its rows.
async fn try_settle<D: LetterDialect>(
    work: &Work,
    bound: &Bound<D>,
    lease: &Lease,
    done: Option<&Done>,
) -> Result<Option<Settled>, TakeFailed> {
    let Some((first, _)) = owner::take_row(work, bound, lease, 0).await? else { return Ok(None) };
    let slots = first.slot.of;
    if slots == work.key_slots {
        return Ok(Some(Settled::AsWanted));
    }
    let mut holds = vec![first];
    for number in 1..slots {
        match owner::take_row(work, bound, lease, number).await? {
            Some((hold, _)) if hold.slot.of == slots => holds.push(hold),
            Some(_) | None => return Ok(None),
        }
    }
    let positions: Vec<i64> = holds.iter().map(|hold| hold.next_offset).collect();
    let lowest = positions.iter().copied().min().unwrap_or_default();
    let highest = positions.iter().copied().max().unwrap_or_default();
    if !lease.confirm(lowest).await.map_err(TakeFailed::Source)? {
        return Ok(None);
    }
    if lowest < highest && !done.is_some_and(|done| done.holds(&positions)) {
        return Ok(Some(Settled::Uneven { slots, highest }));
    }
    fault::point("slots_before_split");
    split(work, &bound.store, &holds).await
}

async fn split<D: LetterDialect>(
    work: &Work,
    store: &Store<D>,
    holds: &[Hold<D::Locator>],
) -> Result<Option<Settled>, TakeFailed> {
    let splitting = D::split(store, holds, work.key_slots, work.options());
    let split = owner::within(work, splitting).await?;
    fault::point("slots_after_split");
    if !split {
        return Ok(None);
    }
    let key = &holds[0].key;
    tracing::info!(
        listener = %work.id, topic = %key.topic, partition = key.partition, group = %key.group,
        before = holds.len(), slots = work.key_slots, "the partition's keys are split anew"
    );
    Ok(Some(Settled::AsWanted))
}
