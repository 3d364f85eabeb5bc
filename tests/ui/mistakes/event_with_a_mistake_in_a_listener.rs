use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order", key = ordr_id)]
struct OrderPlaced {
    order_id: Uuid,
}

#[kafka_listener(transactional)]
async fn on_order(_: &mut PgTx, _: OrderPlaced) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "event.order.copy")]
async fn on_copy(_: Option<OrderPlaced>) -> HandlerResult {
    Ok(())
}

fn main() {
    let _: fn(&OrderPlaced) -> _ = Event::key;
}
