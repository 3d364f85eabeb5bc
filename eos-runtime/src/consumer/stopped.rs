//! A partition that stopped for good, until a person has looked.

use super::failure::Chain;
use super::work::Work;
use crate::source::Lease;

/// A stopped partition says so, and again now and then, until it is revoked. Its other partitions go on.
pub(super) async fn stopped(
    work: &Work,
    lease: &Lease,
    offset: Option<i64>,
    why: &(dyn std::error::Error + Send + Sync + 'static),
) {
    work.board.stopped(lease, offset, why);
    loop {
        tracing::error!(
            listener = %work.id, topic = %lease.topic, partition = lease.partition, offset, error = %Chain(why),
            "the partition is stopped: this cannot succeed by trying again. Nothing is skipped; fix the cause and \
             restart, or handle the record in the listener"
        );
        if lease.revoked_within(work.stopped_log_every).await {
            return;
        }
    }
}
