use eos_runtime::prelude::*;

#[kafka_listener]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
