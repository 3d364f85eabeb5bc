use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional(max = 3, retry(max = 3)))]
async fn on_order(_tx: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
