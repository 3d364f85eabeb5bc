//! The relay that a good engineer writes by hand, with the same crates, and tunes.
//!
//! Reads in order, sends all, awaits all, deletes, and begins again: at least once, in order for each key, by one process
//! alone. One connection, statements prepared once, statement logging off, an idempotent producer that waits for nothing
//! before it sends. A transaction that commits late is found by the next look, since what is read is what is there.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use uuid::Uuid;

use crate::child::told_to_stop;

/// Its table.
pub(crate) const OUTBOX: &str = "outbox";
pub(crate) const TABLE: &str = "create table outbox (id bigserial primary key, \
     message_id uuid not null default gen_random_uuid(), topic text not null, key text not null, \
     type text not null, payload bytea not null)";

/// What it is told; the database's address is in `DATABASE_URL`.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
    #[arg(long)]
    kafka: String,
    /// How many entries it takes at once
    #[arg(long)]
    batch: i64,
}

#[derive(Debug, sqlx::FromRow)]
struct Entry {
    id: i64,
    message_id: Uuid,
    topic: String,
    key: String,
    #[sqlx(rename = "type")]
    type_name: String,
    payload: Vec<u8>,
}

/// Works until it is told to stop.
pub(crate) async fn run(args: &ChildArgs) -> anyhow::Result<()> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &args.kafka)
        .set("enable.idempotence", "true")
        // Java's, so that a key lands where other producers put it.
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .create()?;
    let database = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let mut connection = PgConnectOptions::from_str(&database)?.disable_statement_logging().connect().await?;
    tokio::select! {
        failed = work(&producer, &mut connection, args.batch) => failed,
        stopped = told_to_stop() => Ok(stopped?),
    }
}

async fn work(producer: &FutureProducer, connection: &mut PgConnection, batch: i64) -> anyhow::Result<()> {
    loop {
        let entries: Vec<Entry> = sqlx::query_as(
            "select id, message_id, topic, key, type, payload from outbox order by id limit $1",
        )
        .bind(batch)
        .fetch_all(&mut *connection)
        .await?;
        if entries.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let mut sent = Vec::with_capacity(entries.len());
        for entry in &entries {
            sent.push(send(producer, entry).await?);
        }
        for fate in sent {
            fate.await?.map_err(|(error, _)| error)?;
        }
        let ids: Vec<i64> = entries.iter().map(|entry| entry.id).collect();
        sqlx::query("delete from outbox where id = any($1)").bind(ids).execute(&mut *connection).await?;
    }
}

async fn send(producer: &FutureProducer, entry: &Entry) -> anyhow::Result<DeliveryFuture> {
    let id = entry.message_id.to_string();
    let headers = OwnedHeaders::new_with_capacity(2)
        .insert(Header { key: "type", value: Some(&entry.type_name) })
        .insert(Header { key: "message-id", value: Some(&id) });
    let mut record = FutureRecord::to(&entry.topic).key(&entry.key).payload(&entry.payload).headers(headers);
    loop {
        match producer.send_result(record) {
            Ok(fate) => return Ok(fate),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
