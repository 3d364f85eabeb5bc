use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order(_: &Record) -> u32 {
    7
}

fn main() {}
