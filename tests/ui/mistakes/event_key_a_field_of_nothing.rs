use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = order_id)]
struct OrderPlaced(Uuid, String);

fn main() {}
