//! Questions to the cluster, asked through one small client a process and answered off every thread that matters.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{ClientOptions, ConsumerOptions};
use super::context::Context;
use super::failure::{Fault, KafkaFailure};
use super::outage::Outage;
#[cfg(feature = "admin")]
use super::outage::Reach;
use super::partitions::Member;
use crate::error::BoxError;
use crate::source::{SourceError, Watermarks};

/// How long a question may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// How long it takes to find out that nobody answers.
const PROBE: Duration = Duration::from_secs(2);
/// How often a missing topic is looked for.
const LOOK: Duration = Duration::from_secs(2);

/// The process's client for questions; clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    client: Member,
    bootstrap_servers: String,
    outage: Outage,
    /// Topics that somebody looks for already, by group.
    sought: Mutex<BTreeSet<(String, String)>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Cluster {
    /// Makes the client; it connects when it is asked something.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, KafkaFailure> {
        let client = options.plain().create_with_context(Context::default())?;
        let inner = Inner {
            client,
            bootstrap_servers: options.bootstrap_servers.clone(),
            outage: Outage::default(),
            sought: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Ok(Cluster { inner: Arc::new(inner) })
    }

    /// Waits until a broker answers; says once that none does.
    ///
    /// # Errors
    /// When the broker refuses the credentials or the encryption: no waiting helps.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn connect(&self) -> Result<(), KafkaFailure> {
        loop {
            match self.probe().await {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    if let Some(failure) = fault.as_failure() {
                        return Err(failure);
                    }
                    self.trouble(&fault);
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The cluster's id, where it has one and answers.
    pub(crate) async fn cluster_id(&self) -> Option<String> {
        self.ask(|client| Ok(client.client().fetch_cluster_id(ANSWER))).await.ok().flatten()
    }

    /// How many partitions a topic has; `None` when there is no such topic. Asking never makes it.
    pub(crate) async fn partitions(&self, topic: &str) -> Result<Option<i32>, SourceError> {
        let name = topic.to_owned();
        let metadata = self.ask(move |client| client.fetch_metadata(Some(&name), ANSWER)).await;
        let metadata = metadata.map_err(|fault| SourceError::Broker(fault.reason.into()))?;
        let Some(topic) = metadata.topics().first() else { return Ok(None) };
        match topic.error().map(Code::from) {
            None | Some(Code::LeaderNotAvailable) => Ok(i32::try_from(topic.partitions().len()).ok()),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
            Some(code) => Err(SourceError::Broker(code.to_string().into())),
        }
    }

    /// Where a partition's log begins and ends.
    pub(crate) async fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, SourceError> {
        let name = topic.to_owned();
        let marks = self.ask(move |client| client.fetch_watermarks(&name, partition, ANSWER)).await;
        let (low, high) = marks.map_err(|fault| SourceError::Broker(fault.reason.into()))?;
        Ok(Watermarks { low, high })
    }

    /// Where the logs of these partitions of a topic end, as far as the client's `isolation.level` lets read; in one question to
    /// each broker that leads some of them. Those that a broker does not know are left out.
    pub(crate) async fn ends(&self, topic: &str, partitions: &[i32]) -> Result<Vec<(i32, i64)>, SourceError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            // A special time of Kafka's: the latest of all.
            let latest = list.add_partition_offset(topic, *partition, Offset::End);
            latest.map_err(|error| SourceError::Broker(error.into()))?;
        }
        let ends = self.ask(move |client| client.offsets_for_times(list.clone(), ANSWER)).await;
        let ends = ends.map_err(|fault| SourceError::Broker(fault.reason.into()))?;
        let known = ends.elements().into_iter().filter(|element| element.error().is_ok());
        Ok(known.filter_map(|element| Some((element.partition(), element.offset().to_raw()?))).collect())
    }

    /// Whether brokers can be reached.
    #[cfg(feature = "admin")]
    pub(crate) fn reach(&self) -> Reach {
        Reach::of(&self.inner.outage)
    }

    /// Ends its tasks and the client.
    pub(crate) async fn close(self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        // The client's end joins librdkafka's threads, which is nothing for a runtime's worker.
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }

    /// A broker cannot be reached. Reported once an outage, whoever notices it, and once when it is over.
    pub(super) fn trouble(&self, fault: &Fault) {
        let Some(over) = self.inner.outage.begin(fault, &self.inner.bootstrap_servers) else { return };
        let cluster = self.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if cluster.probe().await.is_ok() {
                    return over.end();
                }
            }
        });
    }

    /// Looks for topics that do not exist, and says so: once that they are missing, once that they are there.
    pub(super) fn look_for_topics(&self, options: &ConsumerOptions) {
        for topic in &options.topics {
            let key = (options.group.clone(), topic.clone());
            if self.sought().insert(key.clone()) {
                let (cluster, listener) = (self.clone(), options.listener.clone());
                self.spawn(async move {
                    cluster.look_for(&key.1, &listener).await;
                    cluster.sought().remove(&key);
                });
            }
        }
    }

    async fn look_for(&self, topic: &str, listener: &str) {
        let mut said = false;
        loop {
            match self.partitions(topic).await {
                Ok(Some(partitions)) if said => {
                    tracing::info!(target: "eos::kafka", topic, partitions, listener, "the topic is there now");
                    return;
                }
                Ok(Some(_)) => return,
                Ok(None) if !said => {
                    said = true;
                    tracing::warn!(
                        target: "eos::kafka", topic, listener,
                        "there is no topic `{topic}`; the listener `{listener}` waits for it"
                    );
                }
                Ok(None) | Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn sought(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, String)>> {
        self.inner.sought.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move { stop.run_until_cancelled_owned(task).await });
    }

    /// Whether a broker answers at all.
    pub(super) async fn probe(&self) -> Result<(), Fault> {
        // Any answer will do; the topic need not exist, and is not made.
        self.ask(|client| client.fetch_metadata(Some("__consumer_offsets"), PROBE)).await.map(drop)
    }

    /// Asks on a blocking thread. A failure comes with librdkafka's latest reason, which says more than "timed out".
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Member) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, Fault> {
        let inner = Arc::clone(&self.inner);
        let asked = tokio::task::spawn_blocking(move || {
            let client = &inner.client;
            let answer = question(client);
            while client.poll(Duration::ZERO).is_some() || client.context().was_called() {}
            let said = client.context().take().faults;
            answer.map_err(|error| worst(said).unwrap_or_else(|| plain(&error)))
        });
        asked.await.unwrap_or_else(|error| Err(Fault { code: Code::Fail, reason: error.to_string() }))
    }
}

/// Of several faults the one that says most: wrong credentials before lost connections, details before summaries.
fn worst(faults: Vec<Fault>) -> Option<Fault> {
    faults.into_iter().max_by_key(|fault| (fault.as_failure().is_some(), fault.code != Code::AllBrokersDown))
}

fn plain(error: &KafkaError) -> Fault {
    Fault { code: error.rdkafka_error_code().unwrap_or(Code::Unknown), reason: error.to_string() }
}

impl From<Fault> for BoxError {
    fn from(fault: Fault) -> Self {
        fault.reason.into()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("outage", &self.inner.outage).finish_non_exhaustive()
    }
}
