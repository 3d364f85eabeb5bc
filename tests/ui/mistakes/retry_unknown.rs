use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional, retry(times = 3, backof = "1s"))]
async fn on_order(_tx: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
