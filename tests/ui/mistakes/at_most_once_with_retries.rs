use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", at_most_once, retry(max = 3), dead_letter = topic)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
