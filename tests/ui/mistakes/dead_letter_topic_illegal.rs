use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional, dead_letter = topic("no/topic"))]
async fn on_order(_tx: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
