use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", idempotent(redis))]
async fn on_order(_: Vec<Json<u32>>) -> HandlerResult {
    Ok(())
}

fn main() {}
