use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = tenant.id)]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
