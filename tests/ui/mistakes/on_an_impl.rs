use eos_runtime::prelude::*;

struct Order;

#[kafka_listener(topic = "event.order")]
impl Order {
    async fn on_order(_: &Record) -> HandlerResult {
        Ok(())
    }
}

fn main() {}
