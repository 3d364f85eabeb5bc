//! Producers for relays: records leave in the order in which they were handed over, and the fate of each is told.
//!
//! A producer is idempotent, and transactional where it has an id. What it is handed is sent as one *batch*; the next
//! begins when the fate of all of it is known. `enable.gapless.guarantee` ends the producer where a record in the middle
//! fails for good, so that nothing behind it slips past; whoever owns the producer makes a new one then.
//!
//! rdkafka's calls about transactions block, so they run on blocking threads. Its `commit_transaction` flushes in slices
//! of 100 ms while records are in flight, so none are waited for first.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaError};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::Notify;

use super::client::ClientOptions;
use super::context;
use super::failure::KafkaFailure;
use crate::settings::Properties;

/// A record that is to leave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) headers: &'a [(Cow<'static, str>, Option<Bytes>)],
    /// Further ones behind them.
    pub(crate) added: [Option<(&'static str, &'a [u8])>; 2],
}

impl Outgoing<'_> {
    /// In librdkafka's hands; none costs nothing.
    fn owned_headers(&self) -> Option<OwnedHeaders> {
        let added = self.added.iter().flatten();
        let count = self.headers.len() + added.clone().count();
        if count == 0 {
            return None;
        }
        let mut headers = OwnedHeaders::new_with_capacity(count);
        for (key, value) in self.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        for (key, value) in added {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        Some(headers)
    }
}

/// What a producer is for.
#[derive(Debug, Clone)]
pub(crate) struct ProducerOptions {
    /// `transactional.id`, where it has transactions.
    pub(crate) transactional_id: Option<String>,
    /// The most that the brokers take as one batch of records, of the topics that are known.
    pub(crate) batch_bytes: usize,
    /// `[outbox.properties]`.
    pub(crate) properties: Properties,
    /// What happens to what stands behind a record that fails for good.
    pub(crate) gaps: Gaps,
    /// How long a record waits for others of its batch; what is handed over all at once has nothing to wait for.
    pub(crate) linger: Duration,
    /// How long an unfinished transaction of a process that died may stay open.
    pub(crate) transaction_timeout: Option<Duration>,
}

/// What happens to records behind one that fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// They fail, too, and the producer with them.
    Forbidden,
    /// They may pass: all of it is taken back.
    Allowed,
}

impl ProducerOptions {
    /// Where one that fails holds up all behind it.
    pub(crate) fn in_order(
        transactional_id: Option<String>,
        batch_bytes: usize,
        properties: Properties,
    ) -> Self {
        let (gaps, linger, transaction_timeout) = (Gaps::Forbidden, Duration::ZERO, None);
        ProducerOptions { transactional_id, batch_bytes, properties, gaps, linger, transaction_timeout }
    }
}

/// A producer and what it told.
#[derive(Clone)]
pub(crate) struct Producer {
    inner: Arc<ThreadedProducer<Reports>>,
    reports: Arc<Batch>,
    /// Nobody waits for it any more: the process ends.
    abandoned: Arc<AtomicBool>,
}

/// Why a record did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotSent {
    /// Its place in the batch.
    pub(crate) index: usize,
    pub(crate) code: Code,
}

/// Why a transaction did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransactionError {
    /// It has to be aborted; then all of it can be done again.
    #[error("the Kafka transaction has to be aborted: {0}")]
    Abort(String),
    /// A newer producer has this id, or the brokers have ended the transaction of one that slept: this one is of no more use.
    #[error("the producer was replaced: {0}")]
    Fenced(String),
    /// Nobody knows what became of it: this producer is of no more use.
    #[error("the producer cannot go on: {0}")]
    Lost(String),
}

/// The batch that is on its way.
#[derive(Debug, Default)]
struct Batch {
    left: AtomicUsize,
    failures: Mutex<Vec<NotSent>>,
    done: Notify,
}

struct Reports(Arc<Batch>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // That the guarantee of no gaps is called experimental is nothing that a user could change.
        let level = if facility == "CONFWARN" { RDKafkaLogLevel::Debug } else { level };
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "eos::kafka", %error, reason, "a producer's trouble");
    }
}

impl ProducerContext for Reports {
    /// The record's place in its batch.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = result {
            self.0.failed(index, error.rdkafka_error_code().unwrap_or(Code::Fail));
        }
        self.0.one_done();
    }
}

impl Batch {
    fn failed(&self, index: usize, code: Code) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(NotSent { index, code });
    }

    fn one_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

/// What waits in librdkafka at the most; whoever sends more waits, and a record that is larger is refused.
const QUEUED_KBYTES: &str = "262144";

/// What order and "once" hang on; nobody may change these.
const PROMISED: [(&str, &str); 3] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // Java's, and so Spring's: a key lands where they put it.
    ("partitioner", "murmur2_random"),
];

impl Producer {
    /// Makes one; it connects when it has something to do.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(crate) fn new(client: &ClientOptions, options: &ProducerOptions) -> Result<Self, KafkaFailure> {
        let mut config = client.producer();
        config
            .set("linger.ms", options.linger.as_millis().to_string())
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", QUEUED_KBYTES);
        for (name, value) in options.properties.iter() {
            config.set(name, value);
        }
        config
            .set("batch.size", options.batch_bytes.clamp(1, 1_000_000).to_string())
            // The topics decide what is too large, and not this client.
            .set("message.max.bytes", "1000000000");
        for (name, value) in PROMISED {
            config.set(name, value);
        }
        if options.gaps == Gaps::Forbidden {
            config.set("enable.gapless.guarantee", "true");
        }
        if let Some(timeout) = options.transaction_timeout {
            config.set("transaction.timeout.ms", timeout.as_millis().to_string());
        }
        match &options.transactional_id {
            Some(id) => config.set("transactional.id", id),
            // A broker that is down is waited for.
            None => config.set("message.timeout.ms", "0"),
        };
        let reports = Arc::new(Batch::default());
        let inner = config.create_with_context(Reports(Arc::clone(&reports)));
        let inner = inner.map_err(|error| KafkaFailure::from(error).of_producer(&options.properties))?;
        Ok(Producer { inner: Arc::new(inner), reports, abandoned: Arc::default() })
    }

    /// Whether librdkafka makes a producer of these properties at all; it connects to nobody.
    ///
    /// # Errors
    /// What it does not accept.
    pub(crate) async fn check(
        client: &ClientOptions,
        transactional: bool,
        properties: &Properties,
    ) -> Result<(), KafkaFailure> {
        // Nobody is fenced by this id: transactions are not begun, and not initialised.
        let transactional_id = transactional.then(|| "eos.check".to_owned());
        let options = ProducerOptions::in_order(transactional_id, usize::MAX, properties.clone());
        Producer::new(client, &options)?.close().await;
        Ok(())
    }

    /// Sends a batch and waits for the fate of all of it; what did not leave comes back in order.
    ///
    /// # Cancel safety
    /// When it is dropped, records may still leave. The producer is of no more use then.
    pub(crate) async fn send<'a>(
        &self,
        records: impl ExactSizeIterator<Item = Outgoing<'a>>,
    ) -> Vec<NotSent> {
        let count = records.len();
        self.begin_batch();
        self.expect(count);
        for (index, record) in records.enumerate() {
            if !self.add(index, &record).await {
                // Nothing behind it may slip past.
                for behind in index + 1..count {
                    self.reports.failed(behind, Code::PurgeQueue);
                }
                self.expect_less(count - index - 1);
                break;
            }
        }
        self.end_batch().await
    }

    /// A batch begins: the fates of one before it are known.
    pub(crate) fn begin_batch(&self) {
        // What an abort has thrown away is told before the abort ends, and is nobody's concern any more.
        self.reports.failures.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // One more, which is taken off when all are handed over: the batch cannot be done before.
        self.reports.left.store(1, Ordering::Release);
        // What an aborted one still told is nobody's here.
        self.reports.failures.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// So many more are to be handed over.
    pub(crate) fn expect(&self, count: usize) {
        self.reports.left.fetch_add(count, Ordering::AcqRel);
    }

    /// So many of them are not handed over after all.
    pub(crate) fn expect_less(&self, count: usize) {
        self.reports.left.fetch_sub(count, Ordering::AcqRel);
    }

    /// Hands a record over that is expected, as this one of its batch; `false` where librdkafka refuses it, which is its fate then.
    ///
    /// # Cancel safety
    /// As of [`Producer::send`].
    pub(crate) async fn add(&self, index: usize, record: &Outgoing<'_>) -> bool {
        match self.hand_over(index, record).await {
            Ok(()) => true,
            Err(code) => {
                self.reports.failed(index, code);
                self.reports.left.fetch_sub(1, Ordering::AcqRel);
                false
            }
        }
    }

    /// Waits for the fate of all of the batch; what did not leave comes back in order.
    ///
    /// # Cancel safety
    /// As of [`Producer::send`].
    pub(crate) async fn end_batch(&self) -> Vec<NotSent> {
        if self.reports.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            loop {
                let done = self.reports.done.notified();
                if self.reports.left.load(Ordering::Acquire) == 0 {
                    break;
                }
                done.await;
            }
        }
        let mut failures =
            std::mem::take(&mut *self.reports.failures.lock().unwrap_or_else(PoisonError::into_inner));
        failures.sort_by_key(|failure| failure.index);
        failures
    }

    /// Into librdkafka's queue; one that is full is waited for.
    async fn hand_over(&self, index: usize, outgoing: &Outgoing<'_>) -> Result<(), Code> {
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(outgoing.topic, index);
        record.headers = outgoing.owned_headers();
        (record.partition, record.key, record.payload) = (outgoing.partition, outgoing.key, outgoing.payload);
        let mut is_empty = false;
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                // Nothing else is in it: this one will never fit.
                Err((KafkaError::MessageProduction(Code::QueueFull), _)) if is_empty => {
                    return Err(Code::MessageSizeTooLarge);
                }
                Err((KafkaError::MessageProduction(Code::QueueFull), again)) => {
                    record = again;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    is_empty = self.inner.in_flight_count() == 0;
                }
                Err((KafkaError::MessageProduction(code), _)) => return Err(code),
                // A topic's name with a NUL in it.
                Err(_) => return Err(Code::InvalidTopic),
            }
        }
    }

    /// Fences every earlier producer of this id, and ends what it had begun.
    ///
    /// # Errors
    /// [`TransactionError::Lost`], also where the brokers cannot be reached in time.
    pub(crate) async fn init_transactions(&self) -> Result<(), TransactionError> {
        self.blocking(|producer| producer.init_transactions(Timeout::After(Duration::from_secs(30)))).await
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Where this producer is of no more use.
    pub(crate) fn begin_transaction(&self) -> Result<(), TransactionError> {
        self.inner.begin_transaction().map_err(|error| TransactionError::of(&error))
    }

    /// Puts the group's positions into the transaction, on behalf of the member that this is.
    ///
    /// # Errors
    /// [`TransactionError::Abort`], also where the group does not know the member any more.
    pub(super) async fn send_offsets(
        &self,
        offsets: TopicPartitionList,
        member: Arc<ConsumerGroupMetadata>,
    ) -> Result<(), TransactionError> {
        self.until_answered(move |producer, slice| {
            producer.send_offsets_to_transaction(&offsets, &member, slice)
        })
        .await
    }

    /// Commits. An answer that does not come is waited for as long as the transaction may take.
    ///
    /// # Errors
    /// [`TransactionError::Abort`], or [`TransactionError::Lost`] where nobody knows.
    pub(crate) async fn commit_transaction(&self) -> Result<(), TransactionError> {
        self.until_answered(|producer, slice| {
            until_none_in_flight(producer);
            producer.commit_transaction(slice)
        })
        .await
    }

    /// Aborts.
    ///
    /// # Errors
    /// Where this producer is of no more use.
    pub(crate) async fn abort_transaction(&self) -> Result<(), TransactionError> {
        self.until_answered(|producer, slice| producer.abort_transaction(slice)).await
    }

    /// The same call again while librdkafka says that it may be made again: it goes on with the one that has begun. In slices,
    /// so that a process that ends is not held up by brokers that are away.
    async fn until_answered(
        &self,
        call: impl Fn(&ThreadedProducer<Reports>, Timeout) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), TransactionError> {
        const SLICE: Duration = Duration::from_secs(5);
        let abandoned = Arc::clone(&self.abandoned);
        self.blocking(move |producer| {
            loop {
                match call(producer, Timeout::After(SLICE)) {
                    Err(KafkaError::Transaction(error))
                        if error.is_retriable() && !abandoned.load(Ordering::Acquire) => {}
                    outcome => return outcome,
                }
            }
        })
        .await
    }

    /// Nobody waits for its answers any more.
    pub(super) fn abandon(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.abandoned)
    }

    /// Whether librdkafka has given it up.
    pub(crate) fn is_broken(&self) -> bool {
        self.inner.client().fatal_error().is_some()
    }

    /// Ends it; what it still holds does not leave, unless it is on its way.
    pub(crate) async fn close(self) {
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }

    async fn blocking(
        &self,
        call: impl FnOnce(&ThreadedProducer<Reports>) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), TransactionError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || call(&inner)).await {
            Ok(outcome) => outcome.map_err(|error| TransactionError::of(&error)),
            Err(panic) => Err(TransactionError::Lost(panic.to_string())),
        }
    }
}

/// Waits until librdkafka counts none in flight. A batch is done when the last report was told, but its record is counted
/// until the report is freed, which the thread that told it does a moment later. Other reports that nobody has taken
/// yet count as well, so that it waits no longer than what is to be saved.
fn until_none_in_flight(producer: &ThreadedProducer<Reports>) {
    let patience = Instant::now() + Duration::from_millis(100);
    while producer.in_flight_count() > 0 && Instant::now() < patience {
        thread::sleep(Duration::from_micros(50));
    }
}

/// How brokers say that a newer producer has the id.
const FENCED: [Code; 3] = [Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch];

impl TransactionError {
    fn of(error: &KafkaError) -> Self {
        if let KafkaError::Transaction(error) = &error {
            if error.txn_requires_abort() {
                return TransactionError::Abort(RDKafkaError::string(error));
            }
            if FENCED.contains(&error.code()) {
                return TransactionError::Fenced(RDKafkaError::string(error));
            }
        }
        TransactionError::Lost(error.to_string())
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

/// What follows from a record that did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The record itself is refused: another try cannot help until somebody changes it, its topic or its rights.
    Refused,
    /// The brokers cannot take it now.
    Outage,
}

impl NotSent {
    /// Whether it is the producer that is not wanted any more.
    pub(crate) fn is_fenced(&self) -> bool {
        FENCED.contains(&self.code)
    }

    /// Whether its topic is at fault, and not the record.
    pub(crate) fn is_of_topic(&self) -> bool {
        matches!(
            self.code,
            Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
        )
    }

    /// Whether a smaller record could pass.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self.code, Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize)
    }

    /// What follows, if it was sent alone.
    pub(crate) fn fate(&self) -> Fate {
        const REFUSED: [Code; 14] = [
            Code::MessageSizeTooLarge,
            Code::MessageBatchTooLarge,
            Code::InvalidMessageSize,
            Code::UnknownTopic,
            Code::UnknownTopicOrPartition,
            Code::UnknownPartition,
            Code::InvalidTopic,
            Code::TopicAuthorizationFailed,
            Code::InvalidRecord,
            Code::PolicyViolation,
            Code::InvalidTimestamp,
            Code::InvalidArgument,
            Code::UnsupportedForMessageFormat,
            Code::InvalidMessage,
        ];
        if REFUSED.contains(&self.code) { Fate::Refused } else { Fate::Outage }
    }
}
