//! The lane's work: outputs are handed to the producer as they come, and committed with the positions behind them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::fmt::Hyphenated;

use super::TransactorOptions;
use super::limits::Limits;
use super::open::{Open, Origin, Position, Void};
use crate::fault;
use crate::kafka::client::ClientOptions;
use crate::kafka::consumer::Membership;
use crate::kafka::failure::KafkaFailure;
use crate::kafka::producer::{Gaps, Outgoing, Producer, ProducerOptions};
use crate::record::MESSAGE_ID;
use crate::settings::Properties;
use crate::source::{Asked, OutflowEnd, Portion, Tap};

/// Whether anybody waits for the producer that there is.
pub(super) type Abandoned = Arc<Mutex<Arc<AtomicBool>>>;

/// All that it holds is its own, and goes with it.
pub(super) struct Lane {
    client: ClientOptions,
    options: TransactorOptions,
    membership: Membership,
    end: OutflowEnd,
    limits: Limits,
    abandoned: Abandoned,
    producer: Option<Producer>,
    /// What the producer sends as one batch at the most.
    batch_bytes: usize,
    open: Option<Open>,
    /// Room for the origins of the next one's outputs.
    origins: Vec<Origin>,
    run: u64,
    /// What the group may know us by, under the numbers of the questions.
    kept: BTreeMap<u64, Arc<ConsumerGroupMetadata>>,
    asked: u64,
    /// What it has accepted.
    known: Option<Arc<ConsumerGroupMetadata>>,
    /// Runs that came to nothing, in a row.
    failures: u32,
}

/// A transaction of a process that died blocks those who read committed records for this long beyond the interval, and for
/// as long as the brokers take to notice (`transaction.abort.timed.out.transaction.cleanup.interval.ms`, 10 s).
const TIMEOUT_BEYOND: Duration = Duration::from_secs(10);
/// Room for so many outputs is kept between transactions; more are rare.
const ORIGINS_KEPT: usize = 100_000;
const LONGEST_LINGER: Duration = Duration::from_millis(5);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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

impl Lane {
    /// At the end of a lane whose workers read as this member.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(super) fn new(
        client: &ClientOptions,
        options: TransactorOptions,
        membership: Membership,
        end: OutflowEnd,
    ) -> Result<Self, KafkaFailure> {
        Ok(Lane {
            client: client.clone(),
            options,
            membership,
            end,
            limits: Limits::new(client)?,
            abandoned: Arc::default(),
            producer: None,
            batch_bytes: 0,
            open: None,
            origins: Vec::new(),
            run: 0,
            kept: BTreeMap::new(),
            asked: 0,
            known: None,
            failures: 0,
        })
    }

    /// Told to the producer that there is when nobody waits any more.
    pub(super) fn abandoned(&self) -> Abandoned {
        Arc::clone(&self.abandoned)
    }

    /// Works until no worker, and nobody who starts any, is left.
    pub(super) async fn go(mut self) {
        if self.options.is_named {
            // Whoever had the name may have died with a transaction open, and it may be long before there is a partition.
            self.ready().await;
        }
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
            let batch_bytes = self.limits.batch();
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
        if let Err(void) = self.limits.admit(&from, &portion).await {
            // Nothing of it was handed over: what stands before it is good.
            self.commit().await;
            if run == self.run {
                self.void(None, void).await;
            }
            return;
        }
        if self.producer.is_some() && self.limits.batch() < self.batch_bytes {
            self.commit().await;
            self.throw_away().await;
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

    async fn begin(&mut self) -> Result<(), Void> {
        self.ready().await;
        if let Some(producer) = &self.producer {
            producer.begin_transaction().map_err(|error| Void::of(&error))?;
            producer.begin_batch();
            let origins = std::mem::take(&mut self.origins);
            self.open = Some(Open { since: Instant::now(), records: 0, positions: Vec::new(), origins });
        }
        Ok(())
    }

    async fn commit(&mut self) {
        let Some(open) = self.open.take() else { return };
        match self.try_commit(&open).await {
            Ok(()) => {
                self.failures = 0;
                open.positions.iter().for_each(|done| done.tap.committed(done.next, done.applied));
                self.origins = open.origins;
                self.origins.clear();
                self.origins.shrink_to(ORIGINS_KEPT);
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
        if let Some(fenced) = failures.iter().find(|failure| failure.is_fenced()) {
            return Err(Void::Fenced(fenced.code.to_string()));
        }
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
        let why = void.why(open.as_ref(), self.options.is_named);
        match void {
            Void::NotSent(failures) => {
                let bytes = self.batch_bytes;
                let are_to_be_smaller =
                    open.as_ref().is_some_and(|open| self.limits.learn(open, &failures, bytes));
                self.abort().await;
                if are_to_be_smaller {
                    self.throw_away().await;
                }
            }
            Void::Aborted(_) if open.is_none() => {}
            Void::Aborted(_) => self.abort().await,
            Void::Fenced(_) | Void::Lost(_) => self.throw_away().await,
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

    async fn abort(&mut self) {
        let Some(producer) = &self.producer else { return };
        // What is still on its way fails at once, or is aborted with the rest.
        if let Err(error) = producer.abort_transaction().await {
            tracing::debug!(target: "eos::kafka", %error, "a producer that cannot abort is thrown away");
            self.throw_away().await;
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
