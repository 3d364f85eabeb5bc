use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order(_: Option<RecordMeta>) -> HandlerResult {
    Ok(())
}

fn main() {}
