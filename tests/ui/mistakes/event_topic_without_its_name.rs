use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event("event.order")]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
