use eos_runtime::prelude::*;

struct OutOfStock;

#[kafka_listener(topic = "event.order")]
async fn on_order(_: &Record) -> Result<(), OutOfStock> {
    Err(OutOfStock)
}

fn main() {}
