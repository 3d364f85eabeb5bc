use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = order_id)]
struct OrderPlaced {
    order_id: u64,
}

#[kafka_listener(to = "event.order.enriched")]
async fn on_order(_order: OrderPlaced) -> HandlerResult {
    Ok(())
}

fn main() {}
