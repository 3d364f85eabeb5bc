use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", at_most_once)]
async fn on_order(_tx: &mut PgTx, _: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
