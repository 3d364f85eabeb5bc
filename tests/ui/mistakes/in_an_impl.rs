use eos_runtime::prelude::*;

struct Orders;

impl Orders {
    #[kafka_listener(topic = "event.order")]
    async fn on_order(_: &Record) -> HandlerResult {
        Ok(())
    }
}

fn main() {}
