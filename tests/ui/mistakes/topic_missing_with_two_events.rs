use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order")]
struct OrderPlaced;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order")]
struct OrderCancelled;

#[kafka_listener]
async fn on_order(_: Option<OrderPlaced>, _: Option<OrderCancelled>) -> HandlerResult {
    Ok(())
}

fn main() {}
