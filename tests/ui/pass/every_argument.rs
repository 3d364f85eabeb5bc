//! All that the attribute takes, written out.

use eos_runtime::prelude::*;

#[kafka_listener(
    topics = ["every.${tenant}.order", "every.payment",],
    group = "billing-${tenant:eu}",
    id = "every.argument",
    deadline = "1m 30s",
    concurrency = 4,
    transactional(isolation = "repeatable_read", dedupe = "position", database = "orders", group_commit = 100, key_slots = 8,),
    retry(max = 3, backoff = "1s", factor = 1.5, max_backoff = "1m", jitter = 0,),
    dead_letter = topic("every.dead"),
)]
async fn on_order(tx: &mut PgTx) -> HandlerResult {
    let _ = tx;
    Ok(())
}

#[kafka_listener(topic = "every.plain", retry(max = 2), dead_letter = topic, concurrency_per_partition = 16)]
async fn on_plain(_: &Record) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "every.stubborn", dead_letter = "off")]
async fn stubborn(_: &Record) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "every.kept", transactional, dead_letter = "table")]
async fn kept(_: &mut PgTx) -> HandlerResult {
    Ok(())
}
