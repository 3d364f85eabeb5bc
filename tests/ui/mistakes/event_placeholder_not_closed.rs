use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "${app.region.order")]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
