use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional, idempotent(redis))]
async fn on_order(_: &mut PgTx) -> HandlerResult {
    Ok(())
}

fn main() {}
