use eos_runtime::Batch;
use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", exactly_once)]
async fn on_orders(_out: &mut KafkaTx, _orders: Batch<Json<u64>>) -> HandlerResult {
    Ok(())
}

fn main() {}
