use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", exactly_once, concurrency_per_partition = 16)]
async fn on_order(_out: &mut KafkaTx, _record: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
