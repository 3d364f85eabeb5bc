use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", concurrency_per_partition = 0)]
async fn on_order(_record: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
