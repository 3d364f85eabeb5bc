use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order<T: Send>(_: Json<T>) -> HandlerResult {
    Ok(())
}

fn main() {}
