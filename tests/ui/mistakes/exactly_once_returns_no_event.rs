use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = order_id)]
struct OrderPlaced {
    order_id: u64,
}

#[kafka_listener(exactly_once, to = "event.order.enriched")]
async fn on_order(order: OrderPlaced) -> Result<String, HandlerError> {
    Ok(order.order_id.to_string())
}

fn main() {}
