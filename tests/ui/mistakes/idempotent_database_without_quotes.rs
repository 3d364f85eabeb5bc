use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", idempotent(database = orders, lease = "10s"))]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
