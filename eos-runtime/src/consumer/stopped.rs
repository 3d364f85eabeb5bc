//! A partition that stopped for good, until a person has looked.

use super::failure::Chain;
use super::work::Work;
use crate::source::Place;

/// A stopped partition says so, and again now and then, until it is revoked. Its other partitions go on.
pub(super) async fn stopped(
    work: &Work,
    place: &Place,
    offset: Option<i64>,
    why: &(dyn std::error::Error + Send + Sync + 'static),
) {
    work.board.stopped(place, offset, why);
    loop {
        tracing::error!(
            listener = %work.id, topic = %place.topic, partition = place.partition, offset, error = %Chain(why),
            "the partition is stopped: this cannot succeed by trying again. Nothing is skipped; fix the cause and \
             restart, or handle the record in the listener"
        );
        if place.revoked_within(work.stopped_log_every).await {
            return;
        }
    }
}
