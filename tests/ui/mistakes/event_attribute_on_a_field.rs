use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order")]
struct OrderPlaced {
    #[event(key)]
    order_id: Uuid,
}

fn main() {}
