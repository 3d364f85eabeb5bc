use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", idempotent(redis), on_failure = "park")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
