use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = order_id, key = customer)]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
