use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", headers(amount = amount))]
struct OrderPlaced {
    amount: f64,
}

fn main() {}
