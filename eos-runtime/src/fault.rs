//! Named points at which a test can end or stop the process, as a crash would.
//!
//! Only with the feature `fault-points`, and only where `EOS_FAULT` names one: `after_claim=kill`, `before_take=stop`
//! (SIGSTOP, until somebody continues it), `after_commit@3=kill` (the third time it is passed). Without the feature
//! a point is nothing.

/// Passes the point `name`.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) {}

/// Passes the point `name`.
#[cfg(feature = "fault-points")]
pub(crate) fn point(name: &'static str) {
    enabled::point(name);
}

#[cfg(feature = "fault-points")]
mod enabled {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    struct Armed {
        point: String,
        /// Passes left before it goes off.
        passes: AtomicU32,
        signal: Signal,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let spec = std::env::var("EOS_FAULT").ok()?;
        let (place, action) = spec.split_once('=')?;
        let (point, passes) = match place.split_once('@') {
            Some((point, nth)) => (point, nth.parse().ok()?),
            None => (place, 1),
        };
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            _ => return None,
        };
        Some(Armed { point: point.to_owned(), passes: AtomicU32::new(passes), signal })
    });

    pub(super) fn point(name: &'static str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.point == name) else { return };
        if armed.passes.fetch_sub(1, Ordering::AcqRel) == 1 {
            tracing::warn!(point = name, "the armed fault point was reached");
            let _sent = kill_process(getpid(), armed.signal);
            // The signal is the whole process's, and another thread may be the first to hear it. This one would go
            // on meanwhile, beyond its point.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
