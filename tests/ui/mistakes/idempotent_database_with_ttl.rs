use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", idempotent(database, ttl = "7d"))]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
