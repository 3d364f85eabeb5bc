//! The small tables: `[inbox]`, `[retry]`, `[shutdown]`, and what `[listeners."<id>"]` overrides.

use std::time::Duration;

use super::reader::Section;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

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
    /// The wait before the second attempt.
    pub(crate) initial: Duration,
    /// What each further wait is multiplied by.
    pub(crate) factor: f64,
    /// The longest wait.
    pub(crate) max: Duration,
    /// The share of a wait that chance may take off, 0 to 1.
    pub(crate) jitter: f64,
    /// How often a stopped partition says so.
    pub(crate) stopped_log_every: Duration,
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
    /// Placeholders unresolved.
    pub(crate) group: Option<String>,
    pub(crate) deadline: Option<Duration>,
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
        let waits = Duration::from_millis(1)..=DAY;
        let retry = Retry {
            initial: section.within("initial", Duration::from_millis(200), waits.clone()),
            factor: section.within("factor", 2.0, 1.0..=100.0),
            max: section.within("max", 10 * SECOND, waits),
            jitter: section.within("jitter", 0.2, 0.0..=1.0),
            stopped_log_every: section.within("stopped_log_every", 60 * SECOND, SECOND..=DAY),
        };
        if retry.max < retry.initial {
            section.refuse("max", "the longest wait is shorter than `initial`, the first one");
        }
        section.finish();
        retry
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
            group: section.optional("group"),
            deadline: section.optional_within("deadline", Duration::from_millis(1)..=DAY),
        };
        section.finish();
        listener
    }
}
