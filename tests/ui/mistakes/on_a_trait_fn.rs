use eos_runtime::prelude::*;

trait Orders {
    #[kafka_listener(topic = "event.order")]
    async fn on_order(_: &Record) -> HandlerResult;
}

fn main() {}
