use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", headers(by = customer source = "shop"))]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
