//! What stops the process: SIGTERM and SIGINT, or a future of the caller's, which then owns the signals.

use std::future::pending;

use super::builder::Shutdown;
use crate::error::Error;

/// Waits for the signal to stop, and afterwards for the one to stop at once.
pub(super) enum Stop {
    /// The caller's own; there is no second one.
    Caller(Shutdown),
    /// The process's signals.
    Process(Signals),
}

impl Stop {
    /// Listens from now on, so that a signal during start-up is not lost.
    pub(super) fn listen(caller: Option<Shutdown>) -> Result<Self, Error> {
        match caller {
            Some(future) => Ok(Stop::Caller(future)),
            None => Signals::listen().map(Stop::Process).map_err(Error::Signals),
        }
    }

    /// The first signal; says what it was.
    pub(super) async fn asked(&mut self) -> &'static str {
        match self {
            Stop::Caller(future) => {
                future.await;
                "the application"
            }
            Stop::Process(signals) => signals.next().await.name,
        }
    }

    /// The second signal, which waits for nothing: what the process exits with.
    pub(super) async fn asked_again(self) -> Signal {
        match self {
            Stop::Caller(_) => pending().await,
            Stop::Process(mut signals) => signals.next().await,
        }
    }
}

/// A signal that stops the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signal {
    pub(super) name: &'static str,
    /// 128 + its number, as shells count.
    pub(super) exit_code: i32,
}

const INTERRUPT: Signal = Signal { name: "SIGINT", exit_code: 130 };
#[cfg(unix)]
const TERMINATE: Signal = Signal { name: "SIGTERM", exit_code: 143 };

#[cfg(unix)]
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATE,
            _ = self.interrupt.recv() => INTERRUPT,
        }
    }
}

#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => INTERRUPT,
            Err(_) => pending().await,
        }
    }
}
