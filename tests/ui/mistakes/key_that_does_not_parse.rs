use eos_runtime::prelude::*;

struct OrderId(u32);

#[kafka_listener(topic = "event.order")]
async fn on_order(Key(_): Key<OrderId>) -> HandlerResult {
    Ok(())
}

fn main() {}
