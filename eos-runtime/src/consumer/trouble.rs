//! What a partition's worker needs of the source, and does not get at once: it is tried until it is there, and said meanwhile.

use std::future::Future;
use std::time::{Duration, Instant};

use super::failure::Chain;
use super::owner::Halt;
use super::work::Work;
use crate::source::{Place, Revocation, SourceError};

/// What comes of it, unless the partition is revoked before.
pub(super) async fn unless_revoked<T>(
    revoked: &Revocation,
    attempt: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::select! {
        biased;
        () = revoked.cancelled() => Err(SourceError::Revoked),
        outcome = attempt => outcome,
    }
}

/// A trouble that lasts: said when it begins, now and then while it lasts, and when it is over.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) failures: u32,
    said_at: Option<Instant>,
}

impl Trouble {
    const SAY_AGAIN: Duration = Duration::from_secs(30);

    pub(super) fn say(
        &mut self,
        work: &Work,
        place: &Place,
        what: &str,
        error: &(dyn std::error::Error + 'static),
    ) {
        self.failures += 1;
        work.board.waits(place, what, error);
        if self.said_at.is_some_and(|at| at.elapsed() < Self::SAY_AGAIN) {
            return;
        }
        self.said_at = Some(Instant::now());
        tracing::warn!(
            listener = %work.id, topic = %place.topic, partition = place.partition, failures = self.failures,
            error = %Chain(error), "{what}; still trying"
        );
    }

    /// What an attempt came to; `None` where it is to be made again, after a wait and, where it failed, with `what` said.
    pub(super) async fn after<T>(
        &mut self,
        work: &Work,
        place: &Place,
        what: &str,
        outcome: Result<Option<T>, SourceError>,
    ) -> Result<Option<T>, Halt> {
        match outcome {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) => {}
            Err(SourceError::Revoked) => return Err(Halt::Revoked),
            Err(error) => self.say(work, place, what, &error),
        }
        if place.revoked_within(work.retry.wait(self.failures.max(1))).await {
            return Err(Halt::Revoked);
        }
        Ok(None)
    }

    pub(super) fn over(&mut self, work: &Work, place: &Place, what: &str) {
        if self.said_at.take().is_some() {
            tracing::info!(
                listener = %work.id, topic = %place.topic, partition = place.partition, failures = self.failures,
                "{what}, after trouble"
            );
        }
        self.failures = 0;
    }
}
