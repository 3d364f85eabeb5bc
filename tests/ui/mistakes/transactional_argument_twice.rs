use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional(dedupe = "position", dedupe = "message_id"))]
async fn on_order(_tx: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
