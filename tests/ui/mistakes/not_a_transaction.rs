use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional)]
async fn on_order(_tx: &mut Vec<u8>, _: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
