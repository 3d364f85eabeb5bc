//! What a batch listener may take, and how.

use eos_runtime::prelude::*;
use eos_runtime::{Batch, Event};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "batches.order", key = order_id)]
struct OrderPlaced {
    order_id: Uuid,
}

/// The topic is that of the event inside.
#[kafka_listener(transactional, max_batch = 10, max_wait = "5ms")]
async fn of_events(tx: &mut PgTx, orders: Batch<OrderPlaced>) -> HandlerResult {
    let _ = (tx, orders.first().map(|order| order.order_id));
    Ok(())
}

#[kafka_listener(topic = "batches.pair", transactional)]
async fn of_pairs(
    orders: std::vec::Vec<(RecordMeta, Option<Json<OrderPlaced>>)>,
    State(shop): State<String>,
    tx: &mut PgTx,
) -> HandlerResult {
    let _ = (tx, orders.len(), shop);
    Ok(())
}
