use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", deadline = "0s")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
