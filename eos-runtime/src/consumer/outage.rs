//! A dependency of a listener is down: its partitions wait together, and one of them at a time looks whether it is back.
//!
//! No attempt is counted meanwhile, and nothing is set aside, however long it lasts. A look is an attempt like any other:
//! it opens a new connection, and its claim is a write, so that a database that can only be read does not pass for one
//! that is back. The longer it lasts the rarer the looks, up to `[retry] max_backoff`; whatever ends otherwise than by
//! an outage ends the wait of all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::failure::Chain;
use crate::listener::retry::RetryPolicy;
use crate::source::Place;

/// How often an outage that lasts says so.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// What the partitions of one listener know of an outage.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// Whether there is one, without a lock.
    on: AtomicBool,
    down: Mutex<Option<Down>>,
    over: Notify,
}

#[derive(Debug)]
struct Down {
    since: Instant,
    failures: u32,
    why: String,
    /// Who comes next at this time looks.
    look_at: Instant,
    said_at: Option<Instant>,
}

impl Outage {
    /// Whether there is one.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// For how long there has been one, and what was said of it last.
    #[cfg(feature = "admin")]
    pub(crate) fn seen(&self) -> Option<(Duration, String)> {
        self.lock().as_ref().map(|down| (down.since.elapsed(), down.why.clone()))
    }

    /// An attempt failed by an outage.
    pub(super) fn found(
        &self,
        listener: &str,
        place: &Place,
        retry: &RetryPolicy,
        why: &(dyn std::error::Error + 'static),
    ) {
        let now = Instant::now();
        let mut down = self.lock();
        let down = down.get_or_insert(Down {
            since: now,
            failures: 0,
            why: String::new(),
            look_at: now,
            said_at: None,
        });
        self.on.store(true, Ordering::Relaxed);
        let lasts = now.duration_since(down.since);
        down.failures += 1;
        down.why = Chain(why).to_string();
        down.look_at = now + retry.pace(lasts);
        if down.said_at.is_some_and(|at| now.duration_since(at) < SAY_AGAIN) {
            return;
        }
        down.said_at = Some(now);
        tracing::warn!(
            %listener, topic = %place.topic, partition = place.partition, failures = down.failures,
            lasts = %format_args!("{lasts:.1?}"), error = %Chain(why),
            "an outage: the listener waits, and tries again until what it needs is back; no attempt is counted"
        );
    }

    /// Waits for the outage to be over, or for a turn to look.
    ///
    /// # Cancel safety
    /// Cancel safe; a turn that was given is lost, and the next comes in its time.
    pub(super) async fn turn(&self, retry: &RetryPolicy) {
        while self.on.load(Ordering::Relaxed) {
            let mut over = std::pin::pin!(self.over.notified());
            over.as_mut().enable();
            let wait = match self.lock().as_mut() {
                None => return,
                Some(down) => {
                    let now = Instant::now();
                    if now >= down.look_at {
                        down.look_at = now + retry.pace(now.duration_since(down.since));
                        return;
                    }
                    down.look_at.duration_since(now)
                }
            };
            tokio::select! {
                () = over => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Waits after an outage was found, and then for its end or a turn to look; `false` where the partition is revoked
    /// meanwhile.
    ///
    /// # Cancel safety
    /// As of [`Outage::turn`].
    pub(super) async fn waited_out(&self, place: &Place, retry: &RetryPolicy) -> bool {
        if place.revoked_within(retry.wait(1)).await {
            return false;
        }
        tokio::select! {
            biased;
            () = place.revoked.cancelled() => false,
            () = self.turn(retry) => true,
        }
    }

    /// An attempt ended otherwise than by an outage.
    pub(super) fn over(&self, listener: &str) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let down = {
            let mut down = self.lock();
            self.on.store(false, Ordering::Relaxed);
            down.take()
        };
        let Some(down) = down else { return };
        self.over.notify_waiters();
        if down.said_at.is_some() {
            tracing::info!(
                %listener, failures = down.failures, lasted = %format_args!("{:.1?}", down.since.elapsed()),
                "the outage is over; attempts go on"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Down>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
