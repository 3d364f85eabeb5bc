use eos_runtime::prelude::*;

#[kafka_listener(
    topic = "event.order",
    exactly_once,
    at_most_once,
    key_slots = 16,
    to = "event.invoice",
    commit_interval = "100ms",
    concurrency_per_partition = 4,
)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
