//! The attribute's arguments, each with its value.

use proc_macro2::Ident;
use syn::LitStr;

use super::places::{OF_A_LISTENER, OF_EXACTLY_ONCE, OF_TRANSACTIONAL, misplaced};
use super::text::group;
use super::values::{duration, topics};
use super::{DeadLetters, Dedupe, Idempotent, OnFailure, OutputId, Retry, Topics};
use crate::shared::arguments::{Argument, Value, each};
use crate::shared::isolation::Isolation;
use crate::shared::mistakes::Mistakes;
use crate::shared::text;
use crate::shared::values::{choice, number, once_each, string};

/// The arguments' values, with the defaults of those that were not given.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) topics: Topics,
    pub(super) group: Option<LitStr>,
    pub(super) id: Option<LitStr>,
    pub(super) deadline_ms: u64,
    pub(super) concurrency: u16,
    /// With its name, since not every listener may have it.
    pub(super) concurrency_per_partition: Option<(Ident, u16)>,
    pub(super) transactional: Option<Transactional>,
    pub(super) exactly_once: Option<ExactlyOnce>,
    /// How many records are committed at once, with the word.
    pub(super) at_most_once: Option<(Ident, u32)>,
    /// Those of `retry`, `on_failure` and `dead_letter` that were said, since not every listener may say them.
    pub(super) when_it_fails: Vec<Ident>,
    /// With its name, since not every listener may have it.
    pub(super) to: Option<(Ident, LitStr)>,
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
    pub(super) key_slots: u16,
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
            concurrency_per_partition: None,
            transactional: None,
            exactly_once: None,
            at_most_once: None,
            when_it_fails: Vec::new(),
            to: None,
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
            if matches!(word.as_str(), "retry" | "on_failure" | "dead_letter") {
                words.when_it_fails.push(argument.name.clone());
            }
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
                "concurrency_per_partition" => {
                    let keys = number(argument, "16", &(1..=10_000), mistakes);
                    words.concurrency_per_partition = keys.map(|keys| (argument.name.clone(), keys));
                }
                "transactional" => words.transactional = Some(Transactional::read(argument, mistakes)),
                "exactly_once" => words.exactly_once = Some(ExactlyOnce::read(argument, mistakes)),
                "at_most_once" => {
                    words.at_most_once = Some((argument.name.clone(), at_most_once(argument, mistakes)));
                }
                "to" => {
                    let to = string(argument, "event.order.enriched", text::topic, mistakes);
                    words.to = to.map(|to| (argument.name.clone(), to));
                }
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
                    let meant = misplaced(argument, &OF_A_LISTENER, "a listener", mistakes);
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

/// `exactly_once`, with or without parentheses.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExactlyOnce {
    pub(super) commit_interval_ms: u64,
    pub(super) commit_records: u32,
    pub(super) message_id: OutputId,
}

impl ExactlyOnce {
    fn read(argument: &Argument, mistakes: &mut Mistakes) -> Self {
        let mut read =
            ExactlyOnce { commit_interval_ms: 100, commit_records: 100_000, message_id: OutputId::default() };
        for argument in once_each(&inside(argument, "commit_interval = \"100ms\"", mistakes), mistakes) {
            match argument.word().as_str() {
                "commit_interval" => {
                    let interval = duration(argument, "100ms", mistakes);
                    read.commit_interval_ms = interval.unwrap_or(read.commit_interval_ms);
                }
                "commit_records" => {
                    let records = number(argument, "100000", &(1..=1_000_000), mistakes);
                    read.commit_records = records.unwrap_or(read.commit_records);
                }
                "message_id" => {
                    read.message_id = choice(argument, &MESSAGE_ID, mistakes).unwrap_or_default();
                }
                _ => {
                    misplaced(argument, &OF_EXACTLY_ONCE, "`exactly_once(…)`", mistakes);
                }
            }
        }
        read
    }
}

/// `at_most_once`, with or without parentheses: how many records are committed at once.
fn at_most_once(argument: &Argument, mistakes: &mut Mistakes) -> u32 {
    let mut at_once = 100;
    for argument in once_each(&inside(argument, "commit_records = 1", mistakes), mistakes) {
        if argument.word() == "commit_records" {
            at_once = number(argument, "1", &(1..=10_000), mistakes).unwrap_or(at_once);
        } else {
            misplaced(argument, &["commit_records"], "`at_most_once(…)`", mistakes);
        }
    }
    at_once
}

/// What stands in the parentheses of a word that may have some.
fn inside(argument: &Argument, example: &str, mistakes: &mut Mistakes) -> Vec<Argument> {
    match &argument.value {
        Value::Absent => Vec::new(),
        Value::Inside(tokens) => each(tokens.clone(), mistakes),
        Value::Given(value) => {
            let word = argument.word();
            mistakes.at(value, format!("`{word}` takes no value; write it alone, or `{word}({example})`"));
            Vec::new()
        }
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
            key_slots: 1,
            database: None,
        };
        for argument in once_each(&inside(argument, "isolation = \"…\"", mistakes), mistakes) {
            match argument.word().as_str() {
                "isolation" => read.isolation = Isolation::read(argument, mistakes).unwrap_or_default(),
                "dedupe" => read.dedupe = choice(argument, &DEDUPE, mistakes).unwrap_or_default(),
                "group_commit" => {
                    let many = number(argument, "100", &(1..=10_000), mistakes);
                    read.group_commit = many.map(|many| (argument.name.clone(), many));
                }
                "key_slots" => read.key_slots = number(argument, "16", &(1..=256), mistakes).unwrap_or(1),
                "database" => read.database = string(argument, "orders", text::name, mistakes),
                _ => {
                    misplaced(argument, &OF_TRANSACTIONAL, "`transactional(…)`", mistakes);
                }
            }
        }
        read
    }
}

const ON_FAILURE: [(&str, OnFailure); 2] = [("block", OnFailure::Block), ("park", OnFailure::Park)];

const MESSAGE_ID: [(&str, OutputId); 2] = [("repeatable", OutputId::Repeatable), ("off", OutputId::Off)];

const DEDUPE: [(&str, Dedupe); 2] = [("message_id", Dedupe::MessageId), ("position", Dedupe::Position)];
