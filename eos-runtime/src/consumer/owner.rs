//! Becoming the owner of a partition, or of one of its slots: take it in the database, ask the group, compare the log.
//!
//! The order matters. The take fences whoever had the partition before. Only then the group is asked whether the
//! partition is still ours: a process that slept between its assignment and its take would otherwise take it from
//! the one that really has it, and run handlers. If the group says no, nothing runs here, and the one that was
//! fenced by mistake asks the group in its turn and takes its partition again.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use super::failure::Chain;
use super::log_identity::{StartAt, WrongLog, start_at};
use super::parking::Parking;
use super::queue::Queue;
use super::transactional::Bound;
use super::trouble::Trouble;
use super::work::Work;
use crate::error::BoxError;
use crate::fault;
use crate::settings::Start;
use crate::source::{Lease, SourceError, Watermarks};
use crate::store::{Begun, Dialect, Hold, KeySlot, LetterDialect, ParkedRow, PartitionKey, Store, Stream};

/// A partition that is ours, positioned at the record to go on with.
pub(super) struct Owned<L> {
    pub(super) hold: Hold<L>,
    pub(super) start: StartAt,
    pub(super) parking: Parking,
}

/// Why there is nothing to work on.
pub(super) enum Halt {
    /// The partition was revoked, or the process stops.
    Revoked,
    /// A person must look.
    Stop(BoxError),
}

/// What is said when it is taken after trouble.
pub(super) const TAKEN: &str = "the partition was taken";

/// What became of a take.
pub(super) enum Taken<L> {
    Owned(Box<Owned<L>>),
    /// The partition is split into another number of slots by now.
    OtherSlots,
}

/// Takes the slot, trying until it is ours, revoked, or a wrong log stops it.
///
/// # Cancel safety
/// A take that was on its way may still happen; it fences an owner that then asks the group and takes it back.
pub(super) async fn take<D: LetterDialect>(
    work: &Work,
    bound: &Bound<D>,
    queue: &mut Queue,
    slot: KeySlot,
) -> Result<Taken<D::Locator>, Halt> {
    let revoked = queue.lease.revoked.clone();
    let mut trouble = Trouble::default();
    loop {
        let taken = tokio::select! {
            biased;
            () = revoked.cancelled() => return Err(Halt::Revoked),
            taken = try_take(work, bound, queue, slot) => taken,
        };
        if let Some(taken) = after_try(work, &queue.lease, &mut trouble, taken).await? {
            trouble.over(work, &queue.lease, TAKEN);
            return Ok(taken);
        }
    }
}

/// Why a try came to nothing.
pub(super) enum TakeFailed {
    WrongLog(WrongLog),
    Source(SourceError),
    Store(sqlx::Error),
}

/// What a try came to; `None` where it is to be made again, after a wait.
pub(super) async fn after_try<T>(
    work: &Work,
    lease: &Lease,
    trouble: &mut Trouble,
    tried: Result<Option<T>, TakeFailed>,
) -> Result<Option<T>, Halt> {
    const WHAT: &str = "could not take the partition";
    match tried {
        Ok(Some(done)) => return Ok(Some(done)),
        Ok(None) => tracing::debug!(
            listener = %work.id, topic = %lease.topic, partition = lease.partition,
            "the group did not confirm that the partition is ours, or another was at it; asking again"
        ),
        Err(TakeFailed::WrongLog(wrong)) => return Err(Halt::Stop(wrong.into())),
        Err(TakeFailed::Source(SourceError::Revoked)) => return Err(Halt::Revoked),
        Err(TakeFailed::Source(error)) => trouble.say(work, lease, WHAT, &error),
        Err(TakeFailed::Store(error)) => trouble.say(work, lease, WHAT, &error),
    }
    if lease.revoked_within(work.retry.wait(trouble.failures.max(1))).await {
        return Err(Halt::Revoked);
    }
    Ok(None)
}

/// What a statement of a take comes to, within the time that a server which lives would take.
pub(super) async fn within<T>(
    work: &Work,
    statement: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, TakeFailed> {
    let limit = work.options().limit() * 2;
    let outcome = tokio::time::timeout(limit, statement).await;
    outcome.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(TakeFailed::Store)
}

/// Takes the row of a slot, and nothing else; with what was known of the log before. `None` where the partition has no slot of
/// this number.
pub(super) async fn take_row<D: LetterDialect>(
    work: &Work,
    bound: &Bound<D>,
    lease: &Lease,
    slot: i32,
) -> Result<Option<(Hold<D::Locator>, Watermarks)>, TakeFailed> {
    let (key, store) = (key(work, lease), &bound.store);
    let log = lease.watermarks().await.map_err(TakeFailed::Source)?;
    let stream = stream(work, store, lease, &key).await?;
    // A partition that was added to a topic we know is read from its beginning, whatever a new group would do.
    let start = match stream.first_partitions {
        Some(first) if work.start == Start::Latest && key.partition < first => log.high,
        Some(_) | None => log.low,
    };
    let _turn = bound.seats.for_a_take().await;
    fault::point("before_take");
    let taking = D::take(store, &key, slot, stream, start, work.cluster.as_deref(), work.options());
    let hold = within(work, taking).await?;
    fault::point("after_take");
    Ok(hold.map(|hold| (hold, log)))
}

fn key(work: &Work, lease: &Lease) -> PartitionKey {
    PartitionKey {
        group: Arc::clone(&work.group),
        topic: Arc::clone(&lease.topic),
        partition: lease.partition,
    }
}

/// One try; `None` when the group did not confirm.
async fn try_take<D: LetterDialect>(
    work: &Work,
    bound: &Bound<D>,
    queue: &mut Queue,
    slot: KeySlot,
) -> Result<Option<Taken<D::Locator>>, TakeFailed> {
    let (lease, store) = (&queue.lease, &*bound.store);
    let in_kafka = lease.committed_in_kafka().await.map_err(TakeFailed::Source)?;
    let (mut hold, mut log) = match take_row(work, bound, lease, slot.number).await? {
        Some((hold, log)) if hold.slot == slot => (hold, log),
        Some(_) | None => return Ok(Some(Taken::OtherSlots)),
    };
    if queue.confirmed && in_kafka.is_none() {
        return Err(TakeFailed::WrongLog(disown(work, store, &hold).await));
    }
    if !lease.confirm(hold.next_offset).await.map_err(TakeFailed::Source)? {
        return Ok(None);
    }
    queue.confirmed = true;
    let parked = within(work, parked(store, &hold)).await?;
    let at_most = work.parked_at_most / usize::try_from(slot.of).unwrap_or(1);
    let parking = Parking::new(parked, &work.retry, at_most.max(1), Instant::now());
    if hold.next_offset > log.high {
        // The earlier owner may have moved on since we looked.
        log = queue.lease.watermarks().await.map_err(TakeFailed::Source)?;
    }
    let start = start_at(work, &hold, log).map_err(TakeFailed::WrongLog)?;
    if start.offset > hold.next_offset {
        // What was begun there is gone with its record.
        hold.begun = Begun::NOTHING;
    }
    warn_if_moved(work, &hold, in_kafka);
    queue.seek(start.offset).await.map_err(TakeFailed::Source)?;
    queue.lease.progress().moved_to(hold.next_offset);
    say_that_it_is_ours(work, &hold, parking.len());
    work.counts.taken.one();
    queue.post.is_well();
    queue.post.has_parked(parking.len(), parking.is_full());
    Ok(Some(Taken::Owned(Box::new(Owned { hold, start, parking }))))
}

/// Once for a partition, whatever it is split into.
fn say_that_it_is_ours<L>(work: &Work, hold: &Hold<L>, parked: usize) {
    let Hold { key, slot, next_offset: position, epoch, created: new, .. } = hold;
    if slot.number == 0 {
        tracing::info!(
            listener = %work.id, topic = %key.topic, partition = key.partition, group = %key.group,
            position, epoch, new, parked, slots = slot.of, "took the partition"
        );
    } else {
        tracing::debug!(
            listener = %work.id, topic = %key.topic, partition = key.partition, slot = slot.number,
            position, epoch, parked, "took a slot of the partition"
        );
    }
}

/// What is parked of the slot's keys, in its order.
pub(super) async fn parked<D: LetterDialect>(
    store: &Store<D>,
    hold: &Hold<D::Locator>,
) -> sqlx::Result<Vec<ParkedRow>> {
    let mut parked = D::parked(store, &hold.key).await?;
    parked.retain(|row| hold.slot.has_key(row.key.as_deref(), row.offset));
    Ok(parked)
}

/// The group has forgotten the partition: what was handled last may be of another log than what was handled before. The
/// row is left so that no later take recognises its log, here or elsewhere, until a person has looked.
pub(super) async fn disown<D: Dialect>(work: &Work, store: &Store<D>, hold: &Hold<D::Locator>) -> WrongLog {
    if let Err(error) = D::disown(store, hold, work.options()).await {
        tracing::warn!(
            listener = %work.id, partition = %hold.key, error = %Chain(&error),
            "it could not be written down that the partition's log is not to be trusted: a restart will go on with it"
        );
    }
    WrongLog::Forgotten { position: hold.next_offset }
}

/// The group's stream. Only a group that would start at the end needs to know which partitions came later.
async fn stream<D: Dialect>(
    work: &Work,
    store: &Store<D>,
    lease: &Lease,
    key: &PartitionKey,
) -> Result<Stream, TakeFailed> {
    let partitions = match work.start {
        Start::Earliest => None,
        Start::Latest => Some(lease.partitions().await.map_err(TakeFailed::Source)?),
    };
    let stream = D::stream(store, &key.group, &key.topic, partitions, work.options());
    stream.await.map_err(TakeFailed::Store)
}

/// Kafka's committed offset only follows ours; one that another tool set is named, and not followed.
fn warn_if_moved<L>(work: &Work, hold: &Hold<L>, in_kafka: Option<crate::source::CommittedInKafka>) {
    // A partition that is split says it once.
    let moved =
        in_kafka.filter(|kafka| !kafka.ours && kafka.offset != hold.next_offset && hold.slot.number == 0);
    let Some(in_kafka) = moved else {
        return;
    };
    tracing::warn!(
        listener = %work.id, partition = %hold.key, position = hold.next_offset, in_kafka = in_kafka.offset,
        "Kafka's committed offset was set by another tool and is not followed: the position in the database decides. \
         To move it, stop the group and say `eos positions reset --group … --topic … --to …`"
    );
}
