//! Which of the records that are set aside are meant, dead or parked, and what is to be changed of them.

use std::time::SystemTime;

use anyhow::ensure;
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use eos_runtime::dead_letters::{Selection, State};

/// Which of them are meant: all that fulfil everything that is said
#[derive(Debug, Args)]
#[command(next_help_heading = "Which of them (all that fulfil everything that is said)")]
pub(crate) struct Filters {
    /// Of this group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// Of this topic
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,

    /// Set aside since then: `2h`, `3days`, or a time in UTC as `2026-11-26T17:50:46Z`
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<SystemTime>,

    /// With this key, as text
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// Set aside for this reason
    #[arg(long, value_name = "REASON",
          value_parser = PossibleValuesParser::new(["poison", "failed", "overran", "panicked", "killed", "behind"]))]
    pub(crate) reason: Option<String>,

    /// With this number (repeatable)
    #[arg(long, value_name = "ID")]
    pub(crate) id: Vec<i64>,
}

/// What is to be changed.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// These alone, by their numbers
    #[arg(value_name = "ID")]
    pub(crate) numbers: Vec<i64>,

    #[command(flatten)]
    pub(crate) filters: Filters,

    /// All of them, where no filter is given
    #[arg(long, conflicts_with_all = ["numbers", "group", "topic", "since", "key", "reason", "id"])]
    pub(crate) all: bool,

    /// So many at most, the oldest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,

    /// Say how many and which, and change nothing
    #[arg(long, help_heading = None::<&'static str>)]
    pub(crate) dry_run: bool,
}

/// A state by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    /// It waits until somebody looks
    Dead,
    /// It waits for its turn, and is tried again by itself
    Parked,
    /// It is to be handled again
    Wanted,
    /// It was handled after all
    Replayed,
    /// Nobody wants it handled
    Discarded,
}

impl StateName {
    pub(crate) const ALL: [StateName; 5] =
        [StateName::Dead, StateName::Parked, StateName::Wanted, StateName::Replayed, StateName::Discarded];

    pub(crate) fn state(self) -> State {
        match self {
            StateName::Dead => State::Dead,
            StateName::Parked => State::Parked,
            StateName::Wanted => State::Wanted,
            StateName::Replayed => State::Replayed,
            StateName::Discarded => State::Discarded,
        }
    }
}

impl Filters {
    /// As the runtime wants it; `numbers` are those that stand without `--id`.
    pub(crate) fn selection(&self, numbers: &[i64], states: &[StateName]) -> Selection {
        let mut selection = Selection::all();
        let ids = self.ids(numbers);
        if !ids.is_empty() {
            selection = selection.ids(ids);
        }
        if let Some(group) = &self.group {
            selection = selection.group(group);
        }
        if let Some(topic) = &self.topic {
            selection = selection.topic(topic);
        }
        if let Some(since) = self.since {
            selection = selection.since(since);
        }
        if let Some(key) = &self.key {
            selection = selection.key(key.as_bytes());
        }
        if let Some(reason) = &self.reason {
            selection = selection.reason(reason);
        }
        states.iter().fold(selection, |selection, state| selection.state(state.state()))
    }

    /// All numbers that were named, each once.
    pub(crate) fn ids(&self, numbers: &[i64]) -> Vec<i64> {
        let mut ids = [numbers, &self.id].concat();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// As a sentence goes on: " in group `billing`"; nothing where nothing was said.
    pub(crate) fn said(&self, numbers: &[i64]) -> String {
        let mut said = String::new();
        let mut add = |words: &str, value: Option<&str>| {
            if let Some(value) = value {
                said.push_str(&format!(" {words} `{value}`"));
            }
        };
        let ids: Vec<_> = self.ids(numbers).iter().map(i64::to_string).collect();
        add("with the number", Some(ids.join("`, `").as_str()).filter(|ids| !ids.is_empty()));
        add("in group", self.group.as_deref());
        add("of topic", self.topic.as_deref());
        add("with key", self.key.as_deref());
        add("for the reason", self.reason.as_deref());
        if let Some(since) = self.since {
            said.push_str(&format!(" since {}", crate::print::time(since)));
        }
        said
    }
}

impl Change {
    /// Nobody replays or discards everything by leaving something out.
    pub(crate) fn expect_a_filter(&self, states: &[StateName]) -> anyhow::Result<()> {
        let Filters { group, topic, since, key, reason, id } = &self.filters;
        let filtered = !self.numbers.is_empty()
            || !id.is_empty()
            || !states.is_empty()
            || since.is_some()
            || [group, topic, key, reason].into_iter().any(Option::is_some);
        ensure!(
            filtered || self.all,
            "nothing says which records are meant; name them by their numbers or by a filter such as `--group`, or \
             say `--all`; `--dry-run` shows what would be marked"
        );
        Ok(())
    }
}

/// A time that is so long ago, or a time.
pub(super) fn since(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(ago).ok_or_else(|| "that is before all time".to_owned());
    }
    humantime::parse_rfc3339_weak(text).map_err(|_| {
        "say how long ago, as `2h` or `3days`, or when in UTC, as `2026-11-26T17:50:46Z`".to_owned()
    })
}
