use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", retry(max = 3), dead_letter = "table")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
