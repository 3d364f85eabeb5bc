use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order<'a>(_: &'a Record) -> HandlerResult {
    Ok(())
}

fn main() {}
