use eos_runtime::prelude::*;

#[kafka_listener(topics = ["event.order", "event.payment", "event.order"])]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
