//! An exactly-once listener's partition: what its records leave goes into Kafka in one transaction with their offsets.
//!
//! A worker runs the handler on record after record, and passes what they leave to its member's lane (`source/outflow.rs`),
//! which commits. A handler that fails has sent nothing, so that it costs no transaction; a record that no attempt can
//! handle goes to its topic of dead letters as an output like any other. Where a transaction comes to nothing the worker goes
//! back to what the group has committed. When its partition is revoked it passes what it has, and waits for its commit.
//!
//! ```text
//! lease → where did the group get to? → are we of the group? → seek → handle → pass → handle → pass …
//!            ↑                                                                   │ the run came to nothing
//!            └───────────────────────────────────────────────────────────────────┘
//! ```

use std::sync::Arc;

use super::aftermath::Aftermath;
use super::failure::Chain;
use super::invoke::invoke;
use super::log::Fate;
use super::owner::Halt;
use super::plain::{NO_START, where_to};
use super::queue::Queue;
use super::span;
use super::stopped::stopped;
use super::trouble::{Trouble, unless_revoked};
use super::watchdog::Running;
use super::work::Work;
use crate::kafka_tx::{KafkaTx, OutputId};
use crate::listener::spec::TxHandler;
use crate::record::Record;
use crate::settings::Start;
use crate::source::{Lease, LetterToTopic, Outflow, Portion, SourceError, Stream};
use crate::store::Reason;

/// A dead letter has so many forms, each smaller than the one before.
const FORMS: u32 = 3;

/// Works on a lease until it is revoked.
pub(crate) async fn run(
    lease: Lease,
    work: Arc<Work>,
    outflow: Outflow,
    message_id: OutputId,
    handler: TxHandler<KafkaTx>,
) {
    let stream = open(&outflow, &lease, &work);
    let queue = Queue::new(lease, &work.board);
    let running = work.watchdog.watch(&work, &queue.lease.topic, queue.lease.partition);
    let start = work.start;
    let mut worker = Worker {
        work: &work,
        message_id,
        handler,
        queue,
        outflow,
        stream,
        running,
        start,
        suspicions: 0,
        room: 0,
    };
    loop {
        let halted = match worker.begin().await {
            Ok(()) => worker.until_halt().await,
            Err(halt) => Some((halt, None)),
        };
        match halted {
            None => {}
            Some((Halt::Revoked, _)) => return worker.stream.settle().await,
            Some((Halt::Stop(why), offset)) => {
                worker.stream.settle().await;
                // What stands before it was not committed, and comes again first.
                if worker.stream.is_void() {
                    continue;
                }
                return stopped(&work, &worker.queue.lease, offset, &*why).await;
            }
        }
    }
}

struct Worker<'w> {
    work: &'w Arc<Work>,
    /// What it gives to outputs.
    message_id: OutputId,
    handler: TxHandler<KafkaTx>,
    queue: Queue,
    outflow: Outflow,
    stream: Stream,
    running: Arc<Running>,
    start: Start,
    /// In a row.
    suspicions: u32,
    /// How many outputs the last portion had: the next will have as many, most probably.
    room: usize,
}

/// A place at the lane; what is committed there counts as applied.
fn open(outflow: &Outflow, lease: &Lease, work: &Arc<Work>) -> Stream {
    let counts = Arc::clone(work);
    outflow.open(lease, Box::new(move |applied| counts.counts.applied.add(applied)))
}

/// What the worker holds that is not passed on yet.
struct Holding {
    out: KafkaTx,
    records: u32,
    applied: u64,
    next: i64,
}

/// What became of a record.
enum Done {
    /// What it leaves is in hand.
    InHand,
    /// The run came to nothing meanwhile.
    Void,
}

type Halted = (Halt, Option<i64>);

impl Worker<'_> {
    /// Starts reading where the group has committed, in a new run.
    async fn begin(&mut self) -> Result<(), Halt> {
        let revoked = self.queue.lease.revoked.clone();
        let mut trouble = Trouble::default();
        loop {
            let began = unless_revoked(&revoked, self.try_begin()).await;
            if trouble.after(self.work, &self.queue.lease, NO_START, began).await?.is_some() {
                self.work.counts.taken.one();
                self.queue.post.is_well();
                return Ok(());
            }
        }
    }

    /// The order matters: the lane settles what was in doubt before it tells who we are; what it then keeps is good if the
    /// group accepts us afterwards, since we still have the partition. `None` where the group does not.
    async fn try_begin(&mut self) -> Result<Option<()>, SourceError> {
        self.stream.begin();
        let introduction = self.stream.introduce().await.map_err(|_| not_yet())?;
        let lease = &self.queue.lease;
        let offset = where_to(self.work, lease, self.start).await?.offset;
        if !lease.confirm(offset).await? {
            tracing::debug!(
                listener = %self.work.id, topic = %lease.topic, partition = lease.partition,
                "the group did not confirm that the partition is ours; asking again"
            );
            return Ok(None);
        }
        self.stream.introduced(introduction).await.map_err(|_| not_yet())?;
        self.queue.seek(offset).await?;
        tracing::debug!(
            listener = %self.work.id, topic = %self.queue.lease.topic, partition = self.queue.lease.partition,
            position = offset, "reading from where the group has committed"
        );
        Ok(Some(()))
    }

    /// `None` where the partition has to be begun again.
    async fn until_halt(&mut self) -> Option<Halted> {
        let revoked = self.queue.lease.revoked.clone();
        let suspicion = self.queue.lease.suspicion();
        let mut holding: Option<Holding> = None;
        loop {
            if self.stream.is_void() {
                return None;
            }
            let record = match self.queue.try_next() {
                Some(record) => record,
                None => {
                    if let Some(held) = holding.take()
                        && self.pass(held).await.is_err()
                    {
                        return Some((Halt::Revoked, None));
                    }
                    tokio::select! {
                        biased;
                        () = revoked.cancelled() => return Some((Halt::Revoked, None)),
                        () = self.stream.voided() => return None,
                        () = suspicion.notified() => {
                            self.log_is_another().await;
                            return None;
                        }
                        record = self.queue.next() => match record {
                            Some(record) => record,
                            None => return Some((Halt::Revoked, None)),
                        },
                    }
                }
            };
            if revoked.is_cancelled() {
                if let Some(held) = holding {
                    drop(self.pass(held).await);
                }
                return Some((Halt::Revoked, None));
            }
            let mut held = holding.take().unwrap_or_else(|| self.holding(&record, record.offset()));
            match self.handle(&mut held, &record).await {
                Ok(Done::InHand) => {
                    self.queue.post.is_well();
                    held.records += 1;
                    held.next = record.offset() + 1;
                    if held.records < self.stream.portion() && !held.out.is_full() {
                        holding = Some(held);
                    } else if self.pass(held).await.is_err() {
                        return Some((Halt::Revoked, None));
                    }
                }
                Ok(Done::Void) => return None,
                Err(halt) => {
                    drop(self.pass(held).await);
                    return Some((halt, Some(record.offset())));
                }
            }
        }
    }

    /// The log does not have what should come next: what was passed of it is given up, and where to go on is found out anew,
    /// ever more rarely.
    async fn log_is_another(&mut self) {
        self.stream = self.reopen();
        self.suspicions += 1;
        tracing::warn!(
            listener = %self.work.id, topic = %self.queue.lease.topic, partition = self.queue.lease.partition,
            "the log cannot be read where the group has committed; asking the group again"
        );
        let wait = self.work.retry.wait(self.suspicions);
        let _revoked = self.queue.lease.revoked_within(wait).await;
    }

    fn reopen(&self) -> Stream {
        open(&self.outflow, &self.queue.lease, self.work)
    }

    /// Nothing yet, before this record.
    fn holding(&self, record: &Record, next: i64) -> Holding {
        let out = KafkaTx::new(Arc::clone(&self.work.group), self.message_id, record.clone(), self.room);
        Holding { out, records: 0, applied: 0, next }
    }

    async fn pass(&mut self, mut held: Holding) -> Result<(), crate::source::LaneGone> {
        if held.records == 0 {
            return Ok(());
        }
        let Holding { records, applied, next, .. } = held;
        let portion = Portion { outputs: held.out.take(), records, applied, next };
        self.room = portion.outputs.len();
        self.stream.pass(portion).await
    }

    /// Runs the handler until it is done, or the record is set aside.
    async fn handle(&mut self, held: &mut Holding, record: &Record) -> Result<Done, Halt> {
        let work = self.work;
        let mut attempt = 1;
        if let Some((times, why)) = self.stream.refusals(record.offset()) {
            return self.refused(held, record, times, &why);
        }
        loop {
            held.out.turn_to(record);
            let delivery = work.delivery(record, attempt);
            work.counts.begun.one();
            let outcome = {
                let running = self.running.begin(record.offset());
                let span = span::of(work, std::slice::from_ref(&delivery));
                let allowance = running.allowance(work.deadline);
                invoke((self.handler)(&mut held.out, &delivery), allowance, span).await
            };
            let Err(failure) = outcome else {
                work.outage.over(&work.id);
                work.breaker.succeeded();
                held.applied += 1;
                return Ok(Done::InHand);
            };
            held.out.undo();
            if self.pass_what_is_done(held, record).await.is_err() {
                return Err(Halt::Revoked);
            }
            match work.aftermath(&self.queue, record, attempt, &failure) {
                Aftermath::Outage => {
                    if !work.outage.waited_out(&self.queue.lease, &work.retry).await {
                        return Err(Halt::Revoked);
                    }
                }
                Aftermath::SetAside(letter, reason) => {
                    self.set_aside(held, &letter, attempt, reason, 0);
                    return Ok(Done::InHand);
                }
                Aftermath::Again(wait, next) => {
                    attempt = next;
                    if self.queue.lease.revoked_within(wait).await {
                        return Err(Halt::Revoked);
                    }
                }
                // In a sentence that outlives the failure.
                Aftermath::Stop => return Err(Halt::Stop(Chain(&failure).to_string().into())),
            }
            if self.stream.is_void() {
                return Ok(Done::Void);
            }
        }
    }

    /// Nobody waits for a record that is tried again.
    async fn pass_what_is_done(
        &mut self,
        held: &mut Holding,
        record: &Record,
    ) -> Result<(), crate::source::LaneGone> {
        let fresh = self.holding(record, held.next);
        self.pass(std::mem::replace(held, fresh)).await
    }

    /// Its outputs were refused by Kafka: it is set aside, in a smaller form each time.
    fn refused(&self, held: &mut Holding, record: &Record, times: u32, why: &str) -> Result<Done, Halt> {
        let why = format!("Kafka refuses what the handler sent: {why}");
        let letter = self.work.letter(record, Reason::Failed, || why.clone());
        let Some(letter) = letter.filter(|_| times <= FORMS) else { return Err(Halt::Stop(why.into())) };
        self.set_aside(held, &letter, 1, Reason::Failed, times - 1);
        Ok(Done::InHand)
    }

    /// Goes to its topic as an output of the same transaction.
    fn set_aside(
        &self,
        held: &mut Holding,
        letter: &LetterToTopic,
        attempts: u32,
        reason: Reason,
        refusals: u32,
    ) {
        held.out.turn_to(&letter.record);
        held.out.push(self.stream.dead_letter(letter, refusals));
        self.work.counts.set_aside.one();
        self.work.say(&letter.record, attempts, &letter.error, Fate::DeadInTopic(&letter.to, reason));
    }
}

fn not_yet() -> SourceError {
    SourceError::Broker("the lane of transactions does not answer".into())
}
