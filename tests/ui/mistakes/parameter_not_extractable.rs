use eos_runtime::prelude::*;

#[derive(Deserialize)]
struct Order {
    id: u32,
}

#[kafka_listener(topic = "event.order")]
async fn on_order(_: Order) -> HandlerResult {
    Ok(())
}

fn main() {}
