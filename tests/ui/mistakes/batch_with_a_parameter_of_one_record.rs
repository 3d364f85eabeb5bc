use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional)]
async fn on_order(_tx: &mut PgTx, _orders: Vec<Json<u32>>, _meta: RecordMeta, _: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
