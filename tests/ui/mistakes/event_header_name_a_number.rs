use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", headers(7 = "shop"))]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
