use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", group = "a", group = "b")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
