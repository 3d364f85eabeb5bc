//! A transactional listener's partition, or one slot of it: position, inbox and the handler's rows in one commit, record after record.
//!
//! The loop is a small machine. Each [`Step`] holds what the next one needs, so that a session, a claimed record or
//! an open transaction cannot be used twice. While the next record is already queued, committing one and claiming
//! the next are one move (and on PostgreSQL one message).
//!
//! Revocation cancels the lease's token: the attempt in flight goes on to its commit or rollback, no other begins.
//!
//! | file | what it does |
//! |---|---|
//! | `attempt.rs` | the way of a record that goes well: waited for, claimed, handled, committed |
//! | `failed.rs` | the other ways: an outage, another attempt, setting the record aside |
//! | `group.rs` | many records in one transaction, where the listener wants it |
//! | `parked.rs` | keys that wait behind a record that failed, while others go on |
//! | `replay.rs` | records that were set aside, and that somebody wants handled after all |
//! | `stored.rs` | one attempt at a record that is in the table, parked or to be replayed |

mod attempt;
mod failed;
mod group;
mod parked;
mod replay;
mod stored;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::failure::{Chain, Failure};
use super::log_identity::{StartAt, WrongLog};
use super::message_id::InboxId;
use super::owner::{self, Halt, Taken};
use super::parking::Parking;
use super::queue::Queue;
use super::seats::{Seat, Seats};
use super::standing::second_look;
use super::stopped::stopped;
use super::vigil::{Vigil, Watch};
use super::watchdog::Running;
use super::work::Work;
use crate::error::BoxError;
use crate::listener::spec::Handler;
use crate::record::Record;
use crate::store::{Begun, Claim, Claimed, Dialect, Hold, KeySlot, LetterDialect, Rest, Store, Stored, Tx};
use attempt::Handled;
use group::Group;

/// A listener's database, with what its workers share.
#[derive(Debug)]
pub(crate) struct Bound<D: Dialect> {
    pub(crate) store: Arc<Store<D>>,
    pub(crate) seats: Seats,
    pub(crate) vigil: Vigil,
}

impl<D: Dialect> Clone for Bound<D> {
    fn clone(&self) -> Self {
        Bound { store: Arc::clone(&self.store), seats: self.seats.clone(), vigil: self.vigil.clone() }
    }
}

/// Why a worker is left.
pub(in crate::consumer) enum Left {
    /// Its lease was revoked.
    Over,
    /// The partition is split into another number of slots by now.
    OtherSlots,
    /// The log is not the one that a position speaks of. The caller says so, and stops the partition.
    WrongLog { offset: Option<i64>, why: BoxError },
}

/// Works on a slot's records, or on all of a partition's, until the lease is revoked.
pub(in crate::consumer) async fn work_on<D: LetterDialect>(
    queue: &mut Queue,
    slot: KeySlot,
    work: &Work,
    bound: &Bound<D>,
    handler: Handler<Tx<D>>,
) -> Left {
    let mut took_again = 0;
    let mut doubts = 0;
    let mut suspicions = 0;
    let mut left = None;
    let mut trying = None;
    loop {
        let mut owned = match owner::take(work, bound, queue, slot).await {
            Ok(Taken::Owned(owned)) => owned,
            Ok(Taken::OtherSlots) => return Left::OtherSlots,
            Err(Halt::Revoked) => return Left::Over,
            Err(Halt::Stop(why)) => return Left::WrongLog { offset: None, why },
        };
        // Nobody has died since then: what this process began here and did not see fail has not failed.
        let mut is_inherited = owned.hold.begun != Begun::NOTHING;
        if let Some(LeftBehind { epoch, position, failed }) = left
            && (owned.hold.epoch, owned.hold.next_offset) == (epoch + 1, position)
        {
            owned.hold.begun = Begun::Attempts(failed);
            is_inherited = false;
        }
        let (epoch, position) = (owned.hold.epoch, owned.hold.next_offset);
        let watch = bound.vigil.watch(owned.hold.held(), owned.hold.next_offset);
        let (queue_topic, queue_partition) = (Arc::clone(&queue.lease.topic), queue.lease.partition);
        let mut worker = Worker {
            work,
            bound,
            handler,
            slot,
            queue: &mut *queue,
            watch,
            running: work.watchdog.watch(work, &queue_topic, queue_partition),
            start: owned.start,
            seat: None,
            at_once: 0,
            moved_on: false,
            parking: owned.parking,
            is_full: false,
            has_unparked: false,
            trying: trying.take(),
            may_have_lost_its_tail: false,
            replayed_last: false,
            replayed_up_to: 0,
            let_one_through: false,
            group_ceiling: work.group_commit.max(1),
            outages: 0,
            failed: owned.hold.begun.attempts(),
            is_inherited,
            alone: None,
            group_at_most: work.group_commit.max(1),
            counted: counted_at_first(work, owned.hold.begun),
            backlog: VecDeque::new(),
        };
        worker.parked_changed();
        let turn = worker.until_halt(owned.hold).await;
        trying = worker.trying.take();
        left = (!worker.moved_on).then_some(LeftBehind { epoch, position, failed: worker.failed });
        if worker.moved_on {
            (took_again, doubts, suspicions) = (0, 0, 0);
        }
        match turn {
            Turn::Revoked => return Left::Over,
            Turn::Stop { offset, why } if why.is::<WrongLog>() => return Left::WrongLog { offset, why },
            Turn::Stop { offset, why } => {
                stopped(work, &queue.lease, offset, &*why).await;
                return Left::Over;
            }
            Turn::InDoubt(error) => {
                doubts += 1;
                tracing::warn!(
                    listener = %work.id, topic = %queue.lease.topic, partition = queue.lease.partition,
                    error = %Chain(&error),
                    "the answer to COMMIT was lost; taking the partition again to learn what it was"
                );
                if queue.lease.revoked_within(work.retry.wait(doubts)).await {
                    return Left::Over;
                }
            }
            Turn::LookAgain => {}
            // Once it is looked at again at once; a log that stays unreadable is asked for ever more rarely.
            Turn::Suspicion => {
                let wait = if suspicions == 0 { Duration::ZERO } else { work.retry.wait(suspicions) };
                suspicions += 1;
                if queue.lease.revoked_within(wait).await {
                    return Left::Over;
                }
            }
            Turn::NotOurs(hold) => {
                took_again += 1;
                if !second_look(work, &bound.store, &queue.lease, &hold, took_again).await {
                    return Left::Over;
                }
            }
        }
    }
}

/// What a worker knew of a record that it left behind: its own attempts at it.
#[derive(Debug, Clone, Copy)]
struct LeftBehind {
    epoch: i64,
    position: i64,
    failed: u32,
}

/// Why the worker left its loop.
enum Turn<L> {
    Revoked,
    /// Nobody knows whether the last attempt was committed.
    InDoubt(sqlx::Error),
    /// The row is not where this assignment left it.
    NotOurs(Hold<L>),
    /// The source cannot go on reading: is it still our log?
    Suspicion,
    /// What is parked has to be read anew.
    LookAgain,
    /// The partition stops.
    Stop {
        offset: Option<i64>,
        why: BoxError,
    },
}

/// A record on its way through an attempt.
struct Try {
    record: Record,
    id: Option<InboxId>,
    /// Which attempt at it this is, counted from 1.
    attempt: u32,
    /// What this transaction does about it.
    deed: Deed,
    /// Its row, once it is set aside.
    row: Option<i64>,
}

/// What a transaction does about its record.
enum Deed {
    /// Its handler runs.
    Handle,
    /// No handler sees it now: its row is written instead.
    SetAside(Aside),
    /// Nothing: it is another slot's, and this one only moves past it.
    MovePast,
}

impl Deed {
    fn is_to_handle(&self) -> bool {
        matches!(self, Deed::Handle)
    }
}

/// Why a record is set aside, and what becomes of it.
enum Aside {
    /// No attempt can help: it is dead.
    Dead(Failure),
    /// It has failed: it is parked, and tried again.
    Parked(Failure),
    /// An earlier record of its key is parked, and so is this one.
    Behind,
}

impl Aside {
    fn handled(&self) -> Handled {
        match self {
            Aside::Dead(_) => Handled::SetAside,
            Aside::Parked(_) | Aside::Behind => Handled::Parked,
        }
    }
}

impl Try {
    /// A handler is to see it.
    fn new(work: &Work, record: Record, attempt: u32) -> Self {
        let id = work.inbox_id(&record);
        Try { record, id, attempt, deed: Deed::Handle, row: None }
    }

    /// What no handler has seen before.
    fn first(work: &Work, record: Record, deed: Deed) -> Self {
        let (id, attempt) = match deed {
            Deed::Handle => (work.inbox_id(&record), 1),
            Deed::SetAside(_) => (work.inbox_id(&record), 0),
            Deed::MovePast => (None, 0),
        };
        Try { record, id, attempt, deed, row: None }
    }

    fn claim(&self) -> Claim<'_> {
        Claim { record: self.record.as_last(), message_id: self.message_id() }
    }

    fn message_id(&self) -> Option<&[u8]> {
        self.id.as_ref().map(InboxId::as_bytes)
    }
}

/// What to do next, with all that it needs.
enum Step<D: Dialect> {
    /// Wait for a record.
    Wait(Rest<D>),
    /// Begin an attempt at this record.
    Begin(Rest<D>, Try),
    /// It is claimed.
    Claimed(Claimed<D>, Try),
    /// Begin an attempt at these.
    Group(Rest<D>, Group),
    /// Handle what was set aside and is wanted again.
    Replay(Rest<D>),
    /// Try what is parked and has its turn.
    Unpark(Rest<D>),
    /// Leave.
    Leave(Turn<D::Locator>),
}

/// An earlier owner that left nothing behind was well when it last committed; what it had begun since then is the next
/// attempt. One that left an attempt behind may have died of any record that it had in hand.
fn counted_at_first(work: &Work, begun: Begun) -> u32 {
    if begun == Begun::NOTHING { 1 } else { work.group_commit.max(1) }
}

struct Worker<'a, D: Dialect> {
    work: &'a Work,
    bound: &'a Bound<D>,
    handler: Handler<Tx<D>>,
    /// Whose records it handles.
    slot: KeySlot,
    queue: &'a mut Queue,
    watch: Watch,
    running: Arc<Running>,
    start: StartAt,
    /// Held as long as a session is.
    seat: Option<Seat>,
    /// Attempts that were tried again at once, in a row.
    at_once: u32,
    /// Attempts that an outage ended, in a row.
    outages: u32,
    /// Attempts at the record behind the position that have failed; what the row counts beyond that only began.
    failed: u32,
    /// Whether anything was committed.
    moved_on: bool,
    /// What is parked in this partition.
    parking: Parking,
    /// So many are parked that the partition waits, and it was said.
    is_full: bool,
    /// Whether a parked row has left by this worker.
    has_unparked: bool,
    /// A parked row whose attempt is counted, and neither succeeded nor failed as far as is known.
    trying: Option<Stored>,
    /// A connection was lost; see [`Worker::must_look_again`].
    may_have_lost_its_tail: bool,
    /// A replay was the last of what is not a record of the queue; a parked one comes first now.
    replayed_last: bool,
    /// Up to here no replay is of this slot.
    replayed_up_to: i64,
    /// A record comes before the next replay, or the next that is parked.
    let_one_through: bool,
    /// What groups may grow to: less than one that was past the deadline.
    group_ceiling: u32,
    /// The attempt that the row counts was begun by an owner that nobody saw the end of.
    is_inherited: bool,
    /// Held for an attempt that may have ended a process, so that it is alone to blame if it ends this one.
    alone: Option<OwnedSemaphorePermit>,
    /// So many records a group may have now: fewer behind one that failed.
    group_at_most: u32,
    /// Attempts at so many records are counted before they begin: one of them may have been an earlier owner's last. As
    /// long as it may be more than the next one, each is handled alone.
    counted: u32,
    /// Records that were taken out of the queue and are not done.
    backlog: VecDeque<Record>,
}

impl<D: LetterDialect> Worker<'_, D> {
    async fn until_halt(&mut self, hold: Hold<D::Locator>) -> Turn<D::Locator> {
        let mut step = Step::Wait(Rest::Hold(hold));
        loop {
            step = match step {
                Step::Wait(rest) => self.wait(rest).await,
                Step::Begin(rest, a_try) => self.begin(rest, a_try).await,
                Step::Claimed(claimed, a_try) => self.claimed(claimed, a_try).await,
                Step::Group(rest, group) => self.group(rest, group).await,
                Step::Replay(rest) => self.replay(rest).await,
                Step::Unpark(rest) => self.unpark(rest).await,
                Step::Leave(turn) => return turn,
            };
        }
    }
}

impl<D: Dialect> Worker<'_, D> {
    async fn give_seat_back(&mut self, rest: Rest<D>) -> Rest<D> {
        let hold = rest.into_hold().await;
        self.seat = None;
        Rest::Hold(hold)
    }

    /// Waits, without a seat, while there is an outage, for its end or a turn to look; a revocation ends the wait.
    async fn wait_out_outage(&mut self, rest: Rest<D>) -> Rest<D> {
        if !self.work.outage.is_on() {
            return rest;
        }
        let rest = self.give_seat_back(rest).await;
        tokio::select! {
            biased;
            () = self.queue.lease.revoked.cancelled() => {}
            () = self.work.outage.turn(&self.work.retry) => {}
        }
        rest
    }

    /// An attempt that an earlier owner began, and may have died of, is made while no other such is made in this process: one that
    /// ends processes would otherwise take others along, time and again, until they are given up as well. Without a seat while
    /// it waits; `false` where the partition was revoked meanwhile.
    async fn be_alone(&mut self, rest: Rest<D>) -> (Rest<D>, bool) {
        if !self.is_inherited || self.alone.is_some() {
            return (rest, true);
        }
        let suspects = Arc::clone(&self.work.suspects);
        if let Ok(alone) = Arc::clone(&suspects).try_acquire_owned() {
            self.alone = Some(alone);
            return (rest, true);
        }
        let rest = self.give_seat_back(rest).await;
        self.alone = tokio::select! {
            biased;
            () = self.queue.lease.revoked.cancelled() => None,
            alone = suspects.acquire_owned() => alone.ok(),
        };
        (rest, self.alone.is_some())
    }

    /// Waits for a seat, unless it has one; `false` where the partition was revoked meanwhile.
    async fn take_seat(&mut self) -> bool {
        if self.seat.is_some() {
            return true;
        }
        self.seat = tokio::select! {
            biased;
            () = self.queue.lease.revoked.cancelled() => None,
            seat = self.bound.seats.take() => Some(seat),
        };
        self.seat.is_some()
    }
}
