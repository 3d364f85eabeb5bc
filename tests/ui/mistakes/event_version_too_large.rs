use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", version = 4294967296)]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
