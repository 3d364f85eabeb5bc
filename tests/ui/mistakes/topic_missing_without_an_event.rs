use eos_runtime::prelude::*;

#[derive(Deserialize)]
struct OrderPlaced {
    order_id: Uuid,
}

#[kafka_listener(transactional)]
async fn on_order(_: &mut PgTx, Json(_): Json<OrderPlaced>) -> HandlerResult {
    Ok(())
}

fn main() {}
