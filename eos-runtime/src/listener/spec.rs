//! What `#[kafka_listener]` prints: a listener as a plain data record, collected at link time.
//!
//! The macro decides nothing that a type can decide: which database a transaction belongs to is answered by
//! [`TransactionParam`], what a parameter needs by [`FromRecord::needs`](crate::FromRecord::needs).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::error::HandlerError;
use crate::extract::{Deliveries, Delivery, Needs};
use crate::kafka_tx::OutputId;

/// One listener as written in the source.
#[derive(Debug)]
pub struct ListenerSpec {
    /// The function's path, or `id = "…"`: names it in logs and in `[listeners."<id>"]`, never in the database.
    pub id: &'static str,
    /// Where it stands, for start-up errors.
    pub file: &'static str,
    /// Where it stands, for start-up errors.
    pub line: u32,
    /// Topics with their `${placeholders}` unresolved.
    pub topics: &'static [&'static str],
    /// `group = "…"`, with placeholders unresolved; `None` is the group of the settings.
    pub group: Option<&'static str>,
    /// How long one attempt may take.
    pub deadline: Duration,
    /// Consumers of this listener in one process.
    pub concurrency: u16,
    /// How many keys of a partition are handled side by side; 1 where there is a transaction, or no second attempt.
    pub concurrency_per_partition: u16,
    /// What is promised.
    pub mode: Mode,
    /// `retry(…)`; what is not said is that of the settings.
    pub retry: Retry,
    /// `on_failure = "…"`.
    pub on_failure: OnFailure,
    /// `dead_letter = …`.
    pub dead_letters: DeadLetters,
    /// What its parameters need from the application, so that start-up can check it.
    pub needs: fn(&mut Needs),
    /// The function, behind one signature.
    pub body: fn() -> Body,
}

inventory::collect!(ListenerSpec);

/// What a listener promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// At least once: the offset is stored after the body returned Ok.
    Plain,
    /// Position, inbox, the handler's rows: one commit.
    Transactional(Transactional),
    /// Outputs and offsets: one Kafka transaction.
    ExactlyOnce(ExactlyOnce),
    /// The offset is committed before the body; of so many queued records at once, at the most.
    AtMostOnce(u32),
    /// Plain, and a record whose id has been processed is not handled again.
    Idempotent(Idempotent),
}

/// The arguments of `idempotent(redis, …)` or `idempotent(database, …)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotent {
    /// `redis` or `database`: what remembers ids.
    pub medium: Medium,
    /// `id = …`: what a duplicate is known by.
    pub id: IdSource,
    /// `lease = "30s"`: how long a claim outlives a process that died.
    pub lease: Duration,
    /// `on_outage = "…"`.
    pub on_outage: OnOutage,
}

/// What remembers ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// Redis.
    Redis {
        /// `ttl = "7d"`: how long an id that was processed is remembered.
        ttl: Duration,
    },
    /// The inbox of a database, by `database` or `database = "…"`: a name under `[databases]`; `None` where there is one.
    Database(Option<&'static str>),
}

/// What a duplicate is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdSource {
    /// The message id, in one of the headers that `[inbox] id_headers` names.
    #[default]
    MessageId,
    /// Its place in the log: only the same record again is a duplicate.
    Position,
    /// The record's key.
    Key,
    /// This header.
    Header(&'static str),
    /// A field of its JSON payload, by its path.
    Field(&'static str),
}

/// What a listener does while what remembers its ids is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnOutage {
    /// It waits: nothing is handled twice.
    #[default]
    Wait,
    /// It handles records, and what comes twice is handled twice.
    Process,
}

/// The arguments of `retry(…)`, each `None` where it was not given.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Retry {
    /// `max = 5`: attempts in all.
    pub max: Option<u32>,
    /// `backoff = "200ms"`: the wait before the second.
    pub backoff: Option<Duration>,
    /// `factor = 2`: what each further wait is multiplied by.
    pub factor: Option<f64>,
    /// `max_backoff = "10s"`: the longest wait.
    pub max_backoff: Option<Duration>,
    /// `jitter = 0.2`: the share of a wait that chance may take off.
    pub jitter: Option<f64>,
}

/// What a partition does while a record of it that failed waits for its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It waits, too.
    #[default]
    Block,
    /// The record is parked, with every later one of its key, and other keys go on.
    Park,
}

/// Where records go that no attempt can handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeadLetters {
    /// Into `eos_dead_letter`, in the transaction that moves the position past them.
    #[default]
    Table,
    /// To a topic: this one (placeholders unresolved), or that of the record with `-dlt` behind it. Where there is a
    /// database they are in the table as well.
    Topic(Option<&'static str>),
    /// Nowhere: their partitions stop, or try for ever.
    Off,
}

/// The arguments of `transactional(…)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transactional {
    /// `isolation = "…"`.
    pub isolation: Isolation,
    /// `dedupe = "…"`.
    pub dedupe: Dedupe,
    /// `group_commit = 100`, or a batch listener's `max_batch`: how many queued records may be handled in one transaction;
    /// 1 is each by itself.
    pub group_commit: u32,
    /// `max_wait = "50ms"`: how long a batch may wait for more than are queued.
    pub max_wait: Duration,
    /// `key_slots = 16`: into how many slots each partition's keys are split, to be handled side by side; 1 is none.
    pub key_slots: u16,
    /// `database = "…"`: a name under `[databases]`; `None` where there is one database.
    pub database: Option<&'static str>,
}

/// The arguments of `exactly_once(…)`, and `to = "…"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactlyOnce {
    /// `commit_interval = "100ms"`: how long a transaction stays open for more records.
    pub commit_interval: Duration,
    /// `commit_records = 100000`: how many it may hold before it is committed; 1 is each by itself.
    pub commit_records: u32,
    /// `message_id = "…"`.
    pub message_id: OutputId,
    /// The topic of what is returned, placeholders unresolved; `None` is that of the event.
    pub to: Option<&'static str>,
}

/// A transaction's isolation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The default, whatever the database's own default is.
    #[default]
    ReadCommitted,
    /// Snapshot of the first statement.
    RepeatableRead,
    /// As if one after another; failures are tried again at once.
    Serializable,
}

impl Isolation {
    /// The attribute's word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read_committed",
            Isolation::RepeatableRead => "repeatable_read",
            Isolation::Serializable => "serializable",
        }
    }

    /// SQL's words for it.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        }
    }
}

/// How a duplicate is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dedupe {
    /// By position and by message id.
    #[default]
    MessageId,
    /// By position alone: one statement less, blind to a producer's own duplicates.
    Position,
}

/// What a handler's future is boxed as.
pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

/// A handler without a transaction.
pub type PlainHandler = for<'a> fn(&'a Delivery<'a>) -> HandlerFuture<'a>;

/// A handler with a transaction of type `T`.
pub type TxHandler<T> = for<'a> fn(&'a mut T, &'a Delivery<'a>) -> HandlerFuture<'a>;

/// A handler of a batch, with a transaction of type `T`.
pub type BatchHandler<T> = for<'a> fn(&'a mut T, &'a Deliveries<'a>) -> HandlerFuture<'a>;

/// A handler with a transaction, by how many records it takes.
pub enum Handler<T> {
    /// One.
    One(TxHandler<T>),
    /// As many as there are.
    Batch(BatchHandler<T>),
}

impl<T> Clone for Handler<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handler<T> {}

impl<T> std::fmt::Debug for Handler<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Handler::One(_) => "One",
            Handler::Batch(_) => "Batch",
        })
    }
}

/// The user's function behind one signature, by what it takes.
#[derive(Clone, Copy)]
pub enum Body {
    /// No transaction.
    Plain(PlainHandler),
    /// A Kafka transaction.
    Kafka(TxHandler<crate::KafkaTx>),
    /// A PostgreSQL transaction.
    #[cfg(feature = "postgres")]
    Postgres(Handler<crate::PgTx>),
    /// A MySQL or MariaDB transaction.
    #[cfg(feature = "mysql")]
    MySql(Handler<crate::MySqlTx>),
    /// A SQLite transaction.
    #[cfg(feature = "sqlite")]
    Sqlite(Handler<crate::SqliteTx>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Body::Plain(_) => "Plain",
            Body::Kafka(_) => "Kafka",
            #[cfg(feature = "postgres")]
            Body::Postgres(_) => "Postgres",
            #[cfg(feature = "mysql")]
            Body::MySql(_) => "MySql",
            #[cfg(feature = "sqlite")]
            Body::Sqlite(_) => "Sqlite",
        })
    }
}

/// A type that a transactional listener can take as `&mut T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction",
    label = "a `transactional` listener takes `&mut PgTx`, `&mut MySqlTx` or `&mut SqliteTx` (or an alias of one); one that is \
             `exactly_once` takes `&mut KafkaTx`",
    note = "everything else is taken by value (`Json<T>`, `Key<T>`, `State<S>`, …) or as `&Record`"
)]
pub trait TransactionParam: Sized {
    /// Puts the handler where the runtime of this transaction's database finds it.
    fn body(handler: Handler<Self>) -> Body;
}

#[cfg(feature = "postgres")]
impl TransactionParam for crate::PgTx {
    fn body(handler: Handler<Self>) -> Body {
        Body::Postgres(handler)
    }
}

#[cfg(feature = "mysql")]
impl TransactionParam for crate::MySqlTx {
    fn body(handler: Handler<Self>) -> Body {
        Body::MySql(handler)
    }
}

#[cfg(feature = "sqlite")]
impl TransactionParam for crate::SqliteTx {
    fn body(handler: Handler<Self>) -> Body {
        Body::Sqlite(handler)
    }
}

/// A type that an exactly-once listener can take as `&mut T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken by a listener that is `exactly_once`",
    label = "`exactly_once` is Kafka to Kafka, and takes `&mut KafkaTx` alone: a database's commit and Kafka's cannot be one",
    note = "to write to a database and to Kafka, say `transactional`, take `&mut PgTx`, and `tx.publish(&event).await?`: the \
            event is stored in the same commit, and the relay publishes it"
)]
pub trait KafkaTxParam: Sized {
    /// Puts the handler where its runtime finds it.
    fn body(handler: TxHandler<Self>) -> Body;
}

impl KafkaTxParam for crate::KafkaTx {
    fn body(handler: TxHandler<Self>) -> Body {
        Body::Kafka(handler)
    }
}
