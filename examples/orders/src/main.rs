//! A small service in three processes: orders come over HTTP, invoices are made of them, and mail is sent about those.
//!
//! ```text
//! cargo run -p orders                       # all three, with an in-process broker and a SQLite file
//!
//! cargo run -p orders --features postgres -- api        # each by itself, on servers of yours:
//! cargo run -p orders --features postgres -- invoices   # EOS_KAFKA_BOOTSTRAP_SERVERS and EOS_DATABASE_URL say where
//! cargo run -p orders --features postgres -- mail
//! ```
//! With `EOS__ADMIN__LISTEN=127.0.0.1:9600` one that runs by itself says there how it fares: `/readyz`, `/metrics`, `/listeners`.
//!
//! | file | its part |
//! |---|---|
//! | `events.rs` | what the processes tell each other |
//! | `orders.rs` | the service: an order and its event in one transaction, and a repeated request that changes nothing |
//! | `api.rs` | the same over HTTP |
//! | `invoices.rs` | a listener that makes an invoice of each order, once, and publishes that |
//! | `mail.rs` | a listener whose effect is outside of the database, so that it happens at least once |
//! | `database.rs` | which database, and its tables |
//! | `all.rs` | the three processes together, for a first look |

mod all;
mod api;
mod database;
mod events;
mod invoices;
mod mail;
mod orders;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Orders over HTTP, invoices made of them, and mail about the invoices")]
struct Arguments {
    #[command(subcommand)]
    process: Option<Process>,
    /// Where the API listens
    #[arg(long, default_value = "127.0.0.1:8080", global = true)]
    listen: SocketAddr,
    /// The folder that mail is put into
    #[arg(long, default_value = "mail", global = true)]
    mail: PathBuf,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Process {
    /// Takes orders over HTTP, and publishes what is in the outbox
    Api,
    /// Makes an invoice of each order
    Invoices,
    /// Sends mail about each invoice
    Mail,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::builder().with_default_directive(
        if arguments.process.is_some() { tracing::Level::INFO } else { tracing::Level::WARN }.into(),
    );
    tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_writer(std::io::stderr).init();
    match arguments.process {
        Some(Process::Api) => api::run(arguments.listen).await,
        Some(Process::Invoices) => invoices::run().await,
        Some(Process::Mail) => mail::run(arguments.mail).await,
        None => all::run(arguments.listen).await,
    }
}
