use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order(_orders: eos_runtime::Batch<Json<u32>>) -> HandlerResult {
    Ok(())
}

fn main() {}
