use eos_runtime::prelude::*;

#[derive(Event)]
#[event(topic = "event.order")]
union Amount {
    cents: i64,
    euros: f64,
}

fn main() {}
