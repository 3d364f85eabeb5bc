use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional)]
async fn on_order(_tx: PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
