//! Which partition, and whether it may still be worked on: what everybody who works on a lease may know of it.

use std::sync::Arc;
use std::time::Duration;

use super::Revocation;

/// A partition that somebody works on. The worker's own is its lease's; who works for it has one that it can end sooner.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// Which branch of the partition's lease it is; 0 where that has none.
    pub(crate) branch: i32,
    /// Cancelled when the partition is revoked or the process stops: finish the attempt in flight, begin no other.
    pub(crate) revoked: Revocation,
}

impl Place {
    /// Waits, and says whether the partition was revoked meanwhile.
    pub(crate) async fn revoked_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.revoked.cancelled()).await.is_ok()
    }
}
