//! `/listeners`: what runs, by which settings, and how far it is. Nothing in it is a secret.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Of;
use serde::Serialize;

use super::Desk;
use super::view::{DatabaseShown, ListenerShown, Stage};
use crate::consumer::{Seen, State};

/// A listener's settings in force: the attribute's, `eos.toml`'s and the environment's by now are one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ListenerSettings {
    pub(crate) id: &'static str,
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) group: Arc<str>,
    /// As the attribute says it, or `plain`.
    pub(crate) mode: &'static str,
    pub(crate) database: Option<String>,
    pub(crate) isolation: Option<&'static str>,
    pub(crate) dedupe: Option<&'static str>,
    pub(crate) group_commit: Option<u32>,
    pub(crate) max_wait: Option<String>,
    pub(crate) key_slots: Option<u16>,
    pub(crate) concurrency: u16,
    pub(crate) concurrency_per_partition: u16,
    pub(crate) deadline: String,
    pub(crate) retry: RetrySettings,
    /// `block` or `park`.
    pub(crate) on_failure: &'static str,
    /// `off`, `table`, `topic` or `table and topic`.
    pub(crate) dead_letter: &'static str,
}

/// When a record is tried again.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RetrySettings {
    pub(crate) max: u32,
    pub(crate) backoff: String,
    pub(crate) factor: f64,
    pub(crate) max_backoff: String,
    pub(crate) jitter: f64,
}

/// The whole answer.
#[derive(Serialize)]
pub(super) struct Listing {
    /// `starting`, `running` or `stopping`.
    process: &'static str,
    listeners: Vec<Listed>,
    outboxes: Vec<Outbox>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    settings: ListenerSettings,
    /// `running` or `waiting for an outage`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outage: Option<Lasting>,
    partitions: Vec<Partition>,
}

/// Something that is no good sign.
#[derive(Serialize)]
struct Lasting {
    /// For so long.
    seconds: f64,
    why: String,
}

#[derive(Serialize)]
struct Partition {
    topic: Arc<str>,
    partition: i32,
    position: Option<i64>,
    /// Where the log ends.
    end: Option<i64>,
    lag: Option<i64>,
    parked: i64,
    #[serde(flatten)]
    state: PartitionState,
}

#[derive(Serialize)]
#[serde(tag = "state")]
enum PartitionState {
    #[serde(rename = "starting")]
    Starting,
    #[serde(rename = "running")]
    Running,
    #[serde(rename = "waiting")]
    Waiting { what: String, seconds: f64, why: String },
    #[serde(rename = "trying again")]
    TryingAgain { offset: i64, attempt: u32, of: Option<u32>, seconds: f64, why: String },
    #[serde(rename = "stopped")]
    Stopped { offset: Option<i64>, seconds: f64, why: String },
}

#[derive(Serialize)]
struct Outbox {
    database: String,
    waiting: Option<i64>,
    oldest_seconds: Option<f64>,
}

/// What there is.
pub(super) async fn listeners(Of(desk): Of<Arc<Desk>>) -> Json<Listing> {
    let process = match desk.view.stage() {
        Stage::Starting => "starting",
        Stage::Running => "running",
        Stage::Stopping => "stopping",
    };
    let (listeners, outboxes) = desk.view.running().map_or_else(Default::default, |running| {
        let listeners = running.listeners.iter().map(Listed::of).collect();
        (listeners, running.databases.iter().map(Outbox::of).collect())
    });
    Json(Listing { process, listeners, outboxes })
}

impl Listed {
    fn of(listener: &ListenerShown) -> Self {
        let outage = listener.work.outage.seen();
        let outage = outage.map(|(lasts, why)| Lasting { seconds: lasts.as_secs_f64(), why });
        Listed {
            settings: listener.settings.clone(),
            state: if outage.is_some() { "waiting for an outage" } else { "running" },
            outage,
            partitions: listener.work.board.seen().into_iter().map(Partition::from).collect(),
        }
    }
}

impl From<Seen> for Partition {
    fn from(seen: Seen) -> Self {
        let (lag, lasts) = (seen.lag(), seen.state.lasts());
        Partition {
            topic: seen.topic,
            partition: seen.partition,
            position: seen.position,
            end: seen.end,
            lag,
            parked: seen.parked,
            state: PartitionState::of(seen.state, lasts),
        }
    }
}

impl PartitionState {
    fn of(state: State, lasts: Duration) -> Self {
        let seconds = lasts.as_secs_f64();
        match state {
            State::Starting => PartitionState::Starting,
            State::Running => PartitionState::Running,
            State::Waiting { what, why, .. } => PartitionState::Waiting { what, seconds, why },
            State::TryingAgain { offset, attempt, of, why, .. } => {
                PartitionState::TryingAgain { offset, attempt, of, seconds, why }
            }
            State::Stopped { offset, why, .. } => PartitionState::Stopped { offset, seconds, why },
        }
    }
}

impl Outbox {
    fn of(database: &DatabaseShown) -> Self {
        let depth = database.sounding.depth();
        Outbox {
            database: database.name.clone(),
            waiting: depth.map(|depth| depth.waiting),
            oldest_seconds: depth.map(|depth| depth.oldest.as_secs_f64()),
        }
    }
}
