//! What can be seen of the process. It is empty while the process starts, and filled in once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::listeners::ListenerSettings;
use crate::consumer::Work;
use crate::dead_letters::Marks;
use crate::kafka::{Pulse, Reach};
use crate::outbox::Sounding;

/// What can be seen.
pub(crate) struct View {
    running: OnceLock<Running>,
    /// Cancelled when the process is told to stop.
    stop: CancellationToken,
    /// How long a record may be tried again before its partition counts as stuck.
    pub(super) stuck_after: Duration,
}

/// What runs, once it does.
pub(crate) struct Running {
    pub(crate) listeners: Vec<ListenerShown>,
    pub(crate) databases: Vec<DatabaseShown>,
    pub(crate) brokers: Reach,
    /// Of each poll thread, with its listener's id.
    pub(crate) pulses: Vec<(&'static str, Arc<Pulse>)>,
}

/// A listener, its settings and its workers.
pub(crate) struct ListenerShown {
    pub(crate) settings: ListenerSettings,
    pub(crate) work: Arc<Work>,
}

/// A database, its outbox and its dead letters.
pub(crate) struct DatabaseShown {
    pub(crate) name: String,
    pub(crate) sounding: Arc<Sounding>,
    pub(crate) letters: Arc<dyn Marks>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("stage", &self.stage()).finish_non_exhaustive()
    }
}

/// How far the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Starting,
    Running,
    Stopping,
}

impl View {
    pub(crate) fn new(stop: CancellationToken, stuck_after: Duration) -> Self {
        View { running: OnceLock::new(), stop, stuck_after }
    }

    /// Everything runs now.
    pub(crate) fn fill(&self, running: Running) {
        self.running.get_or_init(|| running);
    }

    pub(super) fn running(&self) -> Option<&Running> {
        self.running.get()
    }

    pub(super) fn stage(&self) -> Stage {
        match self.running() {
            _ if self.stop.is_cancelled() => Stage::Stopping,
            Some(_) => Stage::Running,
            None => Stage::Starting,
        }
    }
}
