use eos_runtime::prelude::*;

struct Order {
    id: u32,
}

#[kafka_listener(topic = "event.order")]
async fn on_order(Json(_): Json<Order>) -> HandlerResult {
    Ok(())
}

fn main() {}
