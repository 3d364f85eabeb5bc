//! A plain listener's partition: at least once. The offset is stored after the body returned Ok, or after the record is in
//! the topic of dead letters. An idempotent listener's is the same, with a claim around each run (see `idempotent`). Where keys are
//! handled side by side, `parallel` does it, and begins and ends as this does.

use std::sync::Arc;

use tokio::sync::Notify;

use super::aftermath::Aftermath;
use super::failure::Failure;
use super::idempotent::{Claimer, Turn};
use super::invoke::invoke;
use super::log::Fate;
use super::owner::Halt;
use super::parallel;
use super::queue::{Partition, Queue};
use super::span;
use super::stopped::stopped;
use super::trouble::{Trouble, unless_revoked};
use super::watchdog::Running;
use super::work::Work;
use crate::dedupe::Claim;
use crate::error::BoxError;
use crate::listener::spec::PlainHandler;
use crate::metrics::Purse;
use crate::record::Record;
use crate::settings::Start;
use crate::source::{Lease, LetterBox, LetterToTopic, Place, Revocation, SourceError, Watermarks};
use crate::store::Reason;

/// Works on a lease until it is revoked.
pub(crate) async fn run(lease: Lease, work: Arc<Work>, handler: PlainHandler) {
    let mut queue = Queue::new(lease, &work.board);
    let mut start = work.start;
    let mut suspicions = 0;
    loop {
        let halted = match begin(&work, &mut queue, start).await {
            Ok(()) if work.hands > 1 => parallel::until_halt(&work, &mut queue, handler).await,
            Ok(()) => until_halt(&work, &mut queue, handler).await,
            Err(halt) => Some((halt, None)),
        };
        match halted {
            // The source cannot go on where it was: look where the log is now. All of a new log is new.
            None if queue.lease.is_orphaned() => {
                tracing::warn!(
                    listener = %work.id, topic = %queue.lease.topic, partition = queue.lease.partition,
                    "the group's coordinator has forgotten the offset that was committed for this partition, as it does \
                     when the topic is deleted (or has lost its own log); reading the topic from its beginning"
                );
                start = Start::Earliest;
                queue.lease.adopt();
            }
            None => {
                suspicions += 1;
                if queue.lease.revoked_within(work.retry.wait(suspicions)).await {
                    return;
                }
            }
            Some((Halt::Revoked, _)) => return,
            Some((Halt::Stop(why), offset)) => return stopped(&work, &queue.lease, offset, &*why).await,
        }
    }
}

pub(super) type Halted = (Halt, Option<i64>);

/// What is said while it is not known where to start.
pub(super) const NO_START: &str = "could not find out where to start";

/// Starts reading where the group committed, or where a new group starts.
async fn begin(work: &Work, queue: &mut Queue, start: Start) -> Result<(), Halt> {
    let revoked = queue.lease.revoked.clone();
    let mut trouble = Trouble::default();
    loop {
        let began = unless_revoked(&revoked, try_begin(work, queue, start)).await.map(Some);
        if trouble.after(work, &queue.lease, NO_START, began).await?.is_some() {
            work.counts.taken.one();
            queue.post.is_well();
            return Ok(());
        }
    }
}

async fn try_begin(work: &Work, queue: &mut Queue, start: Start) -> Result<(), SourceError> {
    let StartsAt { offset, is_committed, log } = where_to(work, &queue.lease, start).await?;
    // A new topic overran it, most probably: the oldest there is.
    if is_committed && offset > log.high {
        tracing::warn!(
            listener = %work.id, topic = %queue.lease.topic, partition = queue.lease.partition,
            committed = offset, low = log.low, high = log.high,
            "the group's committed offset lies outside the log; starting at the oldest record"
        );
        return queue.seek(log.low).await;
    }
    if is_committed {
        // Said again, so that it is noticed when the group forgets it.
        queue.lease.committed(offset);
    }
    queue.seek(offset).await
}

/// Where to go on, and whether it is what the group has committed.
pub(super) struct StartsAt {
    pub(super) offset: i64,
    is_committed: bool,
    log: Watermarks,
}

/// Where the group goes on. A position below the log's begin means that retention overran it. One beyond the end that readers
/// of committed records see may lie behind a transaction that is open; one that the log does not have at all is noticed when
/// it is read.
pub(super) async fn where_to(work: &Work, lease: &Lease, start: Start) -> Result<StartsAt, SourceError> {
    let committed = lease.committed_in_kafka().await?;
    let log = lease.watermarks().await?;
    let (offset, is_committed) = match (committed, start) {
        (Some(committed), _) if committed.offset < log.low => {
            tracing::warn!(
                listener = %work.id, topic = %lease.topic, partition = lease.partition,
                committed = committed.offset, low = log.low, high = log.high,
                "records were deleted by retention before they were read; going on at the oldest there is"
            );
            (log.low, false)
        }
        (Some(committed), _) => (committed.offset, true),
        (None, Start::Earliest) => (log.low, false),
        (None, Start::Latest) => (log.high, false),
    };
    Ok(StartsAt { offset, is_committed, log })
}

/// `None` where the log has to be looked at again.
async fn until_halt(work: &Work, queue: &mut Queue, handler: PlainHandler) -> Option<Halted> {
    let revoked = queue.lease.revoked.clone();
    let suspicion = queue.lease.suspicion();
    let running = work.watchdog.watch(work, &queue.lease.topic, queue.lease.partition);
    let mut worker = Worker::new(work, handler, running);
    let halted = worker.work_off(queue, &revoked, &suspicion).await;
    if let Some(claimer) = &mut worker.claimer {
        claimer.rest().await;
    }
    halted
}

/// What records are handled with, one after another.
pub(super) struct Worker<'w> {
    work: &'w Work,
    handler: PlainHandler,
    running: Arc<Running>,
    /// Where the listener is idempotent.
    claimer: Option<Claimer<'w>>,
    begun: Purse<'w>,
    applied: Purse<'w>,
}

impl<'w> Worker<'w> {
    pub(super) fn new(work: &'w Work, handler: PlainHandler, running: Arc<Running>) -> Self {
        Worker {
            work,
            handler,
            running,
            claimer: Claimer::of(work),
            begun: Purse::of(&work.counts.begun),
            applied: Purse::of(&work.counts.applied),
        }
    }

    /// Handles record after record; `None` where the log has to be looked at again.
    async fn work_off(
        &mut self,
        queue: &mut Queue,
        revoked: &Revocation,
        suspicion: &Notify,
    ) -> Option<Halted> {
        loop {
            let record = match self.next(queue) {
                Some(record) => record,
                None => {
                    self.rests();
                    tokio::select! {
                        biased;
                        () = revoked.cancelled() => return Some((Halt::Revoked, None)),
                        () = suspicion.notified() => return None,
                        record = queue.next() => match record {
                            Some(record) => record,
                            None => return Some((Halt::Revoked, None)),
                        },
                    }
                }
            };
            if revoked.is_cancelled() {
                return Some((Halt::Revoked, None));
            }
            if queue.lease.is_orphaned() {
                return None;
            }
            if let Err(halt) = self.handle(queue, &record).await {
                return Some((halt, Some(record.offset())));
            }
            queue.lease.committed(record.offset() + 1);
            queue.post.is_well();
        }
    }

    /// The next record, if there is one already.
    fn next(&mut self, queue: &mut Queue) -> Option<Record> {
        self.claimer.as_mut().and_then(Claimer::next).or_else(|| queue.try_next())
    }

    /// Nothing is queued: what was counted is told.
    fn rests(&mut self) {
        self.begun.empty();
        self.applied.empty();
    }

    /// Runs the handler once; `None` where the record's claim was lost meanwhile.
    async fn run(
        &mut self,
        record: &Record,
        attempt: u32,
        claim: Option<&Claim>,
    ) -> Option<Result<(), Failure>> {
        let delivery = self.work.delivery(record, attempt);
        self.begun.one();
        let running = self.running.begin(record.offset());
        let span = span::of(self.work, std::slice::from_ref(&delivery));
        let run = invoke((self.handler)(&delivery), running.allowance(self.work.deadline), span);
        match (&self.claimer, claim) {
            (Some(claimer), Some(claim)) => claimer.run(claim, run).await,
            (None, _) | (_, None) => Some(run.await),
        }
    }

    /// Handles one record, trying until it is done or set aside.
    pub(super) async fn handle(
        &mut self,
        partition: &mut impl Partition,
        record: &Record,
    ) -> Result<(), Halt> {
        let work = self.work;
        let mut attempt = 1;
        let mut failing = None;
        loop {
            let claim = match &mut self.claimer {
                None => None,
                Some(claimer) => match claimer.claim(partition.place(), record, attempt).await? {
                    Turn::Run(claim) => claim,
                    Turn::Skip => return Ok(()),
                },
            };
            // A claim that was lost is made again.
            let Some(outcome) = self.run(record, attempt, claim.as_ref()).await else { continue };
            if let (Some(claimer), Some(claim)) = (&mut self.claimer, &claim) {
                match &outcome {
                    Ok(()) => {
                        let next = partition.try_next();
                        claimer.done(partition.place(), record, claim, next).await?;
                    }
                    Err(_) => claimer.release(partition.place(), record, claim).await?,
                }
            }
            let Err(failure) = outcome else {
                work.outage.over(&work.id);
                work.breaker.succeeded();
                self.applied.one();
                return Ok(());
            };
            failing.get_or_insert_with(|| partition.post().fails());
            match work.aftermath(partition, record, attempt, &failure) {
                Aftermath::Outage => {
                    if !work.outage.waited_out(partition.place(), &work.retry).await {
                        return Err(Halt::Revoked);
                    }
                }
                Aftermath::SetAside(letter, reason) => {
                    let Some(letters) = &work.letters else { return Err(Halt::Stop(failure.into())) };
                    return set_aside(work, partition.place(), letters, letter, attempt, reason).await;
                }
                Aftermath::Again(wait, next) => {
                    attempt = next;
                    if partition.place().revoked_within(wait).await {
                        return Err(Halt::Revoked);
                    }
                }
                Aftermath::Stop => return Err(Halt::Stop(failure.into())),
            }
        }
    }
}

/// Writes a record to the topic of dead letters; its partition waits until it is there. A process that dies before it has
/// told Kafka of it writes it once more.
async fn set_aside(
    work: &Work,
    place: &Place,
    letters: &LetterBox,
    letter: LetterToTopic,
    attempts: u32,
    reason: Reason,
) -> Result<(), Halt> {
    let mut trouble = Trouble::default();
    loop {
        let sent = tokio::select! {
            biased;
            () = place.revoked.cancelled() => return Err(Halt::Revoked),
            sent = letters.send(letter.clone()) => sent,
        };
        let Err(why) = sent else { break };
        let what = "a dead letter cannot be written to its topic, and its partition waits";
        trouble.say(work, place, what, &*BoxError::from(why));
        if place.revoked_within(work.retry.wait(trouble.failures)).await {
            return Err(Halt::Revoked);
        }
    }
    work.counts.set_aside.one();
    work.say(&letter.record, attempts, &letter.error, Fate::DeadInTopic(&letter.to, reason));
    Ok(())
}
