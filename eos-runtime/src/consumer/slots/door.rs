//! What a branch asks: what a lease asks. Where to read is for the [`branches`](super::branches) to say; everything else is asked
//! of the partition's own source, and of the group in the name of the lowest slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::source::{CommittedInKafka, LeaseId, Requests, SourceError, Watermarks};

/// A worker wants to start (again) there.
pub(super) struct Start {
    pub(super) slot: usize,
    pub(super) offset: i64,
    pub(super) seek: u64,
    pub(super) reply: oneshot::Sender<Result<(), SourceError>>,
}

/// The requests of one branch.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) slot: usize,
    pub(super) trunk: Arc<dyn Requests>,
    pub(super) asks: mpsc::UnboundedSender<Start>,
    pub(super) lowest: Arc<AtomicI64>,
}

impl Requests for Door {
    fn watermarks(
        &self,
        topic: &Arc<str>,
        partition: i32,
        reply: oneshot::Sender<Result<Watermarks, SourceError>>,
    ) {
        self.trunk.watermarks(topic, partition, reply);
    }

    fn partitions(&self, topic: &Arc<str>, reply: oneshot::Sender<Result<i32, SourceError>>) {
        self.trunk.partitions(topic, reply);
    }

    fn seek(&self, _: LeaseId, offset: i64, seek: u64, reply: oneshot::Sender<Result<(), SourceError>>) {
        // Where nobody listens any more, the reply goes away, which says `Revoked`.
        drop(self.asks.send(Start { slot: self.slot, offset, seek, reply }));
    }

    fn confirm(&self, lease: LeaseId, _: i64, reply: oneshot::Sender<Result<bool, SourceError>>) {
        self.trunk.confirm(lease, self.lowest.load(Ordering::Relaxed), reply);
    }

    fn committed(
        &self,
        lease: LeaseId,
        reply: oneshot::Sender<Result<Option<CommittedInKafka>, SourceError>>,
    ) {
        self.trunk.committed(lease, reply);
    }

    fn wake(&self) {
        self.trunk.wake();
    }
}
