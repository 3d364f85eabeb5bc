use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", deadline = "1500us")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
