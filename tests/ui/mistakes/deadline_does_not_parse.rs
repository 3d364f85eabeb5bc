use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", deadline = "30 parsecs")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
