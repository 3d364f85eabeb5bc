use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", at_most_once, concurrency_per_partition = 16)]
async fn on_order(_record: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
