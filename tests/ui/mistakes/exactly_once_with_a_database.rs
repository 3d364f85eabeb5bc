use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = order_id)]
struct OrderPlaced {
    order_id: u64,
}

#[kafka_listener(exactly_once)]
async fn on_order(_tx: &mut PgTx, _order: OrderPlaced) -> HandlerResult {
    Ok(())
}

fn main() {}
