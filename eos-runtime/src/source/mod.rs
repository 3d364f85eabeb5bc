//! The boundary to a log: what a partition's worker is given, and what it may ask.
//!
//! The worker sees no broker. It gets a [`Lease`]: records in order, a way to seek, a way to ask the group whether it
//! still holds the partition, and a place to say how far it has committed. The source side (Kafka's poll thread)
//! owns the other ends; dropping the lease gives the partition back, revocation cancels the lease's token.

mod dead_letter;
mod outflow;
mod place;
mod revocation;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use dead_letter::{LetterBox, LetterToTopic, Request};
pub(crate) use outflow::{Asked, LaneGone, Outflow, OutflowEnd, Output, Portion, Stream, Tap};
pub(crate) use place::Place;
pub(crate) use revocation::Revocation;

use crate::record::Record;

/// A partition lent to one worker, from its assignment to its revocation.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Which partition, and whether it was taken back.
    place: Place,
    /// Which assignment this is; a request that carries an older number does nothing.
    pub(crate) assignment: u64,
    intake: mpsc::UnboundedReceiver<Chunk>,
    shared: Arc<Shared>,
    requests: Arc<dyn Requests>,
}

/// How much is on its way to a partition's workers, so that the source holds back where it is a lot.
#[derive(Debug, Default)]
struct Load {
    /// Records handed over and not yet done with.
    records: AtomicUsize,
    /// Bytes of the chunks that were not yet picked up; bounds memory where records are large.
    bytes: AtomicUsize,
}

/// Records that were read together, in order; the generation tells which seek they follow.
#[derive(Debug)]
struct Chunk {
    seek: u64,
    records: Vec<Record>,
    /// What the records weigh in memory, so that large ones fill the queue sooner.
    bytes: usize,
}

/// What worker and source both see of a partition, without a lock.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// One for all branches of a lease.
    load: Arc<Load>,
    /// The next offset to tell Kafka, or -1 before there is one.
    committed: AtomicI64,
    /// The next offset to handle, or -1 before it is known; for those who only look.
    position: AtomicI64,
    /// How many seeks were asked for; chunks of earlier ones are stale.
    seeks: AtomicU64,
    /// Told when the source cannot go on reading where it is; see [`Lease::suspicion`].
    suspect: Arc<Notify>,
    /// See [`Lease::is_orphaned`].
    orphaned: AtomicBool,
}

/// Where a partition's log begins and ends at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watermarks {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

/// The offset that Kafka has for the group, and whether eos wrote it (or another tool did).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommittedInKafka {
    pub(crate) offset: i64,
    pub(crate) ours: bool,
}

/// What can go wrong with a request to the source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The partition is no longer this assignment's.
    #[error("the partition was revoked")]
    Revoked,
    /// The broker did not answer or said no.
    #[error("the broker did not answer as expected")]
    Broker(#[source] crate::error::BoxError),
}

/// The source's side of a lease's requests. Every answer comes through a oneshot, so that no worker blocks.
pub(crate) trait Requests: std::fmt::Debug + Send + Sync {
    /// Where the log begins and ends.
    fn watermarks(
        &self,
        topic: &Arc<str>,
        partition: i32,
        reply: oneshot::Sender<Result<Watermarks, SourceError>>,
    );
    /// How many partitions a topic has.
    fn partitions(&self, topic: &Arc<str>, reply: oneshot::Sender<Result<i32, SourceError>>);
    /// Start (or go on) delivering at this offset; chunks carry `seek` from then on.
    fn seek(&self, lease: LeaseId, offset: i64, seek: u64, reply: oneshot::Sender<Result<(), SourceError>>);
    /// A round trip to the group: do we still hold it? Commits `offset` as it asks, if that is not negative.
    fn confirm(&self, lease: LeaseId, offset: i64, reply: oneshot::Sender<Result<bool, SourceError>>);
    /// The offset that the group has committed in Kafka, for the warning that it differs.
    fn committed(
        &self,
        lease: LeaseId,
        reply: oneshot::Sender<Result<Option<CommittedInKafka>, SourceError>>,
    );
    /// The worker has room again.
    fn wake(&self);
}

/// Names a lease in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseId {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) assignment: u64,
}

/// The source's ends of a lease; dropping them revokes it.
#[derive(Debug)]
pub(crate) struct LeaseSource {
    intake: mpsc::UnboundedSender<Chunk>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) revoked: Revocation,
}

/// How far a worker is.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Shared>);

impl Progress {
    /// The next offset to handle, once it is known.
    pub(crate) fn position(&self) -> Option<i64> {
        let position = self.0.position.load(Ordering::Relaxed);
        (position >= 0).then_some(position)
    }

    /// It is this far; the group was told by other means than ours.
    pub(crate) fn moved_to(&self, next_offset: i64) {
        self.0.position.store(next_offset, Ordering::Relaxed);
    }
}

impl LeaseSource {
    /// Hands records over, with what they weigh in memory; false when the worker is gone.
    pub(crate) fn hand_over(&self, seek: u64, records: Vec<Record>, bytes: usize) -> bool {
        // Counted before they are sent: the worker may be done with them at once.
        self.shared.load.records.fetch_add(records.len(), Ordering::AcqRel);
        self.shared.load.bytes.fetch_add(bytes, Ordering::AcqRel);
        let Err(not_sent) = self.intake.send(Chunk { seek, records, bytes }) else { return true };
        self.shared.load.records.fetch_sub(not_sent.0.records.len(), Ordering::AcqRel);
        self.shared.load.bytes.fetch_sub(bytes, Ordering::AcqRel);
        false
    }
}

impl Drop for LeaseSource {
    fn drop(&mut self) {
        self.revoked.cancel();
    }
}

impl Lease {
    /// Makes a lease and the source's ends of it.
    pub(crate) fn new(
        topic: Arc<str>,
        partition: i32,
        assignment: u64,
        requests: Arc<dyn Requests>,
    ) -> (Lease, LeaseSource) {
        let place = Place { topic, partition, branch: 0, revoked: Revocation::default() };
        Lease::at(place, Arc::default(), assignment, requests)
    }

    /// A lease of a part of this one's records, which its holder hands over to another worker.
    pub(crate) fn branch(&self, number: i32, requests: Arc<dyn Requests>) -> (Lease, LeaseSource) {
        let place = Place { branch: number, revoked: Revocation::default(), ..self.place.clone() };
        Lease::at(place, Arc::clone(&self.shared.load), self.assignment, requests)
    }

    fn at(
        place: Place,
        load: Arc<Load>,
        assignment: u64,
        requests: Arc<dyn Requests>,
    ) -> (Lease, LeaseSource) {
        let (sender, intake) = mpsc::unbounded_channel();
        let (committed, position) = (AtomicI64::new(-1), AtomicI64::new(-1));
        let shared = Arc::new(Shared { load, committed, position, ..Shared::default() });
        let revoked = place.revoked.clone();
        let source = LeaseSource { intake: sender, shared: Arc::clone(&shared), revoked };
        (Lease { place, assignment, intake, shared, requests }, source)
    }

    /// Whom this lease asks, for those who answer a branch's requests.
    pub(crate) fn requests(&self) -> Arc<dyn Requests> {
        Arc::clone(&self.requests)
    }

    fn id(&self) -> LeaseId {
        LeaseId { topic: Arc::clone(&self.topic), partition: self.partition, assignment: self.assignment }
    }

    /// The next records in order; `None` once the source is gone.
    ///
    /// # Cancel safety
    /// Cancel safe: a chunk is either returned or still queued.
    pub(crate) async fn next(&mut self) -> Option<Vec<Record>> {
        Some(self.next_weighed().await?.0)
    }

    /// The same, with what they weigh in memory.
    ///
    /// # Cancel safety
    /// Cancel safe: a chunk is either returned or still queued.
    pub(crate) async fn next_weighed(&mut self) -> Option<(Vec<Record>, usize)> {
        loop {
            let chunk = self.intake.recv().await?;
            let bytes = chunk.bytes;
            if let Some(records) = self.current(chunk) {
                return Some((records, bytes));
            }
        }
    }

    /// The next records, if some are queued already.
    pub(crate) fn try_next(&mut self) -> Option<Vec<Record>> {
        loop {
            let chunk = self.intake.try_recv().ok()?;
            if let Some(records) = self.current(chunk) {
                return Some(records);
            }
        }
    }

    fn current(&self, chunk: Chunk) -> Option<Vec<Record>> {
        let before = self.shared.load.bytes.fetch_sub(chunk.bytes, Ordering::AcqRel);
        if before > RESUME_BELOW_BYTES && before - chunk.bytes <= RESUME_BELOW_BYTES {
            self.requests.wake();
        }
        if chunk.seek == self.shared.seeks.load(Ordering::Acquire) {
            return Some(chunk.records);
        }
        self.taken(chunk.records.len());
        None
    }

    /// Says that `count` of the records handed over are done with, so that the source can go on reading.
    pub(crate) fn taken(&self, count: usize) {
        let before = self.shared.load.records.fetch_sub(count, Ordering::AcqRel);
        if before > RESUME_BELOW && before - count <= RESUME_BELOW {
            self.requests.wake();
        }
    }

    /// Notified when the log is not what the source took it for: the offset it wanted is gone (retention, a topic
    /// made anew, a truncated log). Nothing more is delivered until the worker seeks, so the answer is always: compare
    /// [`watermarks`](Lease::watermarks) with the position, then stop or [`seek`](Lease::seek) again, even to the
    /// same offset.
    pub(crate) fn suspicion(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.suspect)
    }

    /// Whether the group's coordinator has forgotten the offset that it had acknowledged for this partition, which
    /// it does when the topic is deleted: what is read now may come from another log under the same name. Comes with
    /// a [`suspicion`](Lease::suspicion), and Kafka is told no offset until the worker [adopts](Lease::adopt) the log.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.shared.is_orphaned()
    }

    /// Takes the log for what it is now: nothing of it was committed.
    pub(crate) fn adopt(&self) {
        // Its suspicion may be heard already; a second one would be of something else.
        let _heard = self.shared.suspect.notified().now_or_never();
        self.shared.committed.store(-1, Ordering::Release);
        self.shared.orphaned.store(false, Ordering::Release);
    }

    /// Says how far the database has committed; Kafka's committed offset follows.
    pub(crate) fn committed(&self, next_offset: i64) {
        self.shared.committed.store(next_offset, Ordering::Release);
        self.shared.position.store(next_offset, Ordering::Relaxed);
    }

    /// How far the worker is, for those who only look.
    pub(crate) fn progress(&self) -> Progress {
        Progress(Arc::clone(&self.shared))
    }

    /// Starts delivery at `offset`; whatever was queued from before is dropped. Waits as long as it takes (a broker
    /// that is down is no error), until the partition is revoked.
    pub(crate) async fn seek(&self, offset: i64) -> Result<(), SourceError> {
        let seek = self.shared.seeks.fetch_add(1, Ordering::AcqRel) + 1;
        self.shared.position.store(offset, Ordering::Relaxed);
        self.ask(|reply| self.requests.seek(self.id(), offset, seek, reply)).await
    }

    /// Where the log begins and ends.
    pub(crate) async fn watermarks(&self) -> Result<Watermarks, SourceError> {
        self.ask(|reply| self.requests.watermarks(&self.topic, self.partition, reply)).await
    }

    /// How many partitions the topic has.
    pub(crate) async fn partitions(&self) -> Result<i32, SourceError> {
        self.ask(|reply| self.requests.partitions(&self.topic, reply)).await
    }

    /// Whether the group, asked now, says that this assignment still stands.
    pub(crate) async fn confirm(&self, offset: i64) -> Result<bool, SourceError> {
        self.ask(|reply| self.requests.confirm(self.id(), offset, reply)).await
    }

    /// The group's committed offset in Kafka.
    pub(crate) async fn committed_in_kafka(&self) -> Result<Option<CommittedInKafka>, SourceError> {
        self.ask(|reply| self.requests.committed(self.id(), reply)).await
    }

    async fn ask<T>(
        &self,
        send: impl FnOnce(oneshot::Sender<Result<T, SourceError>>),
    ) -> Result<T, SourceError> {
        let (reply, answer) = oneshot::channel();
        send(reply);
        answer.await.unwrap_or(Err(SourceError::Revoked))
    }
}

impl Drop for Lease {
    /// What is left in the queue of a branch is no load any more.
    fn drop(&mut self) {
        self.intake.close();
        while let Ok(chunk) = self.intake.try_recv() {
            self.shared.load.records.fetch_sub(chunk.records.len(), Ordering::AcqRel);
            self.shared.load.bytes.fetch_sub(chunk.bytes, Ordering::AcqRel);
        }
    }
}

impl Deref for Lease {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// The source takes nothing from a partition's log while this many records are queued…
const FULL_AT: usize = 2_000;
/// …or this many bytes…
const FULL_AT_BYTES: usize = 1 << 20;
/// …and goes on when so many records…
const RESUME_BELOW: usize = 1_000;
/// …and bytes are left.
const RESUME_BELOW_BYTES: usize = FULL_AT_BYTES / 2;

impl Shared {
    /// Whether the source should hold back.
    pub(crate) fn is_full(&self) -> bool {
        let Load { records, bytes } = &*self.load;
        records.load(Ordering::Acquire) >= FULL_AT || bytes.load(Ordering::Acquire) >= FULL_AT_BYTES
    }

    /// Whether it may go on after having held back.
    pub(crate) fn has_room(&self) -> bool {
        let Load { records, bytes } = &*self.load;
        records.load(Ordering::Acquire) <= RESUME_BELOW && bytes.load(Ordering::Acquire) <= RESUME_BELOW_BYTES
    }

    /// Tells the worker to look at the log again.
    pub(crate) fn suspect(&self) {
        self.suspect.notify_one();
    }

    /// See [`Lease::is_orphaned`].
    pub(crate) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Acquire)
    }

    /// Tells the worker that the group has forgotten the partition.
    pub(crate) fn orphan(&self) {
        self.orphaned.store(true, Ordering::Release);
        self.suspect();
    }

    /// What to tell Kafka, or `None` before anything was committed.
    pub(crate) fn committed(&self) -> Option<i64> {
        let offset = self.committed.load(Ordering::Acquire);
        (offset >= 0).then_some(offset)
    }
}
