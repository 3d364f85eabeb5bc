use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = ORDERS)]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
