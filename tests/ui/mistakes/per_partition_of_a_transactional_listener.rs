use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional, concurrency_per_partition = 16)]
async fn on_order(_tx: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
