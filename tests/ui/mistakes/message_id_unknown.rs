use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", exactly_once(message_id = "none"))]
async fn on_order(_out: &mut KafkaTx) -> HandlerResult {
    Ok(())
}

fn main() {}
