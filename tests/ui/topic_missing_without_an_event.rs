use eos_runtime::prelude::*;

#[derive(Deserialize)]
struct OrderPlaced {
    order_id: Uuid,
}

#[kafka_listener(transactional)]
async fn on_order(tx: &mut PgTx, Json(order): Json<OrderPlaced>) -> HandlerResult {
    Ok(())
}

fn main() {}
