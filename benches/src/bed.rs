//! Where a run works: the test services, with topics and databases of its own that are gone when it ends.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::process::Command;

use crate::connect::Connect;

/// A run's surroundings. Whoever opens it closes it.
pub(crate) struct Bed {
    pub(crate) kafka: String,
    postgres: PgConnectOptions,
    /// What every name of this run begins with.
    name: String,
    admin: AdminClient<DefaultClientContext>,
    topics: Vec<String>,
    databases: Vec<String>,
    connectors: Vec<(Connect, String)>,
    /// Services that were not up before.
    started: Vec<String>,
}

impl Bed {
    /// Uses the servers that the environment names, or else those of `scripts/services`, started where they are not.
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let mut started = Vec::new();
        let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (kafka, postgres) = match (named("EOS_TEST_KAFKA"), named("EOS_TEST_POSTGRES")) {
            (Some(kafka), Some(postgres)) => (kafka, postgres),
            _ => {
                started = services(&["up", "kafka", "postgres"]).await?;
                let lines = services(&["env"]).await?;
                let value = |name: &str| {
                    let prefix = format!("{name}=");
                    lines.iter().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
                };
                (
                    value("EOS_TEST_KAFKA").context("scripts/services knows no Kafka")?,
                    value("EOS_TEST_POSTGRES").context("scripts/services knows no PostgreSQL")?,
                )
            }
        };
        let postgres = PgConnectOptions::from_str(&postgres)
            .context("EOS_TEST_POSTGRES is no PostgreSQL address")?
            .disable_statement_logging();
        let admin = ClientConfig::new().set("bootstrap.servers", &kafka).create()?;
        let name = format!("eos_bench_{}", uuid::Uuid::now_v7().simple());
        Ok(Bed {
            kafka,
            postgres,
            name,
            admin,
            topics: Vec::new(),
            databases: Vec::new(),
            connectors: Vec::new(),
            started,
        })
    }

    /// A name that no other run has.
    pub(crate) fn unique(&self, what: &str) -> String {
        format!("{}_{what}", self.name)
    }

    /// Makes a topic.
    pub(crate) async fn topic(&mut self, what: &str, partitions: i32) -> anyhow::Result<String> {
        let topic = self.unique(what);
        self.topic_named(&topic, partitions).await?;
        Ok(topic)
    }

    /// Makes a topic whose name is not ours to choose.
    pub(crate) async fn topic_named(&mut self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = self.admin.create_topics(&[new], &AdminOptions::new()).await.context("no Kafka")?;
        if let Some(Err((topic, code))) = made.into_iter().next() {
            bail!("Kafka does not make the topic `{topic}`: {code}");
        }
        self.topics.push(topic.to_owned());
        Ok(())
    }

    /// Makes a database and connects to it.
    pub(crate) async fn database(&mut self, what: &str) -> anyhow::Result<Database> {
        let name = self.unique(what);
        let mut server = self.postgres.connect().await.context("PostgreSQL cannot be reached")?;
        execute(&mut server, format!("create database {name}")).await?;
        server.close().await?;
        self.databases.push(name.clone());
        let options = self.postgres.clone().database(&name);
        Ok(Database { connection: options.connect().await?, options })
    }

    /// Kafka Connect, which is started where it is neither named nor up.
    pub(crate) async fn connect(&mut self) -> anyhow::Result<Connect> {
        const NAME: &str = "EOS_TEST_CONNECT";
        if let Some(address) = std::env::var(NAME).ok().filter(|address| !address.is_empty()) {
            return Ok(Connect::new(&address));
        }
        self.started.extend(services(&["up", "debezium"]).await?);
        let lines = services(&["env"]).await?;
        let address = lines.iter().find_map(|line| line.strip_prefix(NAME)?.strip_prefix('='));
        Ok(Connect::new(
            address.context("scripts/services knows no Kafka Connect; name one by EOS_TEST_CONNECT")?,
        ))
    }

    /// A topic that somebody else makes in this run.
    pub(crate) fn will_be_made(&mut self, topic: String) {
        self.topics.push(topic);
    }

    /// A connector that is made in this run.
    pub(crate) fn will_be_connected(&mut self, connect: &Connect, connector: &str) {
        self.connectors.push((connect.clone(), connector.to_owned()));
    }

    /// Takes away what was made, as far as it can.
    pub(crate) async fn close(self) {
        if let Err(error) = self.clear().await {
            eprintln!(
                "some of the benchmark's topics and databases, `{}…`, are left behind: {error:#}",
                self.name
            );
        }
        if !self.started.is_empty() {
            let started = self.started.iter().map(String::as_str);
            let arguments: Vec<&str> = std::iter::once("down").chain(started).collect();
            if let Err(error) = services(&arguments).await {
                eprintln!("{error:#}");
            }
        }
    }

    async fn clear(&self) -> anyhow::Result<()> {
        for (connect, connector) in &self.connectors {
            connect.delete(connector).await?;
        }
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        if !topics.is_empty() {
            self.admin.delete_topics(&topics, &AdminOptions::new()).await?;
        }
        if !self.databases.is_empty() {
            let mut server = self.postgres.connect().await?;
            for name in &self.databases {
                until_nobody_replicates(&mut server, name).await?;
                execute(&mut server, format!("drop database if exists {name} with (force)")).await?;
            }
            server.close().await?;
        }
        Ok(())
    }
}

/// A database of this run.
pub(crate) struct Database {
    pub(crate) connection: PgConnection,
    pub(crate) options: PgConnectOptions,
}

impl Database {
    /// Runs statements without parameters.
    pub(crate) async fn execute(&mut self, sql: impl Into<String>) -> anyhow::Result<()> {
        execute(&mut self.connection, sql.into()).await
    }

    /// Its address, directly or by way of a proxy.
    pub(crate) fn url(&self, through: Option<std::net::SocketAddr>) -> String {
        let options = match through {
            Some(proxy) => self.options.clone().host(&proxy.ip().to_string()).port(proxy.port()),
            None => self.options.clone(),
        };
        options.to_url_lossy().to_string()
    }

    /// A setting of the server.
    pub(crate) async fn setting(&mut self, name: &str) -> anyhow::Result<String> {
        let setting = sqlx::query_scalar("select current_setting($1)").bind(name);
        Ok(setting.fetch_one(&mut self.connection).await?)
    }
}

/// A database cannot be dropped while its log is read, and a connector that was taken away reads on for a moment.
async fn until_nobody_replicates(server: &mut PgConnection, database: &str) -> anyhow::Result<()> {
    let active = "select exists(select from pg_replication_slots where database = $1 and active)";
    for _ in 0..300 {
        if !sqlx::query_scalar(active).bind(database).fetch_one(&mut *server).await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("somebody still reads the log of `{database}`")
}

async fn execute(connection: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Calls `scripts/services` of the repository that this was built in; the lines it prints.
async fn services(arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services");
    let call = Command::new(&script).args(arguments).stderr(std::process::Stdio::inherit()).output();
    let output = tokio::time::timeout(Duration::from_secs(600), call)
        .await
        .context("scripts/services does not come to an end")?
        .with_context(|| {
            format!(
                "{} cannot be run; name servers by EOS_TEST_KAFKA and EOS_TEST_POSTGRES",
                script.display()
            )
        })?;
    if !output.status.success() {
        bail!("`scripts/services {}` failed", arguments.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}
