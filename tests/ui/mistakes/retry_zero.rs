use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional, retry(max = 0, factor = 0.5, jitter = 2))]
async fn on_order(_tx: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
