use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
struct OrderPlaced {
    #[event(topic = "event.order", key)]
    order_id: Uuid,
}

fn main() {}
