use eos_runtime::prelude::*;

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: Uuid,
}

#[kafka_listener]
async fn on_order(_: OrderPlaced) -> HandlerResult {
    Ok(())
}

fn main() {}
