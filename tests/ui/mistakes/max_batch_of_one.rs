use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional, max_batch = 1)]
async fn on_order(_tx: &mut PgTx, _orders: Vec<Json<u32>>) -> HandlerResult {
    Ok(())
}

fn main() {}
