//! Becoming a partition's owner: take it in the database, ask the group, compare the log.
//!
//! The order matters. The take fences whoever had the partition before. Only then the group is asked whether the
//! partition is still ours: a process that slept between its assignment and its take would otherwise take it from
//! the one that really has it, and run handlers. If the group says no, nothing runs here, and the one that was
//! fenced by mistake asks the group in its turn and takes its partition again.

use std::sync::Arc;
use std::time::Instant;

use super::failure::Chain;
use super::log_identity::{StartAt, WrongLog, start_at};
use super::parking::Parking;
use super::queue::Queue;
use super::trouble::Trouble;
use super::work::Work;
use crate::error::BoxError;
use crate::fault;
use crate::settings::Start;
use crate::source::{Lease, SourceError};
use crate::store::{Begun, Dialect, Hold, LetterDialect, PartitionKey, Store, Stream};

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

/// Takes the partition, trying until it is ours, revoked, or a wrong log stops it.
///
/// # Cancel safety
/// A take that was on its way may still happen; it fences an owner that then asks the group and takes it back.
pub(super) async fn take<D: LetterDialect>(
    work: &Work,
    store: &Store<D>,
    queue: &mut Queue,
) -> Result<Owned<D::Locator>, Halt> {
    let revoked = queue.lease.revoked.clone();
    let mut trouble = Trouble::default();
    loop {
        let taken = tokio::select! {
            biased;
            () = revoked.cancelled() => return Err(Halt::Revoked),
            taken = try_take(work, store, queue) => taken,
        };
        match taken {
            Ok(Some(owned)) => {
                trouble.over(work, &queue.lease, "the partition was taken");
                return Ok(owned);
            }
            Ok(None) => tracing::debug!(
                listener = %work.id, topic = %queue.lease.topic, partition = queue.lease.partition,
                "the group did not confirm that the partition is ours; asking again"
            ),
            Err(TakeFailed::WrongLog(wrong)) => return Err(Halt::Stop(wrong.into())),
            Err(TakeFailed::Source(SourceError::Revoked)) => return Err(Halt::Revoked),
            Err(TakeFailed::Source(error)) => {
                trouble.say(work, &queue.lease, "could not take the partition", &error)
            }
            Err(TakeFailed::Store(error)) => {
                trouble.say(work, &queue.lease, "could not take the partition", &error)
            }
        }
        if queue.lease.revoked_within(work.retry.wait(trouble.failures.max(1))).await {
            return Err(Halt::Revoked);
        }
    }
}

enum TakeFailed {
    WrongLog(WrongLog),
    Source(SourceError),
    Store(sqlx::Error),
}

/// One try; `None` when the group did not confirm.
async fn try_take<D: LetterDialect>(
    work: &Work,
    store: &Store<D>,
    queue: &mut Queue,
) -> Result<Option<Owned<D::Locator>>, TakeFailed> {
    let lease = &queue.lease;
    let key = PartitionKey {
        group: Arc::clone(&work.group),
        topic: Arc::clone(&lease.topic),
        partition: lease.partition,
    };
    let mut log = lease.watermarks().await.map_err(TakeFailed::Source)?;
    let stream = stream(work, store, lease, &key).await?;
    // A partition that was added to a topic we know is read from its beginning, whatever a new group would do.
    let start = match stream.first_partitions {
        Some(first) if work.start == Start::Latest && key.partition < first => log.high,
        Some(_) | None => log.low,
    };
    let in_kafka = lease.committed_in_kafka().await.map_err(TakeFailed::Source)?;

    fault::point("before_take");
    let taking = D::take(store, &key, stream, start, work.cluster.as_deref(), work.options());
    let mut hold = tokio::time::timeout(work.options().limit() * 2, taking)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(TakeFailed::Store)?;
    fault::point("after_take");
    if queue.confirmed && in_kafka.is_none() {
        return Err(TakeFailed::WrongLog(disown(work, store, &hold).await));
    }
    if !lease.confirm(hold.next_offset).await.map_err(TakeFailed::Source)? {
        return Ok(None);
    }
    queue.confirmed = true;
    let reading = tokio::time::timeout(work.options().limit(), D::parked(store, &key)).await;
    let parked = reading.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(TakeFailed::Store)?;
    let parking = Parking::new(parked, &work.retry, work.parked_at_most, Instant::now());
    let lease = &queue.lease;
    if hold.next_offset > log.high {
        // The earlier owner may have moved on since we looked.
        log = lease.watermarks().await.map_err(TakeFailed::Source)?;
    }
    let start = start_at(work, &hold, log).map_err(TakeFailed::WrongLog)?;
    if start.offset > hold.next_offset {
        // What was begun there is gone with its record.
        hold.begun = Begun::NOTHING;
    }
    warn_if_moved(work, &hold, in_kafka);
    queue.seek(start.offset).await.map_err(TakeFailed::Source)?;
    tracing::info!(
        listener = %work.id, topic = %key.topic, partition = key.partition, group = %key.group,
        position = hold.next_offset, epoch = hold.epoch, new = hold.created, parked = parking.len(), "took the partition"
    );
    work.counts.taken.one();
    queue.post.is_well();
    queue.post.has_parked(parking.len());
    Ok(Some(Owned { hold, start, parking }))
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
    let Some(in_kafka) = in_kafka.filter(|kafka| !kafka.ours && kafka.offset != hold.next_offset) else {
        return;
    };
    tracing::warn!(
        listener = %work.id, partition = %hold.key, position = hold.next_offset, in_kafka = in_kafka.offset,
        "Kafka's committed offset was set by another tool and is not followed: the position in the database decides. \
         To move it, stop the group and say `eos positions reset --group … --topic … --to …`"
    );
}
