use eos_runtime::prelude::*;

#[kafka_listener(
    topic = "event.order",
    exactly_once,
    idempotent(redis, ttl = "1d"),
    at_most_once,
    group_commit = 100,
    key_slots = 16,
    retry = 3,
    on_failure = "park",
    dead_letter = "event.order.dead",
    max_batch = 100,
    max_wait = "1s",
    to = "event.invoice",
    commit_interval = "100ms",
    concurrency_per_partition = 4,
)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
