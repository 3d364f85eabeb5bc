use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", idempotent(redis, ttl = "10s", lease = "30s"))]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
