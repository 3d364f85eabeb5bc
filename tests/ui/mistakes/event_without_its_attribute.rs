use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderPlaced {
    order_id: Uuid,
    customer: String,
}

fn main() {}
