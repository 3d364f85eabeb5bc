use eos_runtime::prelude::*;

#[kafka_listener(topic = "")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
