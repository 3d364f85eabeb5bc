use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order")]
#[event(topic = "event.order.v2")]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
