//! A cluster as tools ask it: reached by the settings of a service, and asked without being a member of anything.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::BoxError;
use crate::finding::Finding;
use crate::kafka::{ClientOptions, Cluster, TopicCheck};
use crate::settings::{self, Bootstrap};

pub use crate::kafka::Members;

/// A cluster to ask.
#[derive(Debug)]
pub struct Kafka {
    cluster: Cluster,
    options: ClientOptions,
}

impl Kafka {
    /// The one that `[kafka]` in the settings file and the environment name; `servers` counts before both. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// What is wrong with the settings, in sentences of their own.
    pub fn find(servers: Option<&str>) -> Result<Self, Vec<String>> {
        match settings::Kafka::of_process(servers) {
            (settings, mistakes) if mistakes.is_empty() => Kafka::of(settings),
            (_, mistakes) => Err(mistakes),
        }
    }

    /// The same for a look, which passes over mistakes as long as brokers are named.
    ///
    /// # Errors
    /// Why none can be asked.
    pub fn find_despite_mistakes(servers: Option<&str>) -> Result<Self, Vec<String>> {
        match settings::Kafka::of_process(servers) {
            (settings, mistakes) if settings.bootstrap == Bootstrap::Servers(String::new()) => Err(mistakes),
            (settings, _) => Kafka::of(settings),
        }
    }

    fn of(settings: settings::Kafka) -> Result<Self, Vec<String>> {
        let Bootstrap::Servers(bootstrap_servers) = settings.bootstrap else {
            return Err(vec![
                "`[kafka] bootstrap_servers` is `embedded`: that broker lives in its service's process alone, and nobody \
                 else can ask it"
                    .to_owned(),
            ]);
        };
        let properties = settings.properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = ClientOptions { bootstrap_servers, properties: properties.collect() };
        let cluster = Cluster::new(&options).map_err(|failure| vec![failure.to_string()])?;
        Ok(Kafka { cluster, options })
    }

    /// Its brokers, as the settings name them.
    pub fn servers(&self) -> &str {
        &self.options.bootstrap_servers
    }

    /// Whether anybody answers, and who refuses us.
    ///
    /// # Errors
    /// Why not.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn reach(&self) -> Result<(), BoxError> {
        self.cluster.answers().await
    }

    /// The cluster's id, where it says one.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn cluster_id(&self) -> Option<String> {
        self.cluster.cluster_id().await
    }

    /// How many partitions a topic has; `None` when there is no such topic. Asking never makes it.
    ///
    /// # Errors
    /// What the brokers say.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn partitions(&self, topic: &str) -> Result<Option<i32>, BoxError> {
        Ok(self.cluster.partitions(topic).await?)
    }

    /// The first offset of a partition that is still there, and the one behind its last.
    ///
    /// # Errors
    /// What the brokers say.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), BoxError> {
        let marks = self.cluster.watermarks(topic, partition).await?;
        Ok((marks.low, marks.high))
    }

    /// The first offset of a partition whose record is of this time or later; its end where there is none.
    ///
    /// # Errors
    /// What the brokers say.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn offset_at(&self, topic: &str, partition: i32, time: SystemTime) -> Result<i64, BoxError> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        self.cluster.offset_at(topic, partition, millis).await
    }

    /// Who is in a group; `topics` are those that it may read, with how many partitions each has.
    ///
    /// # Errors
    /// What the brokers say.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn members(&self, group: &str, topics: &[(String, i32)]) -> Result<Members, BoxError> {
        self.cluster.members(&self.options, group, topics).await
    }

    /// Whether a topic that listeners read is set up so that the promises hold. What cannot be looked at is a finding, too.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn check_topic(&self, topic: &str) -> Vec<Finding> {
        match TopicCheck::new(&self.cluster, &self.options) {
            Ok(check) => check.read_by_listeners(topic).await,
            Err(failure) => vec![Finding::problem("kafka", failure.to_string())],
        }
    }

    /// Whether dead letters of the topic `of` can go to this one; nothing where it is missing and not `needed`.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn check_dead_letter_topic(&self, topic: &str, of: Option<&str>, needed: bool) -> Vec<Finding> {
        match TopicCheck::new(&self.cluster, &self.options) {
            Ok(check) => check.for_dead_letters(topic, of, needed).await,
            Err(failure) => vec![Finding::problem("kafka", failure.to_string())],
        }
    }
}
