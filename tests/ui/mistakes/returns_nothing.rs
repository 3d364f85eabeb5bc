use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order(_: &Record) {}

fn main() {}
