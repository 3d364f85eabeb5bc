use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = amount)]
struct OrderPlaced {
    amount: f64,
}

fn main() {}
