//! How fast an outbox that is full becomes empty.
//!
//! Each run has a topic of its own. It begins when the publisher makes its first record, which is the record's time, and
//! ends when a reader of what is committed has the last. Starting and finding the table are not in it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use rdkafka::message::{BorrowedMessage, Message as _};
use sqlx::AssertSqlSafe;

use super::publishing::Publishing;
use super::table::Publisher;
use super::{KEYS, PARTITIONS, Relay, by_hand, until_empty};
use crate::bed::Database;
use crate::driver::Sample;
use crate::producer::PAYLOAD_BYTES;
use crate::watch::Watch;

/// One drain.
pub(super) async fn sample(relay: &mut Relay<'_>, by: Publisher) -> anyhow::Result<Sample> {
    let entries = relay.args.entries;
    let topic = relay.topic().await?;
    let table = match by {
        Publisher::ByHand(_) => by_hand::OUTBOX,
        Publisher::Eos(_) | Publisher::Debezium => "eos_outbox",
    };
    fill(relay.database_of(by)?, table, &topic, entries).await?;
    let watch = Watch::start(&relay.bed.kafka, &topic, PARTITIONS, counting(entries))?;
    let mut publishing = Publishing::start(relay, by).await?;
    let seconds = publishing.during(watch.outcome()).await?;
    ensure!(seconds > 0.0, "nothing takes no time");
    if by != Publisher::Debezium {
        publishing.during(until_empty(&mut relay.database, table)).await?;
    }
    let used = publishing.stop().await?;
    Ok(Sample::new(f64::from(entries) / seconds, used, entries.into()))
}

/// Puts entries into the table, and nothing else.
async fn fill(database: &mut Database, table: &str, topic: &str, entries: u32) -> anyhow::Result<()> {
    let (columns, values) = if table == by_hand::OUTBOX {
        ("topic, key, type, payload", "$1, key, 'OrderPlaced', payload")
    } else {
        ("topic, aggregatetype, aggregateid, type, payload", "$1, 'order', key, 'OrderPlaced', payload")
    };
    let sql = format!(
        "insert into {table} ({columns}) select {values} from (select 'customer-' || n % {KEYS} as key, \
         convert_to(rpad('{{\"order_id\":\"' || gen_random_uuid() || '\",\"customer\":\"customer-' || n % {KEYS} || \
         '\",\"amount_cents\":' || 100 + n || ',\"currency\":\"EUR\",\"note\":\"', {PAYLOAD_BYTES} - 2, '.') || '\"}}', \
         'UTF8') as payload from generate_series(1, $2) n) entries"
    );
    database.execute(format!("truncate {table}")).await?;
    let filled = sqlx::query(AssertSqlSafe(sql)).bind(topic).bind(entries.cast_signed());
    filled.execute(&mut database.connection).await?;
    if table == by_hand::OUTBOX {
        // Its statements are planned by what the table holds; eos's relay does without.
        database.execute(format!("analyze {table}")).await?;
    }
    Ok(())
}

/// Sees so many records; the seconds that they took.
fn counting(entries: u32) -> impl FnMut(&BorrowedMessage<'_>) -> Option<f64> + Send + 'static {
    let mut seen = 0;
    let mut began = i64::MAX;
    move |message| {
        seen += 1;
        began = message.timestamp().to_millis().unwrap_or(i64::MAX).min(began);
        (seen == entries).then(|| now().map_or(0.0, |now| now - began as f64 / 1e3))
    }
}

fn now() -> anyhow::Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is wrong")?;
    Ok(now.as_secs_f64())
}
