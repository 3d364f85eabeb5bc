//! What it means: a listener with every question answered, or all the mistakes that stand in its way.
//!
//! `words` reads the attribute's arguments, `values` and `text` what stands behind their `=` and inside quotes, and `places`
//! knows where each word belongs; `signature` reads the function. Here the two halves meet, and in `modes`: a transaction
//! is asked for in the attribute and taken as a parameter, and a listener without a topic takes an event.

mod idempotent;
mod modes;
mod per_partition;
mod places;
mod retry;
mod signature;
mod text;
mod values;
mod words;

use proc_macro2::{Ident, Span};
use syn::{LitStr, Signature, Type};

use crate::shared::arguments::Argument;
use crate::shared::isolation::Isolation;
use crate::shared::mistakes::Mistakes;

/// One listener, ready to be printed.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) function: Ident,
    pub(crate) id: Id,
    pub(crate) topics: Topics,
    pub(crate) group: Option<LitStr>,
    pub(crate) deadline_ms: u64,
    pub(crate) concurrency: u16,
    pub(crate) concurrency_per_partition: u16,
    pub(crate) mode: Mode,
    pub(crate) retry: Retry,
    pub(crate) on_failure: OnFailure,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) returns: Type,
}

/// The name that logs and settings know it by.
#[derive(Debug)]
pub(crate) enum Id {
    /// The function's path.
    Path,
    /// `id = "…"`.
    Given(LitStr),
}

/// Where its records come from.
#[derive(Debug)]
pub(crate) enum Topics {
    /// `topic = "…"` or `topics = […]`.
    Given(Vec<LitStr>),
    /// Nothing was said: that of the parameter that is an event. Which one it is, is for a trait to say.
    OfTheEvent,
}

/// What is promised.
#[derive(Debug)]
pub(crate) enum Mode {
    Plain,
    /// So many records are committed at once, before their bodies.
    AtMostOnce(u32),
    /// Ids that are done are remembered, and not handled again.
    Idempotent(Idempotent),
    Transactional {
        /// The `T` of the parameter `&mut T`.
        transaction: Box<Type>,
        isolation: Isolation,
        dedupe: Dedupe,
        at_once: AtOnce,
        /// Into how many slots a partition's keys are split.
        key_slots: u16,
        database: Option<LitStr>,
    },
    ExactlyOnce {
        /// The `T` of the parameter `&mut T`; where there is none, what is returned is sent.
        out: Option<Box<Type>>,
        commit_interval_ms: u64,
        commit_records: u32,
        message_id: OutputId,
        to: Option<LitStr>,
    },
}

/// How many records one transaction may have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AtOnce {
    /// The function takes one; `group_commit` of them may share a transaction.
    One { group_commit: u32 },
    /// The function takes a `Batch<T>` or a `Vec<T>`.
    Batch { max: u32, wait_ms: u64 },
}

/// `dedupe = "…"`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Dedupe {
    #[default]
    MessageId,
    Position,
}

/// `exactly_once(message_id = "…")`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum OutputId {
    #[default]
    Repeatable,
    Off,
}

/// `idempotent(redis, …)`, `idempotent(database, …)`.
#[derive(Debug, Clone)]
pub(crate) struct Idempotent {
    pub(crate) medium: Medium,
    pub(crate) id: IdSource,
    pub(crate) lease_ms: u64,
    pub(crate) on_outage: OnOutage,
}

/// What remembers ids.
#[derive(Debug, Clone)]
pub(crate) enum Medium {
    /// `redis`, with how long an id is remembered.
    Redis { ttl_ms: u64 },
    /// `database`, or `database = "…"`.
    Database(Option<LitStr>),
}

/// `id = …`.
#[derive(Debug, Clone)]
pub(crate) enum IdSource {
    MessageId,
    Position,
    Key,
    Header(LitStr),
    Field(LitStr),
}

/// `on_outage = "…"`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum OnOutage {
    #[default]
    Wait,
    Process,
}

/// `retry(…)`; what is `None` is for the settings to say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Retry {
    pub(crate) max: Option<u32>,
    pub(crate) backoff_ms: Option<u64>,
    pub(crate) factor: Option<f64>,
    pub(crate) max_backoff_ms: Option<u64>,
    pub(crate) jitter: Option<f64>,
}

/// `on_failure = "…"`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum OnFailure {
    #[default]
    Block,
    Park,
}

/// `dead_letter = …`.
#[derive(Debug, Clone, Default)]
pub(crate) enum DeadLetters {
    /// Nothing was said: the table where there is a database, a topic where there is none.
    #[default]
    Usual,
    Table,
    /// That of the records with `-dlt` behind it, or this one.
    Topic(Option<LitStr>),
    Off,
}

/// What the function is called with, in its order.
#[derive(Debug)]
pub(crate) enum Parameter {
    /// `&mut T`, of which there is one at most; its type is in the mode.
    Transaction,
    /// `&T`.
    Reference(Type),
    /// `T`.
    Value(Type),
}

impl Listener {
    /// Reads both halves to their end, whatever is wrong with the first.
    pub(crate) fn read(
        arguments: &[Argument],
        function: Option<&Signature>,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let words = words::Words::read(arguments, mistakes);
        let shape = signature::Shape::read(function?, mistakes);
        if matches!(words.topics, Topics::OfTheEvent) && !shape.takes_a_value() {
            mistakes.at_span(
                attribute(),
                "which topic? write `#[kafka_listener(topic = \"…\")]`, or take an event, which has its own",
            );
        }
        let is_of_kafka = words.exactly_once.is_some();
        let has_no_database = is_of_kafka || words.transactional.is_none() && shape.transaction.is_none();
        if let (true, Some(word)) = (has_no_database, &words.table) {
            mistakes.at(
                word,
                "a listener without a transaction has no database to keep dead letters in; write `dead_letter = topic` (which \
                 it does without a word), or `\"off\"`",
            );
        }
        if let (true, Some(word)) = (has_no_database, &words.park) {
            mistakes.at(
                word,
                "a listener without a transaction has no database to park records in; add `transactional` to the attribute, \
                 and `tx: &mut PgTx` (or `&mut MySqlTx`, `&mut SqliteTx`) to the function",
            );
        }
        let concurrency_per_partition = per_partition::keys(&words, &shape, mistakes);
        let batch = modes::batch(&words, &shape, mistakes);
        let mode = match words.exactly_once {
            _ if words.at_most_once.is_some() => modes::at_most_once(&words, &shape, mistakes),
            _ if words.idempotent.is_some() => modes::idempotent(&words, &shape, mistakes),
            Some(exactly_once) => modes::kafka_to_kafka(
                exactly_once,
                words.transactional,
                shape.transaction,
                words.to,
                mistakes,
            ),
            None => {
                if let Some((word, _)) = &words.to {
                    mistakes.at(
                        word,
                        "`to` is for a listener that is `exactly_once`, and sends what it returns; one that is `transactional` \
                         says `tx.publish(&event).await?`",
                    );
                }
                modes::mode(words.transactional, shape.transaction, batch, mistakes)
            }
        };
        Some(Listener {
            function: shape.name,
            id: words.id.map_or(Id::Path, Id::Given),
            topics: words.topics,
            group: words.group,
            deadline_ms: words.deadline_ms,
            concurrency: words.concurrency,
            concurrency_per_partition,
            mode: mode?,
            retry: words.retry,
            on_failure: words.on_failure,
            dead_letters: words.dead_letters,
            parameters: shape.parameters,
            returns: shape.returns?,
        })
    }
}

/// Where the attribute itself stands, for what is missing in it.
fn attribute() -> Span {
    Span::call_site()
}
