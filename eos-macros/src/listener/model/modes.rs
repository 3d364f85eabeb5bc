//! Which promise a listener makes: what the attribute asks for and what the function takes have to fit each other.

use proc_macro2::Ident;
use syn::LitStr;

use super::signature::{Shape, Transaction};
use super::words::{ExactlyOnce, Transactional, Words};
use super::{AtOnce, Mode};
use crate::shared::mistakes::Mistakes;

/// Another promise beside it, or a transaction that it has none of.
pub(super) fn idempotent(words: &Words, shape: &Shape, mistakes: &mut Mistakes) -> Option<Mode> {
    let (word, idempotent) = words.idempotent.as_ref()?;
    match (&words.transactional, &shape.transaction) {
        (Some(_), _) => mistakes.at(
            word,
            "`transactional` dedupes already, in the commit of the handler's own rows; take `idempotent` away, or \
             `transactional` where the effect is not in the database",
        ),
        (None, _) if words.exactly_once.is_some() => mistakes.at(
            word,
            "`idempotent` beside another promise; a listener has one of them. From Kafka to Kafka, `exactly_once` needs no ids",
        ),
        (None, Some(taken)) => mistakes.at(
            &taken.reference,
            "an idempotent listener has no transaction; write `transactional` in place of `idempotent`, which dedupes in the \
             same commit, or take this parameter away",
        ),
        (None, None) => {}
    }
    if let Some((word, _)) = &words.to {
        mistakes.at(word, "`to` is for a listener that is `exactly_once`, and sends what it returns");
    }
    Some(Mode::Idempotent(idempotent.clone()))
}

/// Nothing is tried again, and nothing is deduped: no other promise beside it.
pub(super) fn at_most_once(words: &Words, shape: &Shape, mistakes: &mut Mistakes) -> Option<Mode> {
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
pub(super) fn kafka_to_kafka(
    asked: ExactlyOnce,
    transactional: Option<Transactional>,
    taken: Option<Transaction>,
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
pub(super) fn batch(words: &Words, shape: &Shape, mistakes: &mut Mistakes) -> Option<AtOnce> {
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
pub(super) fn mode(
    asked: Option<Transactional>,
    taken: Option<Transaction>,
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
