use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional, retry(backoff = "10s", max_backoff = "1s"))]
async fn on_order(_tx: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
