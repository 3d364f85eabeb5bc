//! The attribute's arguments: which there are, what each takes, and what to say of one that is not known.

use std::fmt::Display;
use std::str::FromStr;

use proc_macro2::Ident;
use syn::{Expr, Lit, LitStr};

use super::{Dedupe, Isolation, attribute, text};
use crate::listener::args::{self, Argument, Value};
use crate::listener::mistakes::Mistakes;

const KNOWN: [&str; 7] = ["topic", "topics", "group", "id", "deadline", "concurrency", "transactional"];
const INSIDE: [&str; 3] = ["isolation", "dedupe", "database"];
/// Refused by name until they do something: nothing is accepted and ignored.
const LATER: [&str; 13] = [
    "exactly_once",
    "idempotent",
    "at_most_once",
    "group_commit",
    "key_slots",
    "retry",
    "on_failure",
    "dead_letter",
    "max_batch",
    "max_wait",
    "to",
    "commit_interval",
    "concurrency_per_partition",
];

/// The arguments' values, with the defaults of those that were not given.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) topics: Vec<LitStr>,
    pub(super) group: Option<LitStr>,
    pub(super) id: Option<LitStr>,
    pub(super) deadline_ms: u64,
    pub(super) concurrency: u16,
    pub(super) transactional: Option<Transactional>,
}

/// `transactional`, with or without parentheses.
#[derive(Debug)]
pub(super) struct Transactional {
    pub(super) word: Ident,
    pub(super) isolation: Isolation,
    pub(super) dedupe: Dedupe,
    pub(super) database: Option<LitStr>,
}

impl Words {
    pub(super) fn read(arguments: &[Argument], mistakes: &mut Mistakes) -> Self {
        let all_understood = mistakes.is_empty();
        let mut words = Words {
            topics: Vec::new(),
            group: None,
            id: None,
            deadline_ms: 30_000,
            concurrency: 1,
            transactional: None,
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
                    words.topics = topics(argument, mistakes);
                    topics_from = Some(word);
                }
                "group" => words.group = string(argument, "billing", text::group, mistakes),
                "id" => words.id = string(argument, "billing.on_order", text::name, mistakes),
                "deadline" => words.deadline_ms = deadline(argument, mistakes).unwrap_or(words.deadline_ms),
                "concurrency" => words.concurrency = concurrency(argument, mistakes).unwrap_or(1),
                "transactional" => words.transactional = Some(Transactional::read(argument, mistakes)),
                _ => {
                    let meant = unknown(argument, &KNOWN, "a listener", mistakes);
                    topics_from =
                        topics_from.or(meant.filter(|meant| meant.starts_with("topic")).map(str::to_owned));
                }
            }
        }
        if topics_from.is_none() && all_understood {
            mistakes.at_span(attribute(), "which topic? write `#[kafka_listener(topic = \"…\")]`");
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
            database: None,
        };
        let inside = match &argument.value {
            Value::Absent => Vec::new(),
            Value::Inside(tokens) => args::arguments(tokens.clone(), mistakes),
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
                "isolation" => read.isolation = choice(argument, &ISOLATION, mistakes).unwrap_or_default(),
                "dedupe" => read.dedupe = choice(argument, &DEDUPE, mistakes).unwrap_or_default(),
                "database" => read.database = string(argument, "orders", text::name, mistakes),
                _ => {
                    unknown(argument, &INSIDE, "`transactional(…)`", mistakes);
                }
            }
        }
        read
    }
}

const ISOLATION: [(&str, Isolation); 3] = [
    ("read_committed", Isolation::ReadCommitted),
    ("repeatable_read", Isolation::RepeatableRead),
    ("serializable", Isolation::Serializable),
];

const DEDUPE: [(&str, Dedupe); 2] = [("message_id", Dedupe::MessageId), ("position", Dedupe::Position)];

/// The arguments, without those that were given before.
fn once_each<'a>(arguments: &'a [Argument], mistakes: &mut Mistakes) -> Vec<&'a Argument> {
    let mut once: Vec<&Argument> = Vec::new();
    for argument in arguments {
        let word = argument.word();
        if once.iter().any(|earlier| earlier.word() == word) {
            mistakes.at(&argument.name, format!("`{word}` is given twice; keep one"));
        } else {
            once.push(argument);
        }
    }
    once
}

/// Says what is wrong with a word that is not of this place, and returns the one that was probably meant.
fn unknown<'a>(
    argument: &Argument,
    known: &[&'a str],
    place: &str,
    mistakes: &mut Mistakes,
) -> Option<&'a str> {
    let word = argument.word();
    let nearest = text::nearest(&word, known.iter().copied());
    let message = if LATER.contains(&word.as_str()) {
        format!("`{word}` is not available yet; it comes with a later version of eos")
    } else if INSIDE.contains(&word.as_str()) {
        format!("`{word}` belongs to the transaction; write `transactional({word} = \"…\")`")
    } else if KNOWN.contains(&word.as_str()) {
        format!("`{word}` belongs to the listener; write it beside `transactional`, not inside")
    } else if let Some(nearest) = nearest {
        format!("unknown argument `{word}`; did you mean `{nearest}`?")
    } else {
        format!("unknown argument `{word}`; {place} takes {}", text::one_of(known.iter().copied()))
    };
    mistakes.at(&argument.name, message);
    nearest
}

fn topics(argument: &Argument, mistakes: &mut Mistakes) -> Vec<LitStr> {
    if argument.word() == "topic" {
        if let Value::Given(list @ Expr::Array(_)) = &argument.value {
            mistakes.at(list, "`topic` takes one; for several write `topics = [\"…\", \"…\"]`");
            return Vec::new();
        }
        return string(argument, "event.order", text::topic, mistakes).into_iter().collect();
    }
    let Value::Given(Expr::Array(list)) = &argument.value else {
        wrong_kind(argument, "a list: `topics = [\"event.order\", \"event.payment\"]`", mistakes);
        return Vec::new();
    };
    if list.elems.is_empty() {
        mistakes.at(list, "a listener of no topic; name one at least");
    }
    let mut topics: Vec<LitStr> = Vec::new();
    for element in &list.elems {
        let Some(Lit::Str(topic)) = args::literal(element) else {
            mistakes.at(element, "`topics` takes strings: `topics = [\"event.order\", \"event.payment\"]`");
            continue;
        };
        if topics.iter().any(|earlier| earlier.value() == topic.value()) {
            mistakes.at(topic, format!("`{}` stands here twice; keep one", topic.value()));
        } else {
            checked(topic, text::topic, mistakes);
            topics.push(topic.clone());
        }
    }
    topics
}

fn deadline(argument: &Argument, mistakes: &mut Mistakes) -> Option<u64> {
    let Some(Lit::Str(text)) = argument.value.literal() else {
        wrong_kind(argument, "a duration in quotes: `deadline = \"30s\"`", mistakes);
        return None;
    };
    checked(text, text::milliseconds, mistakes)
}

fn concurrency(argument: &Argument, mistakes: &mut Mistakes) -> Option<u16> {
    let Some(Lit::Int(number)) = argument.value.literal() else {
        wrong_kind(argument, "a whole number: `concurrency = 4`", mistakes);
        return None;
    };
    match u16::from_str(number.base10_digits()) {
        Ok(1..) => {}
        Ok(0) | Err(_) => mistakes.at(number, format!("`concurrency` is a number from 1 to {}", u16::MAX)),
    }
    number.base10_parse().ok()
}

/// One of a few words in quotes.
fn choice<T: Copy>(argument: &Argument, choices: &[(&str, T)], mistakes: &mut Mistakes) -> Option<T> {
    let words = || choices.iter().map(|(word, _)| *word);
    let Some(Lit::Str(given)) = argument.value.literal() else {
        wrong_kind(argument, &format!("one of these in quotes: {}", text::one_of(words())), mistakes);
        return None;
    };
    let chosen = choices.iter().find(|(word, _)| *word == given.value()).map(|&(_, choice)| choice);
    if chosen.is_none() {
        let name = argument.word();
        let meant = text::nearest(&given.value(), words()).map_or_else(
            || format!("it is {}", text::one_of(words())),
            |near| format!("did you mean `{near}`?"),
        );
        mistakes.at(given, format!("unknown {name} `{}`; {meant}", given.value()));
    }
    chosen
}

/// A string that passes a check.
fn string(
    argument: &Argument,
    example: &str,
    check: impl FnOnce(&str) -> Result<(), String>,
    mistakes: &mut Mistakes,
) -> Option<LitStr> {
    let Some(Lit::Str(text)) = argument.value.literal() else {
        wrong_kind(argument, &format!("a string in quotes: `{} = {example:?}`", argument.word()), mistakes);
        return None;
    };
    checked(text, check, mistakes).map(|()| text.clone())
}

fn checked<T, M: Display>(
    text: &LitStr,
    check: impl FnOnce(&str) -> Result<T, M>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    check(&text.value()).map_err(|why| mistakes.at(text, why)).ok()
}

fn wrong_kind(argument: &Argument, takes: &str, mistakes: &mut Mistakes) {
    let message = format!("`{}` takes {takes}", argument.word());
    match &argument.value {
        Value::Absent => mistakes.at(&argument.name, message),
        Value::Given(value) => mistakes.at(value, message),
        Value::Inside(tokens) if tokens.is_empty() => mistakes.at(&argument.name, message),
        Value::Inside(tokens) => mistakes.at(tokens, message),
    }
}
