//! The topic that orders are sent to, in the in-process broker or on a real Kafka.

use std::time::Duration;

use anyhow::{Context, bail};
use eos_runtime::embedded::EmbeddedBroker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::orders::{Message, PARTITIONS};

/// How soon Kafka misses a process that was killed: the least that it allows unless it is told otherwise.
const SESSION: Duration = Duration::from_secs(6);

/// How soon the in-process broker does.
const SESSION_EMBEDDED: Duration = Duration::from_millis(1500);

/// A broker, a topic of our own in it, and a producer that writes there.
pub(crate) struct Broker {
    home: Home,
    /// The topic and the services' group.
    name: String,
    producer: FutureProducer,
}

enum Home {
    /// It ends when this is dropped.
    Embedded(EmbeddedBroker),
    Real {
        servers: String,
        admin: AdminClient<DefaultClientContext>,
    },
}

impl Broker {
    /// Makes the topic `name`, on these servers or, where none are given, on a broker in this process.
    pub(crate) async fn start(servers: Option<&str>, name: &str) -> anyhow::Result<Self> {
        let home = match servers {
            None => {
                let broker = EmbeddedBroker::start()?;
                broker.create_topic(name, PARTITIONS.unsigned_abs())?;
                broker.create_group(name, SESSION_EMBEDDED)?;
                Home::Embedded(broker)
            }
            Some(servers) => {
                Home::Real { servers: servers.to_owned(), admin: create_topic(servers, name).await? }
            }
        };
        let producer =
            client(home.servers()).set("linger.ms", "1").set("enable.idempotence", "true").create()?;
        Ok(Broker { home, name: name.to_owned(), producer })
    }

    /// What a service has to know of it.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let session = match self.home {
            Home::Embedded(_) => SESSION_EMBEDDED,
            Home::Real { .. } => SESSION,
        };
        vec![
            ("EOS_KAFKA_BOOTSTRAP_SERVERS", self.home.servers().to_owned()),
            ("EOS_KAFKA_GROUP", self.name.clone()),
            ("EOS__APP__TOPIC", self.name.clone()),
            ("EOS__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", session.as_millis().to_string()),
            ("EOS__KAFKA__PROPERTIES__HEARTBEAT_INTERVAL_MS", (session / 8).as_millis().to_string()),
        ]
    }

    /// Sends the messages in their order, and waits until the broker has all of them.
    pub(crate) async fn send(&self, messages: &[Message]) -> anyhow::Result<()> {
        let mut deliveries = Vec::with_capacity(messages.len());
        for message in messages {
            let (payload, id) = (serde_json::to_vec(&message.order)?, message.id());
            let record = FutureRecord::to(&self.name)
                .partition(message.partition)
                .key(&message.order.customer)
                .payload(&payload)
                .headers(OwnedHeaders::new().insert(Header { key: "message-id", value: Some(&id) }));
            deliveries.push(self.producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivery in deliveries {
            delivery.await?.map_err(|(error, _)| error).context("the broker does not take an order")?;
        }
        Ok(())
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        match &self.home {
            Home::Embedded(broker) => format!("in this process, on {}", broker.bootstrap_servers()),
            Home::Real { servers, .. } => format!("topic and group `{}` on {servers}", self.name),
        }
    }

    /// Removes the topic and the group.
    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        let Home::Real { admin, .. } = &self.home else { return Ok(()) };
        let options = AdminOptions::new();
        for topic in admin.delete_topics(&[&self.name], &options).await? {
            topic.map_err(|(_, code)| code)?;
        }
        // When it was interrupted, Kafka has to miss the group's members first.
        for second in 0..2 * SESSION.as_secs() {
            let groups = admin.delete_groups(&[&self.name], &options).await?;
            match groups.into_iter().find_map(Result::err) {
                // The latter when nobody had the time to join.
                None | Some((_, RDKafkaErrorCode::GroupIdNotFound)) => return Ok(()),
                Some((_, RDKafkaErrorCode::NonEmptyGroup)) if second == 0 => {
                    eprintln!("waiting for Kafka to miss the services, so that their group can be removed");
                }
                Some((_, RDKafkaErrorCode::NonEmptyGroup)) => {}
                Some((_, code)) => return Err(code.into()),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!("the group `{}` is left behind: Kafka says that it has members still", self.name)
    }
}

impl Home {
    fn servers(&self) -> &str {
        match self {
            Home::Embedded(broker) => broker.bootstrap_servers(),
            Home::Real { servers, .. } => servers,
        }
    }
}

async fn create_topic(servers: &str, name: &str) -> anyhow::Result<AdminClient<DefaultClientContext>> {
    let admin: AdminClient<_> = client(servers).create()?;
    let replication_of_the_brokers = TopicReplication::Fixed(-1);
    let topic = NewTopic::new(name, PARTITIONS, replication_of_the_brokers);
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(15)));
    let answers = admin.create_topics([&topic], &options).await;
    let answers = answers.with_context(|| format!("Kafka at {servers} does not make the topic `{name}`"))?;
    for answer in answers {
        answer
            .map_err(|(_, code)| code)
            .with_context(|| format!("Kafka does not make the topic `{name}`"))?;
    }
    Ok(admin)
}

fn client(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}
