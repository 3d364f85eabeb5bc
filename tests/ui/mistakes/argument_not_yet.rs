use eos_runtime::prelude::*;

#[kafka_listener(
    topic = "event.order",
    key_slots = 16,
)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
