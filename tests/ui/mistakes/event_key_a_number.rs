use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = 0)]
struct OrderPlaced(Uuid, String);

fn main() {}
