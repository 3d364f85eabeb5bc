use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional(deadline = "10s"))]
async fn on_order(_tx: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
