use eos_runtime::prelude::*;

#[kafka_listener(topik = "event.order")]
async fn on_order(_: &Record) -> HandlerResult {
    Ok(())
}

fn main() {}
