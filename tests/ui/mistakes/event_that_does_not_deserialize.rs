use eos_runtime::prelude::*;

#[derive(Event, Serialize)]
#[event(topic = "event.order", key = order_id)]
struct OrderPlaced {
    order_id: Uuid,
}

fn main() {}
