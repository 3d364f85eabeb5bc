//! A member's lane: what its workers pass goes into a Kafka transaction, with the positions behind it, and is committed now
//! and then.
//!
//! The order, and why: outputs are handed to the producer as they come. To commit, the fate of all of them is awaited, then
//! the positions go into the transaction, *on behalf of the member as the group last accepted it*: a member that has been
//! replaced meanwhile is refused here, whatever it takes itself for. Then the transaction is committed.
//!
//! What we show the group was kept before a commit of a worker's that the group accepted, and that worker still had its
//! partition then. Anything else would not do: librdkafka forgets who it was when the group shuts it out, and the broker
//! takes positions from a producer that names no member at all. And a partition whose worker has ended is not committed:
//! its revocation may have been answered, and somebody else may have it.
//!
//! Whatever goes wrong before the commit makes the transaction void: it is aborted, and a new run begins. A commit whose
//! answer is not known is neither repeated nor aborted: the producer is thrown away, and the next one's initialisation
//! settles it, before a worker asks the group where to go on.

mod lane;
mod limits;
mod open;

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Fuse, FusedFuture as _};
use tokio::task::{AbortHandle, JoinHandle};

use self::lane::{Abandoned, Lane};
use super::client::ClientOptions;
use super::consumer::Membership;
use super::failure::KafkaFailure;
use super::partitions::panicked;
use crate::source::OutflowEnd;

/// What a lane is for.
#[derive(Debug, Clone)]
pub(crate) struct TransactorOptions {
    pub(crate) group: String,
    /// Whose it is, for the log.
    pub(crate) listener: String,
    pub(crate) transactional_id: String,
    /// Whether an earlier process may have had this id, and a later one will.
    pub(crate) is_named: bool,
    /// How long a transaction stays open for more.
    pub(crate) commit_interval: Duration,
    /// How many records it may hold before it is committed.
    pub(crate) commit_records: u32,
}

/// The task of a lane; it ends when no worker, and nobody who starts any, is left.
#[derive(Debug)]
pub(crate) struct Transactor {
    task: Fuse<JoinHandle<()>>,
    abort: AbortHandle,
    group: String,
    /// Told to the producer that there is when nobody waits any more.
    abandoned: Abandoned,
}

impl Transactor {
    /// Starts it, at the end of a lane whose workers read as this member.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(crate) fn start(
        client: &ClientOptions,
        options: TransactorOptions,
        membership: Membership,
        end: OutflowEnd,
    ) -> Result<Self, KafkaFailure> {
        let group = options.group.clone();
        let lane = Lane::new(client, options, membership, end)?;
        let abandoned = lane.abandoned();
        let task = tokio::spawn(lane.go());
        Ok(Transactor { abort: task.abort_handle(), task: task.fuse(), group, abandoned })
    }

    /// Completes when the lane has ended by a panic: nobody would commit any more.
    pub(crate) async fn failed(&mut self) -> KafkaFailure {
        match (&mut self.task).await {
            Err(error) if error.is_panic() => panicked(&self.group, &*error.into_panic()),
            Ok(()) | Err(_) => std::future::pending().await,
        }
    }

    /// Waits for its end, within reason.
    pub(crate) async fn ended(mut self, within: Duration) {
        if self.task.is_terminated() {
            return;
        }
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            tracing::warn!(target: "eos::kafka", "a lane of transactions did not end in time; its last one is left to time out");
            self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).store(true, Ordering::Release);
        }
    }
}

impl Drop for Transactor {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn with(task: JoinHandle<()>) -> Transactor {
        Transactor {
            abort: task.abort_handle(),
            task: task.fuse(),
            group: "billing".to_owned(),
            abandoned: Arc::default(),
        }
    }

    #[tokio::test]
    async fn a_lane_that_panics_is_noticed_and_one_that_ends_is_not() {
        let mut panics = with(tokio::spawn(async { panic!("no such topic") }));
        assert_eq!(
            panics.failed().await.to_string(),
            "a consumer of group `billing` panicked: no such topic"
        );
        panics.ended(Duration::from_secs(60)).await;

        let mut ends = with(tokio::spawn(async {}));
        assert!(tokio::time::timeout(Duration::from_millis(50), ends.failed()).await.is_err());
        ends.ended(Duration::from_secs(60)).await;
    }
}
