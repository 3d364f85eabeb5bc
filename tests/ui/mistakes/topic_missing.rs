use eos_runtime::prelude::*;

#[kafka_listener(group = "billing")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
