use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order(_: &Record) -> Result<u32, HandlerError> {
    Ok(7)
}

fn main() {}
