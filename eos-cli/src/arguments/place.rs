//! Where the tables are, and where Kafka is.

use clap::Args;

/// Where the tables are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the tables are")]
pub(crate) struct Place {
    /// The database: postgres://…, mysql://…, mariadb://… or sqlite://… (better in EOS_DATABASE_URL: other users of a
    /// machine can see arguments)
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// Where in it the tables of eos are: a schema of PostgreSQL, a database of MySQL
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) schema: Option<String>,
}

/// Where Kafka is.
#[derive(Debug, Args)]
pub(crate) struct Brokers {
    /// Kafka's brokers, as `host:port` (more, separated by commas). Without it as for a service: EOS_KAFKA_BOOTSTRAP_SERVERS,
    /// else `bootstrap_servers` under [kafka] in eos.toml, with the properties there
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
}
