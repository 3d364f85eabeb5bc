//! The relays of this process: one for each of its databases, until they are told to end.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open::Opened;
use super::plan::Plan;
use crate::kafka::{ClientOptions, KafkaFailure, Producer};
use crate::outbox::relay::{self, RelayOptions};
use crate::settings::Delivery;
use crate::store::{RelayDialect, Store};

/// Relays that run.
pub(super) struct Relays {
    tasks: TaskTracker,
    stop: CancellationToken,
    failures: mpsc::UnboundedReceiver<KafkaFailure>,
}

impl Relays {
    /// Whether this process is to publish.
    fn wanted(plan: &Plan) -> bool {
        plan.relays && !plan.databases.is_empty()
    }

    /// Whether a relay could make its producers, where there are to be relays.
    ///
    /// # Errors
    /// What librdkafka does not accept.
    pub(super) async fn check(plan: &Plan, client: &ClientOptions) -> Result<(), KafkaFailure> {
        if !Relays::wanted(plan) {
            return Ok(());
        }
        let outbox = &plan.settings.outbox;
        Producer::check(client, outbox.delivery == Delivery::ExactlyOnce, &outbox.properties).await
    }

    /// Starts a relay for each database, where this process is to publish.
    pub(super) fn start(plan: &Plan, client: &ClientOptions, databases: &[Opened]) -> Option<Self> {
        if !Relays::wanted(plan) {
            return None;
        }
        let (failed, failures) = mpsc::unbounded_channel();
        let relays = Relays { tasks: TaskTracker::new(), stop: CancellationToken::new(), failures };
        for (planned, database) in plan.databases.iter().zip(databases) {
            let options = RelayOptions::of(&planned.name, &plan.settings.outbox);
            match database {
                #[cfg(feature = "postgres")]
                Opened::Postgres(bound) => relays.spawn(&bound.store, client, options, &failed),
                #[cfg(feature = "mysql")]
                Opened::MySql(bound) => relays.spawn(&bound.store, client, options, &failed),
                #[cfg(feature = "sqlite")]
                Opened::Sqlite(bound) => relays.spawn(&bound.store, client, options, &failed),
            }
        }
        relays.tasks.close();
        Some(relays)
    }

    fn spawn<D: RelayDialect>(
        &self,
        store: &Arc<Store<D>>,
        client: &ClientOptions,
        options: RelayOptions,
        failed: &mpsc::UnboundedSender<KafkaFailure>,
    ) {
        let relay = relay::run(Arc::clone(store), client.clone(), options, self.stop.clone());
        let failed = failed.clone();
        self.tasks.spawn(async move {
            if let Err(failure) = relay.await {
                // Nobody listens any more where the process stops already.
                drop(failed.send(failure));
            }
        });
    }

    /// Waits for a relay that cannot go on.
    pub(super) async fn failed(&mut self) -> KafkaFailure {
        match self.failures.recv().await {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Lets them finish what they have begun, and hand their lanes back.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Relays {
    /// Whoever stops at once does not wait for them.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
