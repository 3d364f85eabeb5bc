//! What it means: a listener with every question answered, or all the mistakes that stand in its way.
//!
//! `words` reads the attribute's arguments, `values` and `text` what stands behind their `=` and inside quotes;
//! `signature` reads the function. Here the two halves meet: a transaction is asked for in the attribute and taken as
//! a parameter, and a listener without a topic takes an event.

mod idempotent;
mod per_partition;
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
        let batch = batch(&words, &shape, mistakes);
        let mode = match words.exactly_once {
            _ if words.at_most_once.is_some() => at_most_once(&words, &shape, mistakes),
            _ if words.idempotent.is_some() => idempotent::alone(&words, &shape, mistakes),
            Some(exactly_once) => {
                kafka_to_kafka(exactly_once, words.transactional, shape.transaction, words.to, mistakes)
            }
            None => {
                if let Some((word, _)) = &words.to {
                    mistakes.at(
                        word,
                        "`to` is for a listener that is `exactly_once`, and sends what it returns; one that is `transactional` \
                         says `tx.publish(&event).await?`",
                    );
                }
                mode(words.transactional, shape.transaction, batch, mistakes)
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

/// Nothing is tried again, and nothing is deduped: no other promise beside it.
fn at_most_once(words: &words::Words, shape: &signature::Shape, mistakes: &mut Mistakes) -> Option<Mode> {
    let (word, at_once) = words.at_most_once.as_ref()?;
    if words.transactional.is_some() || words.exactly_once.is_some() || words.idempotent.is_some() {
        mistakes.at(word, "`at_most_once` beside another promise; a listener has one of them");
    }
    if let Some(taken) = &shape.transaction {
        mistakes.at(
            &taken.reference,
            "a listener that is `at_most_once` has no transaction: its offset is committed before it runs; say `transactional` \
             for one",
        );
    }
    for word in &words.when_it_fails {
        mistakes.at(
            word,
            format!("`{word}` has no meaning here: what is handled at most once is not tried again"),
        );
    }
    if let Some((word, _)) = &words.to {
        mistakes.at(word, "`to` is for a listener that is `exactly_once`, and sends what it returns");
    }
    Some(Mode::AtMostOnce(*at_once))
}

/// Kafka alone: no database's transaction beside it.
fn kafka_to_kafka(
    asked: words::ExactlyOnce,
    transactional: Option<words::Transactional>,
    taken: Option<signature::Transaction>,
    to: Option<(Ident, LitStr)>,
    mistakes: &mut Mistakes,
) -> Option<Mode> {
    if let Some(transactional) = transactional {
        mistakes.at(
            transactional.word,
            "`exactly_once` and `transactional` together: Kafka's commit and the database's cannot be one. Keep \
             `transactional`, and publish with `tx.publish(&event).await?`: the event is stored in the same commit, and the \
             relay publishes it; or keep `exactly_once`, and write to Kafka alone",
        );
        return None;
    }
    if let (Some(_), Some((word, _))) = (&taken, &to) {
        mistakes.at(
            word,
            "`to` says where what is returned goes; a listener that takes `&mut KafkaTx` sends by itself, as with \
             `out.send_to(\"…\", …)`",
        );
    }
    Some(Mode::ExactlyOnce {
        out: taken.map(|taken| Box::new(taken.inner)),
        commit_interval_ms: asked.commit_interval_ms,
        commit_records: asked.commit_records,
        message_id: asked.message_id,
        to: to.map(|(_, to)| to),
    })
}

/// A batch is taken by the function, and its bounds are said in the attribute.
fn batch(words: &words::Words, shape: &signature::Shape, mistakes: &mut Mistakes) -> Option<AtOnce> {
    let Some(batch) = &shape.batch else {
        let words =
            [words.max_batch.as_ref().map(|(word, _)| word), words.max_wait.as_ref().map(|(word, _)| word)];
        for word in words.into_iter().flatten() {
            mistakes.at(
                word,
                format!(
                    "`{word}` is for a listener that takes many records at once, as `Batch<T>` or `Vec<T>`"
                ),
            );
        }
        return None;
    };
    if let Some(reference) = shape.references.first() {
        mistakes.at(
            reference,
            "a listener of batches takes nothing of a single record; take it with the others: `Batch<(RecordMeta, Json<T>)>`",
        );
    }
    match &words.transactional {
        None if words.exactly_once.is_some() => mistakes.at(
            batch,
            "a listener that is `exactly_once` takes one record at a time; how many share a Kafka transaction is said by \
             `exactly_once(commit_interval = \"100ms\", commit_records = 100000)`",
        ),
        None => mistakes.at(
            batch,
            "a batch is handled in one transaction; add `transactional` to the attribute, and `tx: &mut PgTx` (or \
             `&mut MySqlTx`, `&mut SqliteTx`) to the function",
        ),
        Some(transactional) => {
            if let Some((word, _)) = &transactional.group_commit {
                mistakes.at(
                    word,
                    "a listener of batches says `max_batch` beside `transactional`; `group_commit` is for one that takes a \
                     single record",
                );
            }
        }
    }
    let max = words.max_batch.as_ref().map_or(500, |(_, max)| *max);
    Some(AtOnce::Batch { max, wait_ms: words.max_wait.as_ref().map_or(0, |(_, wait)| *wait) })
}

/// Asked for and taken, or neither.
fn mode(
    asked: Option<words::Transactional>,
    taken: Option<signature::Transaction>,
    batch: Option<AtOnce>,
    mistakes: &mut Mistakes,
) -> Option<Mode> {
    match (asked, taken) {
        (None, None) => Some(Mode::Plain),
        (Some(asked), Some(taken)) => Some(Mode::Transactional {
            transaction: Box::new(taken.inner),
            isolation: asked.isolation,
            dedupe: asked.dedupe,
            at_once: batch
                .unwrap_or(AtOnce::One { group_commit: asked.group_commit.map_or(1, |(_, many)| many) }),
            key_slots: asked.key_slots,
            database: asked.database,
        }),
        (Some(asked), None) => {
            mistakes.at(
                asked.word,
                "`transactional` without a transaction; add the parameter `tx: &mut PgTx` (or `&mut MySqlTx`, \
                 `&mut SqliteTx`) and write through it",
            );
            None
        }
        (None, Some(taken)) if taken.is_of_kafka() => {
            mistakes.at(
                taken.reference,
                "`KafkaTx` without `exactly_once`; add it to the attribute: `#[kafka_listener(…, exactly_once)]`",
            );
            None
        }
        (None, Some(taken)) => {
            mistakes.at(
                taken.reference,
                "a transaction without `transactional`; add it to the attribute: \
                 `#[kafka_listener(…, transactional)]`",
            );
            None
        }
    }
}

/// Where the attribute itself stands, for what is missing in it.
fn attribute() -> Span {
    Span::call_site()
}
