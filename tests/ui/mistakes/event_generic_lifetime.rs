use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order")]
struct OrderPlaced<'a> {
    customer: &'a str,
}

fn main() {}
