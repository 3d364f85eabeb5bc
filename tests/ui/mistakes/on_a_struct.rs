use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
struct Order {
    id: u32,
}

fn main() {}
