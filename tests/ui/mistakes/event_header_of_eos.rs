use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", headers(type = "OrderPlaced", "message-id" = order_id))]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
