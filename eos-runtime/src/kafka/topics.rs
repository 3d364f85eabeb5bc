//! What is known of the topics that a relay sends to: whether they are there, and how large a batch each of them takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::ClientOptions;
use super::context::Quiet;
use super::failure::KafkaFailure;

/// How long a question may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long what is known of a topic counts; its limit may be changed.
const KNOWN: Duration = Duration::from_secs(60);
/// How long a topic counts as missing.
const MISSING: Duration = Duration::from_secs(1);
/// What a topic takes where it does not say so: Kafka's default of `max.message.bytes`.
const USUAL: usize = 1_048_588;

/// What is known of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// It is there, and takes batches of so many bytes.
    Known { max_bytes: usize, partitions: i32 },
    /// It is not.
    Missing,
    /// Nobody tells us.
    Forbidden,
    /// It cannot be the name of one.
    Impossible,
}

/// The book of topics, one a relay.
pub(crate) struct Topics {
    admin: Arc<AdminClient<Quiet>>,
    known: Mutex<HashMap<String, (Topic, Instant)>>,
}

impl Topics {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(crate) fn new(client: &ClientOptions) -> Result<Self, KafkaFailure> {
        let admin = AdminClient::from_config_and_context(&client.plain(), Quiet)?;
        Ok(Topics { admin: Arc::new(admin), known: Mutex::default() })
    }

    /// What is known of a topic; asked where that is long ago.
    ///
    /// # Errors
    /// Why the brokers do not tell.
    pub(crate) async fn look(&self, topic: &str) -> Result<Topic, String> {
        if let Some((known, at)) = self.known().get(topic) {
            let counts = if matches!(known, Topic::Known { .. }) { KNOWN } else { MISSING };
            if at.elapsed() < counts {
                return Ok(*known);
            }
        }
        let found = self.ask(topic).await?;
        self.known().insert(topic.to_owned(), (found, Instant::now()));
        Ok(found)
    }

    /// Asks again when it is next looked for.
    pub(crate) fn forget(&self, topic: &str) {
        self.known().remove(topic);
    }

    /// The largest batch that each of the known topics takes.
    pub(crate) fn smallest_limit(&self) -> usize {
        let known = self.known();
        let limits = known.values().filter_map(|(topic, _)| match topic {
            Topic::Known { max_bytes, partitions: _ } => Some(*max_bytes),
            Topic::Missing | Topic::Forbidden | Topic::Impossible => None,
        });
        limits.min().unwrap_or(USUAL)
    }

    /// Makes the compacted topic of the markers where it is missing, and checks it where it is there.
    ///
    /// # Errors
    /// Why it cannot be used, and what to change.
    pub(crate) async fn markers(&self, topic: &str, partitions: i32) -> Result<usize, String> {
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "compact")
            .set("min.cleanable.dirty.ratio", "0.1")
            .set("segment.bytes", "16777216");
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let made = self.admin.create_topics([&wanted], &options).await.map_err(|error| error.to_string())?;
        for outcome in made {
            match outcome {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    return Err(format!(
                        "the topic `{topic}`, which `delivery = \"exactly_once\"` keeps its markers in, cannot be made \
                         ({code}); make it with {partitions} partitions and `cleanup.policy=compact`"
                    ));
                }
            }
        }
        let began = Instant::now();
        let found = loop {
            let found = self.partitions(topic).await?;
            if found > 0 || began.elapsed() > ANSWER {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        if found < partitions {
            return Err(format!(
                "the topic `{topic}` of the markers has {found} partitions and needs {partitions}; add the others"
            ));
        }
        let config = self.config(topic).await?;
        match config.get("cleanup.policy").map(String::as_str) {
            Some("compact") | None => {}
            Some(policy) => {
                return Err(format!(
                    "the topic `{topic}` of the markers has `cleanup.policy={policy}`, which would lose them; set it to \
                     `compact`"
                ));
            }
        }
        Ok(limit(&config))
    }

    async fn ask(&self, topic: &str) -> Result<Topic, String> {
        let (admin, name) = (Arc::clone(&self.admin), topic.to_owned());
        let asked =
            tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(Some(&name), ANSWER)).await;
        let metadata = asked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(Topic::Missing);
        };
        match found.error().map(Code::from) {
            None | Some(Code::LeaderNotAvailable) => {}
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => return Ok(Topic::Missing),
            Some(Code::TopicAuthorizationFailed) => return Ok(Topic::Forbidden),
            Some(Code::InvalidTopic) => return Ok(Topic::Impossible),
            Some(code) => return Err(code.to_string()),
        }
        let partitions = i32::try_from(found.partitions().len()).unwrap_or(i32::MAX);
        // Whoever may write to a topic may not always look at its settings: then the usual limit is assumed.
        let config = self.config(topic).await.unwrap_or_default();
        Ok(Topic::Known { max_bytes: limit(&config), partitions })
    }

    async fn partitions(&self, topic: &str) -> Result<i32, String> {
        let (admin, name) = (Arc::clone(&self.admin), topic.to_owned());
        let asked =
            tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(Some(&name), ANSWER)).await;
        let metadata = asked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(metadata.topics().first().map_or(0, |topic| topic.partitions().len() as i32))
    }

    async fn config(&self, topic: &str) -> Result<HashMap<String, String>, String> {
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let described = self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
        let described = described.map_err(|error| error.to_string())?.into_iter().next();
        let config = described.ok_or("an empty answer")?.map_err(|code| code.to_string())?;
        Ok(config.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Topic, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limit(config: &HashMap<String, String>) -> usize {
    config.get("max.message.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(USUAL)
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics").finish_non_exhaustive()
    }
}
