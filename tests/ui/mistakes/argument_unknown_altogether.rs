use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", partitions = 4)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
