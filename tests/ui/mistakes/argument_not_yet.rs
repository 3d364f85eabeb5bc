use eos_runtime::prelude::*;

#[kafka_listener(
    topic = "event.order",
    key_slots = 16,
    concurrency_per_partition = 4,
)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
