//! The relay that reads the database's log: a Debezium connector on Kafka Connect, as `scripts/debezium/` describes it.
//!
//! It is stopped between runs, and resumed for each, so that a drain is what it is for the others: what was committed while
//! nobody published. It has a database of its own. Its worker publishes in Kafka transactions: exactly once.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::tables_of_eos;
use crate::bed::{Bed, Database};
use crate::child::Used;
use crate::connect::{Connect, State};

/// A connector, and the database that it reads.
pub(super) struct Debezium {
    pub(super) database: Database,
    pub(super) connector: Connector,
}

/// A connector of this run, by its name.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    connect: Connect,
    name: String,
}

impl Debezium {
    /// Makes the connector, and stops it.
    pub(super) async fn prepare(bed: &mut Bed) -> anyhow::Result<Self> {
        let connect = bed.connect().await?;
        let mut database = bed.database("debezium").await?;
        tables_of_eos(&database).await?;
        database.execute(description("postgres.sql")?).await?;
        let name = bed.unique("debezium");
        let config = config(&description("postgres.json")?, &bed.kafka, &name, &database)?;
        bed.will_be_connected(&connect, &name);
        // Without it the connector stands still where brokers make no topic by themselves.
        bed.topic_named(&format!("__debezium-heartbeat.{name}"), 1).await?;
        connect.make(&name, &config).await?;
        connect.until(&name, State::Running).await.context("Debezium does not start")?;
        let connector = Connector { connect, name };
        connector.stopped().await?;
        Ok(Debezium { database, connector })
    }
}

impl Connector {
    /// Lets it publish; what its worker has used so far.
    pub(super) async fn resume(&self) -> anyhow::Result<Used> {
        let used = self.connect.used().unwrap_or_default();
        self.connect.resume(&self.name).await?;
        Ok(used)
    }

    /// Comes back with what is wrong when its task has failed.
    pub(super) async fn failure(&self) -> anyhow::Error {
        self.connect.failure(&self.name).await
    }

    /// Stops it; what its worker has used since.
    pub(super) async fn stop(&self, before: Used) -> anyhow::Result<Used> {
        let used = self.connect.used().unwrap_or_default();
        self.stopped().await?;
        Ok(Used { rss_mb: used.rss_mb, cpu: used.cpu.saturating_sub(before.cpu) })
    }

    async fn stopped(&self) -> anyhow::Result<()> {
        self.connect.stop(&self.name).await?;
        self.connect.until(&self.name, State::Stopped).await.context("Debezium does not stop")
    }
}

/// A file of `scripts/debezium`.
fn description(name: &str) -> anyhow::Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/debezium").join(name);
    std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))
}

/// The description with its placeholders filled, under names that no other run has.
fn config(description: &str, kafka: &str, unique: &str, database: &Database) -> anyhow::Result<Value> {
    let options = &database.options;
    let url = sqlx::ConnectOptions::to_url_lossy(options);
    let port = options.get_port().to_string();
    let values = [
        ("database.hostname", options.get_host()),
        ("database.port", &port),
        ("database.user", options.get_username()),
        ("database.password", url.password().unwrap_or_default()),
        ("database.dbname", options.get_database().unwrap_or_default()),
        ("bootstrap.servers", kafka),
    ];
    let mut config: Map<String, Value> = serde_json::from_str(description).context("postgres.json")?;
    for value in config.values_mut() {
        if let Value::String(text) = value {
            for (name, known) in values {
                *text = text.replace(&format!("${{{name}}}"), known);
            }
        }
    }
    for name in ["topic.prefix", "slot.name"] {
        config.insert(name.to_owned(), json!(unique));
    }
    Ok(Value::Object(config))
}
