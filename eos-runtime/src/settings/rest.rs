//! The small tables: `[inbox]`, `[retry]`, `[dead_letters]`, `[log]`, `[shutdown]`, and what `[listeners."<id>"]` overrides.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Section;
use super::setting::Choice;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const ATTEMPTS: RangeInclusive<u32> = 1..=1_000_000;
const WAITS: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
const FACTORS: RangeInclusive<f64> = 1.0..=100.0;
const SHARES: RangeInclusive<f64> = 0.0..=1.0;

/// `[inbox]`.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    /// How long an id is remembered.
    pub(crate) retention: Duration,
    /// Headers that can hold a message id; the first present one counts.
    pub(crate) id_headers: Vec<String>,
}

/// `[retry]`.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    /// Attempts in all, after which a record is set aside.
    pub(crate) max: u32,
    /// The wait before the second attempt.
    pub(crate) backoff: Duration,
    /// What each further wait is multiplied by.
    pub(crate) factor: f64,
    /// The longest wait.
    pub(crate) max_backoff: Duration,
    /// The share of a wait that chance may take off, 0 to 1.
    pub(crate) jitter: f64,
    /// How often a stopped partition says so.
    pub(crate) stopped_log_every: Duration,
}

/// `retry` of a listener's table: what it says instead of its attribute and of `[retry]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct RetryOverride {
    pub(crate) max: Option<u32>,
    pub(crate) backoff: Option<Duration>,
    pub(crate) factor: Option<f64>,
    pub(crate) max_backoff: Option<Duration>,
    pub(crate) jitter: Option<f64>,
}

/// `dead_letter` of a listener's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadLetter {
    Table,
    Topic,
    Off,
}

impl Choice for DeadLetter {
    const WORDS: &'static [(&'static str, Self)] =
        &[("table", DeadLetter::Table), ("topic", DeadLetter::Topic), ("off", DeadLetter::Off)];
}

/// `on_failure` of a listener's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Block,
    Park,
}

impl Choice for OnFailure {
    const WORDS: &'static [(&'static str, Self)] = &[("block", OnFailure::Block), ("park", OnFailure::Park)];
}

/// `[dead_letters]`.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetters {
    /// How many in a row a listener sets aside before it slows down; 0 is no limit.
    pub(crate) breaker: u32,
    /// Between two, from there on.
    pub(crate) breaker_pace: Duration,
    /// How many records of a partition may be parked before it waits.
    pub(crate) parked_at_most: u32,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// How records' keys are said.
    pub(crate) keys: LogKeys,
}

/// `[log] keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogKeys {
    /// By a hash: equal keys can be told, and a person's name cannot be read.
    Hashed,
    /// As text.
    Text,
}

impl Choice for LogKeys {
    const WORDS: &'static [(&'static str, Self)] = &[("hashed", LogKeys::Hashed), ("text", LogKeys::Text)];
}

/// `[shutdown]`.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    /// How long attempts in flight are waited for.
    pub(crate) deadline: Duration,
}

/// `[listeners."<id>"]`: what the settings say instead of the attribute.
#[derive(Debug, Clone)]
pub(crate) struct ListenerOverride {
    pub(crate) enabled: bool,
    pub(crate) concurrency: Option<u16>,
    pub(crate) concurrency_per_partition: Option<u16>,
    /// Placeholders unresolved.
    pub(crate) group: Option<String>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) retry: RetryOverride,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) key_slots: Option<u16>,
    pub(crate) dead_letter: Option<DeadLetter>,
}

impl Inbox {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let inbox = Inbox {
            retention: section.within("retention", 7 * DAY, SECOND..=3650 * DAY),
            id_headers: section.or("id_headers", vec!["message-id".to_owned(), "ce_id".to_owned()]),
        };
        if inbox.id_headers.is_empty() || inbox.id_headers.iter().any(String::is_empty) {
            let instead =
                "name at least one header; a listener without message ids says `dedupe = \"position\"`";
            section.refuse("id_headers", instead);
        }
        if inbox.id_headers.iter().any(|name| name.eq_ignore_ascii_case("id")) {
            let reason = "a header `id` may be a business id, and different events of one order would count as \
                          duplicates; have producers write `message-id`";
            section.refuse("id_headers", reason);
        }
        section.finish();
        inbox
    }
}

impl Retry {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let retry = Retry {
            max: section.within("max", 5, ATTEMPTS),
            backoff: section.within("backoff", Duration::from_millis(200), WAITS),
            factor: section.within("factor", 2.0, FACTORS),
            max_backoff: section.within("max_backoff", 10 * SECOND, WAITS),
            jitter: section.within("jitter", 0.2, SHARES),
            stopped_log_every: section.within("stopped_log_every", 60 * SECOND, SECOND..=DAY),
        };
        if retry.max_backoff < retry.backoff {
            section.refuse("max_backoff", "the longest wait is shorter than `backoff`, the first one");
        }
        section.finish();
        retry
    }
}

impl RetryOverride {
    fn read(mut section: Section<'_>) -> Self {
        let retry = RetryOverride {
            max: section.optional_within("max", ATTEMPTS),
            backoff: section.optional_within("backoff", WAITS),
            factor: section.optional_within("factor", FACTORS),
            max_backoff: section.optional_within("max_backoff", WAITS),
            jitter: section.optional_within("jitter", SHARES),
        };
        section.finish();
        retry
    }
}

impl DeadLetters {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let dead_letters = DeadLetters {
            breaker: section.within("breaker", 20, 0..=u32::MAX),
            breaker_pace: section.within("breaker_pace", 60 * SECOND, WAITS),
            parked_at_most: section.within("parked_at_most", 10_000, 1..=10_000_000),
        };
        section.finish();
        dead_letters
    }
}

impl Log {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let log = Log { keys: section.optional_choice("keys").unwrap_or(LogKeys::Hashed) };
        section.finish();
        log
    }
}

impl Shutdown {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        // Kubernetes kills after 30 s, unless it was told otherwise.
        let shutdown = Shutdown { deadline: section.within("deadline", 25 * SECOND, Duration::ZERO..=DAY) };
        section.finish();
        shutdown
    }
}

impl ListenerOverride {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let listener = ListenerOverride {
            enabled: section.or("enabled", true),
            concurrency: section.optional_within("concurrency", 1..=1024),
            concurrency_per_partition: section.optional_within("concurrency_per_partition", 1..=10_000),
            group: section.optional("group"),
            deadline: section.optional_within("deadline", Duration::from_millis(1)..=DAY),
            retry: RetryOverride::read(section.section("retry")),
            on_failure: section.optional_choice("on_failure"),
            key_slots: section.optional_within("key_slots", 1..=256),
            dead_letter: section.optional_choice("dead_letter"),
        };
        section.finish();
        listener
    }
}
