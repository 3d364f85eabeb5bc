use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order(_: &Record) -> Result<(), impl std::error::Error> {
    std::str::from_utf8(b"").map(drop)
}

fn main() {}
