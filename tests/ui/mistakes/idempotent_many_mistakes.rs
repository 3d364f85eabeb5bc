use eos_runtime::prelude::*;

#[kafka_listener(
    topic = "event.order",
    idempotent(redis = "redis://cache", ttl = "7 days and a bit", id = header(order), lease = "1ms", on_outage = "skip", max = 3),
)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
