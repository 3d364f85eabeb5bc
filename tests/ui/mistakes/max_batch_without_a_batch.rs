use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional, max_batch = 10, max_wait = "1s")]
async fn on_order(_tx: &mut PgTx, _order: Json<u32>) -> HandlerResult {
    Ok(())
}

fn main() {}
