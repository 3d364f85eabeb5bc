use eos_runtime::prelude::*;

const ORDERS: &str = "event.order";

#[kafka_listener(topic = ORDERS)]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
