use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", idempotent(redis, id = field("customer..id")))]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
