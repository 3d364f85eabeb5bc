//! Whether a topic is set up so that the promises hold.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::ClientOptions;
use super::cluster::{ANSWER, Cluster};
use super::context::Quiet;
use super::failure::KafkaFailure;
use crate::error::BoxError;
use crate::finding::Finding;

/// A group that is down for less than this should find its records when it is back.
const SHORT: Duration = Duration::from_secs(24 * 3600);

/// Looks at topics, and remembers nothing.
pub(crate) struct TopicCheck {
    cluster: Cluster,
    admin: AdminClient<Quiet>,
}

/// A topic as it is.
struct Topic {
    brokers: usize,
    /// Of the partition that has the fewest.
    replicas: usize,
    /// `None` where nobody tells us.
    config: Option<HashMap<String, String>>,
}

impl TopicCheck {
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(crate) fn new(cluster: &Cluster, options: &ClientOptions) -> Result<Self, KafkaFailure> {
        let admin = AdminClient::from_config_and_context(&options.plain(), Quiet)?;
        Ok(TopicCheck { cluster: cluster.clone(), admin })
    }

    /// One that listeners read.
    pub(crate) async fn read_by_listeners(&self, name: &str) -> Vec<Finding> {
        let what = format!("topic {name}");
        match self.look(name).await {
            Ok(Some(topic)) => judge(&what, &topic),
            Ok(None) => {
                vec![Finding::problem(what, "there is no such topic, and who reads it waits for it; make it")]
            }
            Err(error) => vec![Finding::problem(what, format!("could not be looked at: {error}"))],
        }
    }

    /// One that dead letters of `of` go to; it may be missing where none have to.
    pub(crate) async fn for_dead_letters(&self, name: &str, of: Option<&str>, needed: bool) -> Vec<Finding> {
        let what = format!("topic {name}");
        let topic = match self.look(name).await {
            Ok(Some(topic)) => topic,
            Ok(None) if needed => {
                return vec![Finding::problem(
                    what,
                    "dead letters wait to be published there, and there is no such topic; make it, with as many partitions as the \
                     topic that they come from",
                )];
            }
            Ok(None) => return Vec::new(),
            Err(error) => return vec![Finding::problem(what, format!("could not be looked at: {error}"))],
        };
        let mut source = None;
        if let Some(of) = of {
            source = self.look(of).await.ok().flatten();
        }
        let limit = |topic: &Topic| topic.config.as_ref()?.get("max.message.bytes")?.parse::<u64>().ok();
        match (limit(&topic), source.as_ref().and_then(limit)) {
            (Some(here), Some(there)) if here < there => vec![Finding::warning(
                what,
                format!(
                    "`max.message.bytes` is {here}, and {there} in `{}`: a large record arrives here without its payload; raise it",
                    of.unwrap_or_default()
                ),
            )],
            _ => vec![Finding::ok(what, "dead letters fit in")],
        }
    }

    async fn look(&self, name: &str) -> Result<Option<Topic>, BoxError> {
        let asked = name.to_owned();
        let metadata = self.cluster.ask(move |client| {
            use rdkafka::consumer::Consumer as _;
            client.fetch_metadata(Some(&asked), ANSWER)
        });
        let metadata = metadata.await?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == name) else {
            return Ok(None);
        };
        match found.error().map(Code::from) {
            None | Some(Code::LeaderNotAvailable) => {}
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => return Ok(None),
            Some(code) => return Err(code.to_string().into()),
        }
        let replicas = found.partitions().iter().map(|partition| partition.replicas().len()).min();
        Ok(Some(Topic {
            brokers: metadata.brokers().len(),
            replicas: replicas.unwrap_or_default(),
            config: self.config(name).await,
        }))
    }

    async fn config(&self, name: &str) -> Option<HashMap<String, String>> {
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let described = self.admin.describe_configs([&ResourceSpecifier::Topic(name)], &options).await;
        let config = described.ok()?.into_iter().next()?.ok()?;
        Some(config.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
    }
}

/// What a topic's settings mean for the groups that read it.
fn judge(what: &str, topic: &Topic) -> Vec<Finding> {
    let Some(config) = &topic.config else {
        return vec![Finding::warning(
            what,
            "its settings are not shown to this user, and were not looked at; allow `DescribeConfigs` on it",
        )];
    };
    let is = |name: &str, value: &str| config.get(name).is_some_and(|set| set == value);
    let mut found = Vec::new();
    if is("unclean.leader.election.enable", "true") {
        found.push(Finding::problem(
            what,
            "`unclean.leader.election.enable` is true: a broker that is behind may become the leader, and records that were \
             acknowledged, and handled, are replaced by others at the same offsets; set it to false",
        ));
    }
    let insync = config.get("min.insync.replicas").and_then(|set| set.parse::<u32>().ok());
    if topic.replicas >= 3 && insync.is_some_and(|insync| insync < 2) {
        found.push(Finding::warning(
            what,
            format!(
                "`min.insync.replicas` is 1 of {} replicas: a record that one broker acknowledged is lost with it; set it to 2",
                topic.replicas
            ),
        ));
    }
    if topic.replicas < 2 && topic.brokers > 1 {
        found.push(Finding::warning(
            what,
            "its records are on one broker alone, and are lost with it; give it more replicas (`kafka-reassign-partitions`)",
        ));
    }
    if config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        found.push(Finding::warning(
            what,
            "`cleanup.policy` compacts it: a group that is behind sees of each key its latest record alone, not every one in order; \
             leave it so only where each record replaces the one before, and set it to `delete` otherwise",
        ));
    }
    found.extend(retention(what, config));
    if found.is_empty() {
        found.push(Finding::ok(what, "its settings keep the promises"));
    }
    found
}

fn retention(what: &str, config: &HashMap<String, String>) -> Option<Finding> {
    let deletes = config.get("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
    let ms: i64 = config.get("retention.ms")?.parse().ok()?;
    let kept = Duration::from_millis(u64::try_from(ms).ok()?);
    (deletes && kept < SHORT).then(|| {
        Finding::warning(
            what,
            format!(
                "`retention.ms` keeps records for {} only: a group that is down for longer has lost some, and stops; keep them for \
                 a few days",
                humantime::format_duration(Duration::from_secs(kept.as_secs()))
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Health;

    fn judged(brokers: usize, replicas: usize, config: &[(&str, &str)]) -> Vec<(Health, String)> {
        let config = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let topic = Topic { brokers, replicas, config: Some(config) };
        judge("topic t", &topic).into_iter().map(|finding| (finding.health, finding.says)).collect()
    }

    #[test]
    fn settings_that_break_a_promise_are_named() {
        let sound =
            [("min.insync.replicas", "2"), ("cleanup.policy", "delete"), ("retention.ms", "604800000")];
        assert_eq!(judged(3, 3, &sound)[0].0, Health::Ok);
        assert_eq!(judged(1, 1, &[("min.insync.replicas", "1")])[0].0, Health::Ok, "one broker has no more");
        for (brokers, replicas, setting, health) in [
            (3, 3, ("min.insync.replicas", "1"), Health::Warning),
            (3, 1, ("min.insync.replicas", "1"), Health::Warning),
            (1, 1, ("unclean.leader.election.enable", "true"), Health::Problem),
            (1, 1, ("cleanup.policy", "compact,delete"), Health::Warning),
            (1, 1, ("retention.ms", "3600000"), Health::Warning),
        ] {
            let found = judged(brokers, replicas, &[setting]);
            assert_eq!((found.len(), found[0].0), (1, health), "{setting:?}: {found:?}");
        }
        assert_eq!(judged(1, 1, &[("retention.ms", "-1")])[0].0, Health::Ok, "for ever");
        let compacts = [("cleanup.policy", "compact"), ("retention.ms", "1000")];
        assert_eq!(judged(1, 1, &compacts).len(), 1, "nothing is deleted by its age");
    }
}
