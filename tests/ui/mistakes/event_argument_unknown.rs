use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", kay = order_id)]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
