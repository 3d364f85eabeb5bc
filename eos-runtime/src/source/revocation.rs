//! Whether a partition was taken back: asked for each record, waited for between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Told once, and for ever. Asking costs a load, where a token alone would lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Revocation {
    told: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Revocation {
    pub(crate) fn cancel(&self) {
        self.told.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Ends when it is cancelled.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub(crate) fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}
