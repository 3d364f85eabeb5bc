//! Fenced, or only moved? The second look at a position row that our claim did not find.
//!
//! The claim that waited had an old snapshot, so the row is read again, by a statement of its own. Nothing is dropped
//! on what this process remembers: the row says what happened, and the group says whether the partition is still ours.

use super::work::Work;
use crate::source::Lease;
use crate::store::{Dialect, Hold, Standing, Store};

/// Our claim found no row: what does the row say, now that nothing of ours is open? False when we are to leave.
pub(super) async fn second_look<D: Dialect>(
    work: &Work,
    store: &Store<D>,
    lease: &Lease,
    hold: &Hold<D::Locator>,
    times: u32,
) -> bool {
    let standing = D::standings(store, &[hold.held()]).await;
    match standing.as_deref() {
        Ok([Standing::Ours { next_offset }]) if *next_offset != hold.next_offset => tracing::warn!(
            listener = %work.id, partition = %hold.key, here = hold.next_offset, database = next_offset,
            "the position in the database moved without us: it was set by hand, or the database lost its last commits; \
             going on from what it says"
        ),
        Ok([Standing::Fenced]) => {
            work.counts.fenced.one();
            tracing::info!(
                listener = %work.id, partition = %hold.key, epoch = hold.epoch,
                "another process took the partition; asking the group whether it is still ours"
            );
            // Two that take from each other would do so for ever: the later in the queue waits longer.
            if lease.revoked_within(work.retry.wait(times.min(6))).await {
                return false;
            }
            return still_ours(work, lease).await;
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "the second look failed; the take will tell"),
    }
    true
}

/// Asks the group until it says yes, or the partition is revoked.
async fn still_ours(work: &Work, lease: &Lease) -> bool {
    let mut asked = 0;
    loop {
        asked += 1;
        tokio::select! {
            biased;
            () = lease.revoked.cancelled() => return false,
            answer = lease.confirm(-1) => if matches!(answer, Ok(true)) { return true },
        }
        if lease.revoked_within(work.retry.wait(asked)).await {
            return false;
        }
    }
}
