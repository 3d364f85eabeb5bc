use eos_runtime::prelude::*;

struct Prices;

#[kafka_listener(topic = "event.order")]
async fn on_order(State(_): State<Prices>) -> HandlerResult {
    Ok(())
}

fn main() {}
