//! A member's lane: what its workers pass goes into a Kafka transaction, with the positions behind it, and is committed now
//! and then.
//!
//! The order, and why: outputs are handed to the producer as they come. To commit, the fate of all of them is awaited, then
//! the positions go into the transaction, *on behalf of the member as the group last accepted it*: a member that has been
//! replaced meanwhile is refused here, whatever it takes itself for. Then the transaction is committed.
//!
//! What we show the group was kept before a commit of a worker's that the group accepted, and that worker still had its
//! partition then. Anything else would not do: librdkafka forgets who it was when the group shuts it out, and the broker
//! takes positions from a producer that names no member at all. And a partition whose worker has ended is not committed:
//! its revocation may have been answered, and somebody else may have it.
//!
//! Whatever goes wrong before the commit makes the transaction void: it is aborted, and a new run begins. A commit whose
//! answer is not known is neither repeated nor aborted: the producer is thrown away, and the next one's initialisation
//! settles it, before a worker asks the group where to go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{Fuse, FusedFuture as _};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use uuid::fmt::Hyphenated;

use super::client::ClientOptions;
use super::consumer::Membership;
use super::failure::KafkaFailure;
use super::partitions::panicked;
use super::producer::{Fate, Gaps, NotSent, Outgoing, Producer, ProducerOptions, TransactionError};
use super::topics::{Topic, Topics};
use crate::fault;
use crate::record::MESSAGE_ID;
use crate::settings::Properties;
use crate::source::{Asked, OutflowEnd, Output, Portion, Tap};

/// What a lane is for.
#[derive(Debug, Clone)]
pub(crate) struct TransactorOptions {
    pub(crate) group: String,
    /// Whose it is, for the log.
    pub(crate) listener: String,
    pub(crate) transactional_id: String,
    /// How long a transaction stays open for more.
    pub(crate) commit_interval: Duration,
    /// How many records it may hold before it is committed.
    pub(crate) commit_records: u32,
}

impl TransactorOptions {
    /// Small batches cost everybody more than a moment of waiting, where a transaction waits for more anyway.
    fn linger(&self) -> Duration {
        if self.commit_records == 1 {
            Duration::ZERO
        } else {
            (self.commit_interval / 50).min(LONGEST_LINGER)
        }
    }
}

/// The task of a lane; it ends when no worker, and nobody who starts any, is left.
#[derive(Debug)]
pub(crate) struct Transactor {
    task: Fuse<JoinHandle<()>>,
    abort: AbortHandle,
    group: String,
    /// Told to the producer that there is when nobody waits any more.
    abandoned: Arc<Mutex<Arc<AtomicBool>>>,
}

struct Lane {
    client: ClientOptions,
    options: TransactorOptions,
    membership: Membership,
    end: OutflowEnd,
    topics: Topics,
    abandoned: Arc<Mutex<Arc<AtomicBool>>>,
    producer: Option<Producer>,
    /// What the producer sends as one batch at the most.
    batch_bytes: usize,
    /// Less than the topics say, where one of them took less.
    batch_at_most: usize,
    open: Option<Open>,
    run: u64,
    /// What the group may know us by, under the numbers of the questions.
    kept: BTreeMap<u64, Arc<ConsumerGroupMetadata>>,
    asked: u64,
    /// What it has accepted.
    known: Option<Arc<ConsumerGroupMetadata>>,
    /// Runs that came to nothing, in a row.
    failures: u32,
}

/// The transaction that is open.
struct Open {
    since: Instant,
    records: u32,
    positions: Vec<Position>,
    /// Of each output.
    origins: Vec<Origin>,
}

/// Which record an output is of, and where it goes.
struct Origin {
    /// Whose record: a place among the positions.
    position: usize,
    offset: i64,
    to: Arc<str>,
}

/// How far a partition is, with what it has put into the transaction.
struct Position {
    tap: Arc<Tap>,
    next: i64,
    applied: u64,
}

/// Why a transaction came to nothing.
enum Void {
    /// These outputs did not leave.
    NotSent(Vec<NotSent>),
    /// The group, or the broker, does not want it; the producer can go on.
    Aborted(String),
    /// The producer is of no more use, and the transaction perhaps in doubt.
    Lost(String),
}

/// A transaction of a process that died blocks those who read committed records for this long beyond the interval, and for
/// as long as the brokers take to notice (`transaction.abort.timed.out.transaction.cleanup.interval.ms`, 10 s).
const TIMEOUT_BEYOND: Duration = Duration::from_secs(10);
/// What a request has around its records.
const ENVELOPE: usize = 512;
const LONGEST_LINGER: Duration = Duration::from_millis(5);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Transactor {
    /// Starts it, at the end of a lane whose workers read as this member.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(crate) fn start(
        client: &ClientOptions,
        options: TransactorOptions,
        membership: Membership,
        end: OutflowEnd,
    ) -> Result<Self, KafkaFailure> {
        let lane = Lane {
            client: client.clone(),
            options,
            membership,
            end,
            topics: Topics::new(client)?,
            abandoned: Arc::default(),
            producer: None,
            batch_bytes: 0,
            batch_at_most: usize::MAX,
            open: None,
            run: 0,
            kept: BTreeMap::new(),
            asked: 0,
            known: None,
            failures: 0,
        };
        let abandoned = Arc::clone(&lane.abandoned);
        let group = lane.options.group.clone();
        let task = tokio::spawn(lane.go());
        Ok(Transactor { abort: task.abort_handle(), task: task.fuse(), group, abandoned })
    }

    /// Completes when the lane has ended by a panic: nobody would commit any more.
    pub(crate) async fn failed(&mut self) -> KafkaFailure {
        match (&mut self.task).await {
            Err(error) if error.is_panic() => panicked(&self.group, &*error.into_panic()),
            Ok(()) | Err(_) => std::future::pending().await,
        }
    }

    /// Waits for its end, within reason.
    pub(crate) async fn ended(mut self, within: Duration) {
        if self.task.is_terminated() {
            return;
        }
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            tracing::warn!(target: "eos::kafka", "a lane of transactions did not end in time; its last one is left to time out");
            self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).store(true, Ordering::Release);
        }
    }
}

impl Drop for Transactor {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Lane {
    async fn go(mut self) {
        loop {
            if self.is_due() {
                self.commit().await;
            }
            let due = self.open.as_ref().map(|open| open.since + self.options.commit_interval);
            let asked = tokio::select! {
                biased;
                asked = self.end.requests.recv() => asked,
                () = until(due) => continue,
            };
            match asked {
                None => break,
                Some(Asked::Pass { from, run, portion }) if run == self.run => self.take(from, portion).await,
                // It was passed in a run that came to nothing.
                Some(Asked::Pass { .. }) => {}
                Some(Asked::Settle { from, run, done }) => {
                    let is_open = self.open.as_ref().is_some_and(|open| open.has(&from));
                    if run == self.run && is_open {
                        self.commit().await;
                    }
                    let _whoever_asked_is_gone = done.send(()).is_err();
                }
                Some(Asked::Introduce { reply }) => self.introduce(reply).await,
                Some(Asked::Introduced(number)) => {
                    if let Some(known) = self.kept.remove(&number) {
                        self.known = Some(known);
                        self.kept.retain(|other, _| *other > number);
                    }
                }
            }
        }
        // Whoever passed it was dropped before it was settled.
        if self.open.take().is_some() {
            self.abort().await;
        }
        self.throw_away().await;
    }

    fn is_due(&self) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.records >= self.options.commit_records
                || open.since.elapsed() >= self.options.commit_interval
        })
    }

    /// Before a worker asks the group anything, what was in doubt is settled.
    async fn introduce(&mut self, reply: oneshot::Sender<u64>) {
        self.ready().await;
        let membership = self.membership.clone();
        let metadata = tokio::task::spawn_blocking(move || membership.metadata()).await;
        if let Ok(Some(metadata)) = metadata {
            self.asked += 1;
            self.kept.insert(self.asked, Arc::new(metadata));
            let _whoever_asked_is_gone = reply.send(self.asked).is_err();
        }
    }

    /// A producer that is initialised: whoever had the id before is fenced, and what it had begun is ended.
    async fn ready(&mut self) {
        if self.producer.as_ref().is_some_and(Producer::is_broken) {
            self.throw_away().await;
        }
        let mut wait = FIRST_WAIT;
        while self.producer.is_none() {
            let batch_bytes = self.batch_limit();
            match self.make(batch_bytes).await {
                Ok(producer) => {
                    *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner) = producer.abandon();
                    (self.producer, self.batch_bytes) = (Some(producer), batch_bytes);
                }
                Err(why) => {
                    tracing::warn!(
                        target: "eos::kafka", listener = self.options.listener, transactional_id = self.options.transactional_id,
                        why, "no transactions for now; again in {wait:.1?}"
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn make(&self, batch_bytes: usize) -> Result<Producer, String> {
        let options = ProducerOptions {
            transactional_id: Some(self.options.transactional_id.clone()),
            batch_bytes,
            properties: Properties::default(),
            gaps: Gaps::Allowed,
            linger: self.options.linger(),
            transaction_timeout: Some(self.options.commit_interval + TIMEOUT_BEYOND),
        };
        let producer = Producer::new(&self.client, &options).map_err(|failure| failure.to_string())?;
        match producer.init_transactions().await {
            Ok(()) => Ok(producer),
            Err(error) => {
                producer.close().await;
                Err(error.to_string())
            }
        }
    }

    async fn throw_away(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.close().await;
        }
    }

    async fn take(&mut self, from: Arc<Tap>, portion: Portion) {
        let run = self.run;
        if let Err(void) = self.look(&from, &portion).await {
            // Nothing of it was handed over: what stands before it is good.
            self.commit().await;
            if run == self.run {
                self.void(None, void).await;
            }
            return;
        }
        // What had to be committed before came to nothing. And what is of a partition that is given up is somebody else's.
        if run != self.run || from.is_gone() {
            return;
        }
        if self.open.is_none()
            && let Err(void) = self.begin().await
        {
            return self.void(None, void).await;
        }
        let (Some(open), Some(producer)) = (&mut self.open, &self.producer) else { return };
        let Portion { outputs, records, applied, next } = portion;
        open.records = open.records.saturating_add(records);
        let position = open.position(&from);
        open.positions[position].next = next;
        open.positions[position].applied += applied;
        open.origins.reserve(outputs.len());
        producer.expect(outputs.len());
        let mut left = outputs.len();
        let mut text = [0; Hyphenated::LENGTH];
        for (offset, output) in outputs {
            let id = output.id.map(|id| (MESSAGE_ID, id.hyphenated().encode_lower(&mut text).as_bytes()));
            let outgoing = Outgoing {
                topic: &output.topic,
                partition: None,
                key: output.key.as_deref(),
                payload: output.payload.as_deref(),
                headers: &output.headers,
                added: [id, None],
            };
            left -= 1;
            let index = open.origins.len();
            let is_taken = producer.add(index, &outgoing).await;
            open.origins.push(Origin { position, offset, to: output.topic });
            if !is_taken {
                producer.expect_less(left);
                break;
            }
        }
    }

    /// What is known of the topics, before anything is handed over: one output that its topic does not take would take the
    /// whole transaction with it, and a batch that is larger than a topic takes all that is in it.
    async fn look(&mut self, from: &Tap, portion: &Portion) -> Result<(), Void> {
        let mut looked: Option<(&str, usize)> = None;
        for (offset, output) in &portion.outputs {
            let to = &*output.topic;
            // Neighbours have the same topic most of the time.
            let limit = match looked {
                Some((topic, limit)) if topic == to => limit,
                Some(_) | None => self.limit(from, *offset, to).await?,
            };
            looked = Some((to, limit));
            if weight(output) > limit {
                let why =
                    format!("{} bytes are more than `{to}` takes (`max.message.bytes`)", weight(output));
                from.refuse(*offset, why.clone());
                return Err(Void::Aborted(why));
            }
        }
        if self.producer.is_some() && self.batch_limit() < self.batch_bytes {
            self.commit().await;
            self.throw_away().await;
        }
        Ok(())
    }

    /// What can be sent as one batch, as far as is known.
    fn batch_limit(&self) -> usize {
        self.topics.smallest_limit().saturating_sub(ENVELOPE).min(self.batch_at_most).max(1)
    }

    async fn limit(&self, from: &Tap, offset: i64, to: &str) -> Result<usize, Void> {
        let why = match self.topics.look(to).await {
            Ok(Topic::Known { max_bytes, .. }) => return Ok(max_bytes),
            Ok(Topic::Missing) => format!("the topic `{to}` does not exist; make it"),
            Ok(Topic::Forbidden) => format!("nobody may write to the topic `{to}`; give us the right"),
            Ok(Topic::Impossible) => {
                let why = format!("`{to}` cannot be a topic's name");
                from.refuse(offset, why.clone());
                why
            }
            Err(why) => format!("the brokers do not tell of the topic `{to}`: {why}"),
        };
        Err(Void::Aborted(why))
    }

    async fn begin(&mut self) -> Result<(), Void> {
        self.ready().await;
        if let Some(producer) = &self.producer {
            producer.begin_transaction().map_err(|error| Void::of(&error))?;
            producer.begin_batch();
            let (positions, origins) = (Vec::new(), Vec::new());
            self.open = Some(Open { since: Instant::now(), records: 0, positions, origins });
        }
        Ok(())
    }

    async fn commit(&mut self) {
        let Some(open) = self.open.take() else { return };
        match self.try_commit(&open).await {
            Ok(()) => {
                self.failures = 0;
                open.positions.iter().for_each(|done| done.tap.committed(done.next, done.applied));
            }
            Err(void) => self.void(Some(open), void).await,
        }
    }

    async fn try_commit(&self, open: &Open) -> Result<(), Void> {
        let Some(producer) = &self.producer else {
            return Err(Void::Aborted("the producer is gone".to_owned()));
        };
        let failures = producer.end_batch().await;
        fault::point("exactly_once_after_acks");
        if !failures.is_empty() {
            return Err(Void::NotSent(failures));
        }
        let Some(member) = self.known.clone() else {
            return Err(Void::Aborted("the group has not accepted this member yet".to_owned()));
        };
        if let Some(Position { tap, .. }) = open.positions.iter().find(|position| position.tap.is_gone()) {
            return Err(Void::Aborted(format!("{}[{}] was given up", tap.topic, tap.partition)));
        }
        let mut offsets = TopicPartitionList::with_capacity(open.positions.len());
        for Position { tap, next, .. } in &open.positions {
            let added = offsets.add_partition_offset(&tap.topic, tap.partition, Offset::Offset(*next));
            added.map_err(|error| Void::Aborted(error.to_string()))?;
        }
        fault::point("exactly_once_before_offsets");
        producer.send_offsets(offsets, member).await.map_err(|error| Void::of(&error))?;
        fault::point("exactly_once_before_commit");
        producer.commit_transaction().await.map_err(|error| Void::of(&error))?;
        fault::point("exactly_once_after_commit");
        Ok(())
    }

    /// It comes to nothing: a new run begins.
    async fn void(&mut self, open: Option<Open>, void: Void) {
        let why = void.why(open.as_ref());
        match void {
            Void::NotSent(failures) => {
                let is_to_be_smaller = open.as_ref().is_some_and(|open| self.refuse(open, &failures));
                self.abort().await;
                if is_to_be_smaller {
                    self.batch_at_most = self.batch_bytes / 8;
                    self.throw_away().await;
                }
            }
            Void::Aborted(_) if open.is_none() => {}
            Void::Aborted(_) => self.abort().await,
            Void::Lost(_) => self.throw_away().await,
        }
        self.known = None;
        self.failures = self.failures.saturating_add(1);
        let wait =
            (FIRST_WAIT * 2_u32.saturating_pow(self.failures.saturating_sub(2).min(10))).min(LONGEST_WAIT);
        let wait = if self.failures == 1 { Duration::ZERO } else { wait };
        if self.failures == 1 {
            tracing::info!(
                target: "eos::kafka", listener = self.options.listener, why,
                "a Kafka transaction came to nothing; its records are read again"
            );
        } else {
            tracing::warn!(
                target: "eos::kafka", listener = self.options.listener, failures = self.failures, why,
                "Kafka transactions come to nothing; their records are read again in {wait:.1?}"
            );
        }
        self.run += 1;
        self.end.runs.send_replace(self.run);
        tokio::time::sleep(wait).await;
    }

    /// Whose output cannot be written as it is. A batch that is too large fails as a whole, whoever is to blame, so that smaller ones
    /// are sent from then on until one is alone; whether they are is said. A topic that is missing or forbidden is no
    /// record's fault: it is waited for.
    fn refuse(&self, open: &Open, failures: &[NotSent]) -> bool {
        let mut refused =
            failures.iter().filter(|failure| failure.fate() == Fate::Refused && !failure.is_of_topic());
        let Some(first) = refused.next() else { return false };
        let Some((tap, origin)) = open.origin(first) else { return false };
        self.topics.forget(&origin.to);
        if first.is_too_large() && refused.next().is_some() && self.batch_bytes > 1 {
            return true;
        }
        tap.refuse(origin.offset, first.code.to_string());
        false
    }

    async fn abort(&mut self) {
        let Some(producer) = &self.producer else { return };
        // What is still on its way fails at once, or is aborted with the rest.
        if let Err(error) = producer.abort_transaction().await {
            tracing::debug!(target: "eos::kafka", %error, "a producer that cannot abort is thrown away");
            self.throw_away().await;
        }
    }
}

impl Open {
    fn has(&self, tap: &Arc<Tap>) -> bool {
        self.positions.iter().any(|position| Arc::ptr_eq(&position.tap, tap))
    }

    /// The place of its position, which may be new.
    fn position(&mut self, tap: &Arc<Tap>) -> usize {
        let found = self.positions.iter().position(|position| Arc::ptr_eq(&position.tap, tap));
        found.unwrap_or_else(|| {
            self.positions.push(Position { tap: Arc::clone(tap), next: 0, applied: 0 });
            self.positions.len() - 1
        })
    }

    /// Which record an output is of, and whose.
    fn origin(&self, of: &NotSent) -> Option<(&Tap, &Origin)> {
        let origin = self.origins.get(of.index)?;
        Some((&self.positions.get(origin.position)?.tap, origin))
    }
}

impl Void {
    fn of(error: &TransactionError) -> Self {
        match error {
            TransactionError::Abort(why) => Void::Aborted(why.clone()),
            TransactionError::Fenced(why) => Void::Lost(format!(
                "{why} (it slept beyond the transaction's timeout, or another process has the same `[kafka] instance`)"
            )),
            TransactionError::Lost(why) => Void::Lost(why.clone()),
        }
    }

    /// In a sentence.
    fn why(&self, open: Option<&Open>) -> String {
        match self {
            Void::Aborted(why) | Void::Lost(why) => why.clone(),
            Void::NotSent(failures) => {
                let first = failures.first().and_then(|first| Some((first, open?.origin(first)?)));
                match first {
                    Some((first, (tap, Origin { offset, to, .. }))) => format!(
                        "`{to}` does not take what record {offset} of {}[{}] leaves: {}",
                        tap.topic, tap.partition, first.code
                    ),
                    None => "outputs could not be written".to_owned(),
                }
            }
        }
    }
}

/// About what a broker counts for it.
fn weight(output: &Output) -> usize {
    const AROUND: usize = 100;
    let headers: usize = output
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len) + 10)
        .sum();
    AROUND
        + output.key.as_ref().map_or(0, Bytes::len)
        + output.payload.as_ref().map_or(0, Bytes::len)
        + output.id.map_or(0, |_| MESSAGE_ID.len() + Hyphenated::LENGTH + 10)
        + headers
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(task: JoinHandle<()>) -> Transactor {
        Transactor {
            abort: task.abort_handle(),
            task: task.fuse(),
            group: "billing".to_owned(),
            abandoned: Arc::default(),
        }
    }

    #[tokio::test]
    async fn a_lane_that_panics_is_noticed_and_one_that_ends_is_not() {
        let mut panics = with(tokio::spawn(async { panic!("no such topic") }));
        assert_eq!(
            panics.failed().await.to_string(),
            "a consumer of group `billing` panicked: no such topic"
        );
        panics.ended(Duration::from_secs(60)).await;

        let mut ends = with(tokio::spawn(async {}));
        assert!(tokio::time::timeout(Duration::from_millis(50), ends.failed()).await.is_err());
        ends.ended(Duration::from_secs(60)).await;
    }
}
