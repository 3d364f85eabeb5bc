use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", concurrency = 70_000)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
