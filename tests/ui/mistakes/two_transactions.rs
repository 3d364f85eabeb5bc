use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional)]
async fn on_order(_orders: &mut PgTx, _audit: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
