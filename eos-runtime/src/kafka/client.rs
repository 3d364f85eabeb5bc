//! librdkafka's settings: those that a promise hangs on are ours, the rest are defaults that a user may change.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Which brokers, and librdkafka's own properties.
#[derive(Clone, Default)]
pub(crate) struct ClientOptions {
    /// `host:port`, separated by commas.
    pub(crate) bootstrap_servers: String,
    /// `[kafka.properties]`; any value may be a secret.
    pub(crate) properties: BTreeMap<String, String>,
}

/// One member of a group.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerOptions {
    pub(crate) group: String,
    pub(crate) topics: Vec<String>,
    /// Whose consumer it is, for the log: the listener's id.
    pub(crate) listener: String,
    /// How often Kafka is told what the database has committed.
    pub(crate) commit_interval: Duration,
    /// How long a revocation waits for the attempt in flight, before that attempt is dropped.
    pub(crate) deadline: Duration,
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// Defaults of every client.
const COMMON: [(&str, &str); 4] = [
    ("client.id", "eos"),
    // A listener whose topic does not exist waits for it; nobody makes it by asking.
    ("allow.auto.create.topics", "false"),
    ("socket.keepalive.enable", "true"),
    // librdkafka's 10 s would be most of the time that a restarted broker is missed.
    ("reconnect.backoff.max.ms", "2000"),
];

/// Defaults of a group member. Each partition has a queue of its own, so the bounds hold for each: what librdkafka has
/// fetched ahead stays near 1 MB, and one that is full is looked at again after 5 ms (librdkafka waits a second).
const MEMBER: [(&str, &str); 6] = [
    ("queued.max.messages.kbytes", "1024"),
    ("queued.min.messages", "10000"),
    ("fetch.message.max.bytes", "524288"),
    ("fetch.queue.backoff.ms", "5"),
    // A partition that starts waits for the fetch under way at its broker: half a second by librdkafka's default.
    ("fetch.wait.max.ms", "200"),
    // How soon new partitions and topics that were missing are noticed; librdkafka's default is 5 minutes.
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// What the promises hang on: the database says where to read, and offsets follow its commits.
const PROMISED: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "false"),
];

/// Properties of consumers, about which a producer would only warn.
const CONSUMERS: [&str; 12] = [
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "fetch.message.max.bytes",
    "max.partition.fetch.bytes",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "fetch.queue.backoff.ms",
    "fetch.error.backoff.ms",
    "isolation.level",
    "check.crcs",
    "client.rack",
];

impl ClientOptions {
    /// The settings of a client that belongs to no group.
    pub(super) fn plain(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap_servers);
        let given = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in
            COMMON.into_iter().chain(given.clone().filter(|(name, _)| !belongs_to_a_group(name)))
        {
            config.set(name, value);
        }
        let debugs = self.properties.contains_key("debug");
        config.set_log_level(if debugs { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config
    }

    /// The settings of a producer, without the properties that only a consumer knows.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.plain();
        for property in CONSUMERS {
            config.remove(property);
        }
        config
    }

    /// The settings of a group's member.
    ///
    /// `partition.assignment.strategy` stays librdkafka's `range,roundrobin`: every client's default list holds
    /// `range`, so a service may be replaced process by process. `group.protocol=consumer` forbids some properties
    /// (session timeout, strategy), so none of them is set here.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.plain();
        let given = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in MEMBER.into_iter().chain(given).chain(PROMISED).chain([("group.id", group)]) {
            config.set(name, value);
        }
        config
    }
}

/// Whether a client without a group would only warn about it.
fn belongs_to_a_group(property: &str) -> bool {
    property.starts_with("group.")
        || matches!(
            property,
            "partition.assignment.strategy"
                | "session.timeout.ms"
                | "heartbeat.interval.ms"
                | "max.poll.interval.ms"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_overrides_a_default_but_no_promise() {
        let given =
            [("queued.min.messages", "5"), ("auto.offset.reset", "latest"), ("group.protocol", "consumer")];
        let properties = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let options = ClientOptions { bootstrap_servers: "a:1".to_owned(), properties };
        let member = options.member("billing");
        assert_eq!(member.get("queued.min.messages"), Some("5"));
        assert_eq!(member.get("auto.offset.reset"), Some("error"));
        assert_eq!(member.get("session.timeout.ms"), None, "KIP-848 forbids it");
        assert_eq!(options.plain().get("group.protocol"), None);
    }

    #[test]
    fn debug_output_shows_no_value() {
        let properties = [("sasl.password".to_owned(), "hunter2".to_owned())].into();
        let shown = format!("{:?}", ClientOptions { bootstrap_servers: "a:1".to_owned(), properties });
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
