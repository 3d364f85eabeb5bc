//! The attribute's arguments: which there are, and what to say of one that is not known, or not of this place.

use proc_macro2::Ident;
use syn::LitStr;

use super::idempotent;
use super::retry;
use super::text::group;
use super::values::{duration, topics};
use super::{DeadLetters, Dedupe, Idempotent, OnFailure, Retry, Topics};
use crate::shared::arguments::{Argument, Value, each};
use crate::shared::isolation::Isolation;
use crate::shared::mistakes::Mistakes;
use crate::shared::text;
use crate::shared::values::{choice, number, once_each, string, unknown};

const KNOWN: [&str; 13] = [
    "topic",
    "topics",
    "group",
    "id",
    "deadline",
    "concurrency",
    "transactional",
    "idempotent",
    "retry",
    "on_failure",
    "dead_letter",
    "max_batch",
    "max_wait",
];
const INSIDE: [&str; 4] = ["isolation", "dedupe", "database", "group_commit"];
/// Refused by name until they do something: nothing is accepted and ignored.
const LATER: [&str; 6] =
    ["exactly_once", "at_most_once", "key_slots", "to", "commit_interval", "concurrency_per_partition"];

/// The arguments' values, with the defaults of those that were not given.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) topics: Topics,
    pub(super) group: Option<LitStr>,
    pub(super) id: Option<LitStr>,
    pub(super) deadline_ms: u64,
    pub(super) concurrency: u16,
    pub(super) transactional: Option<Transactional>,
    pub(super) idempotent: Option<(Ident, Idempotent)>,
    pub(super) retry: Retry,
    pub(super) on_failure: OnFailure,
    /// The words `on_failure = "park"`, since not every listener may say them.
    pub(super) park: Option<Ident>,
    pub(super) dead_letters: DeadLetters,
    /// With their names, since not every listener may have them.
    pub(super) max_batch: Option<(Ident, u32)>,
    pub(super) max_wait: Option<(Ident, u64)>,
    /// The word `dead_letter`, where it says `"table"`.
    pub(super) table: Option<Ident>,
}

/// `transactional`, with or without parentheses.
#[derive(Debug)]
pub(super) struct Transactional {
    pub(super) word: Ident,
    pub(super) isolation: Isolation,
    pub(super) dedupe: Dedupe,
    pub(super) group_commit: Option<(Ident, u32)>,
    pub(super) database: Option<LitStr>,
}

impl Words {
    pub(super) fn read(arguments: &[Argument], mistakes: &mut Mistakes) -> Self {
        let all_understood = mistakes.is_empty();
        let mut words = Words {
            topics: Topics::OfTheEvent,
            group: None,
            id: None,
            deadline_ms: 30_000,
            concurrency: 1,
            transactional: None,
            idempotent: None,
            retry: Retry::default(),
            on_failure: OnFailure::default(),
            park: None,
            dead_letters: DeadLetters::default(),
            max_batch: None,
            max_wait: None,
            table: None,
        };
        let mut topics_from: Option<String> = None;
        for argument in once_each(arguments, mistakes) {
            let word = argument.word();
            match word.as_str() {
                "topic" | "topics" => {
                    if topics_from.is_some() {
                        mistakes.at(
                            &argument.name,
                            "`topic` and `topics` together; name all of them in `topics = [\"…\", \"…\"]`",
                        );
                        continue;
                    }
                    words.topics = Topics::Given(topics(argument, mistakes));
                    topics_from = Some(word);
                }
                "group" => words.group = string(argument, "billing", group, mistakes),
                "id" => words.id = string(argument, "billing.on_order", text::name, mistakes),
                "deadline" => {
                    words.deadline_ms = duration(argument, "30s", mistakes).unwrap_or(words.deadline_ms);
                }
                "concurrency" => {
                    words.concurrency = number(argument, "4", &(1..=u16::MAX), mistakes).unwrap_or(1)
                }
                "transactional" => words.transactional = Some(Transactional::read(argument, mistakes)),
                "idempotent" => {
                    words.idempotent = Some((argument.name.clone(), Idempotent::read(argument, mistakes)));
                }
                "retry" => words.retry = Retry::read(argument, mistakes),
                "on_failure" => {
                    words.on_failure = choice(argument, &ON_FAILURE, mistakes).unwrap_or_default();
                    words.park = matches!(words.on_failure, OnFailure::Park).then(|| argument.name.clone());
                }
                "dead_letter" => {
                    words.dead_letters = DeadLetters::read(argument, mistakes);
                    words.table =
                        matches!(words.dead_letters, DeadLetters::Table).then(|| argument.name.clone());
                }
                "max_batch" => {
                    let max = number(argument, "500", &(2..=10_000), mistakes);
                    words.max_batch = max.map(|max| (argument.name.clone(), max));
                }
                "max_wait" => {
                    let wait = duration(argument, "50ms", mistakes);
                    words.max_wait = wait.map(|wait| (argument.name.clone(), wait));
                }
                _ => {
                    let meant = misplaced(argument, &KNOWN, "a listener", mistakes);
                    topics_from =
                        topics_from.or(meant.filter(|meant| meant.starts_with("topic")).map(str::to_owned));
                }
            }
        }
        let told_already = topics_from.is_some() || !all_understood;
        if told_already && matches!(words.topics, Topics::OfTheEvent) {
            words.topics = Topics::Given(Vec::new());
        }
        words
    }
}

impl Transactional {
    fn read(argument: &Argument, mistakes: &mut Mistakes) -> Self {
        let word = argument.name.clone();
        let mut read = Transactional {
            word,
            isolation: Isolation::default(),
            dedupe: Dedupe::default(),
            group_commit: None,
            database: None,
        };
        let inside = match &argument.value {
            Value::Absent => Vec::new(),
            Value::Inside(tokens) => each(tokens.clone(), mistakes),
            Value::Given(value) => {
                mistakes.at(
                    value,
                    "`transactional` takes no value; write it alone, or `transactional(isolation = \"…\")`",
                );
                Vec::new()
            }
        };
        for argument in once_each(&inside, mistakes) {
            match argument.word().as_str() {
                "isolation" => read.isolation = Isolation::read(argument, mistakes).unwrap_or_default(),
                "dedupe" => read.dedupe = choice(argument, &DEDUPE, mistakes).unwrap_or_default(),
                "group_commit" => {
                    let many = number(argument, "100", &(1..=10_000), mistakes);
                    read.group_commit = many.map(|many| (argument.name.clone(), many));
                }
                "database" => read.database = string(argument, "orders", text::name, mistakes),
                _ => {
                    misplaced(argument, &INSIDE, "`transactional(…)`", mistakes);
                }
            }
        }
        read
    }
}

const ON_FAILURE: [(&str, OnFailure); 2] = [("block", OnFailure::Block), ("park", OnFailure::Park)];

const DEDUPE: [(&str, Dedupe); 2] = [("message_id", Dedupe::MessageId), ("position", Dedupe::Position)];

/// Says what is wrong with a word that is not of this place, and returns the one that was probably meant.
pub(super) fn misplaced<'a>(
    argument: &Argument,
    known: &[&'a str],
    place: &str,
    mistakes: &mut Mistakes,
) -> Option<&'a str> {
    let word = argument.word();
    let message = if LATER.contains(&word.as_str()) {
        format!("`{word}` is not available yet; it comes with a later version of eos")
    } else if INSIDE.contains(&word.as_str()) {
        format!("`{word}` belongs to the transaction; write `transactional({word} = …)`")
    } else if idempotent::INSIDE.contains(&word.as_str()) {
        format!("`{word}` belongs to the dedupe; write `idempotent(redis, {word} = …)`")
    } else if retry::INSIDE.contains(&word.as_str()) {
        format!("`{word}` belongs to the attempts; write `retry({word} = …)`")
    } else if KNOWN.contains(&word.as_str()) {
        format!("`{word}` belongs to the listener; write it beside, not inside")
    } else {
        return unknown(argument, known, place, mistakes);
    };
    mistakes.at(&argument.name, message);
    text::nearest(&word, known.iter().copied())
}
