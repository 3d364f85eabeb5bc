//! Everything that can be taken, with the transaction in the middle.

use eos_runtime::prelude::*;

#[derive(Clone)]
struct Prices;

#[derive(Deserialize)]
struct Order {
    order_id: Uuid,
}

#[kafka_listener(topics = ["any.order", "any.${second:payment}"], transactional)]
#[expect(clippy::too_many_arguments, reason = "it is about all of them")]
async fn everything(
    Key(key): Key<String>,
    record: &Record,
    State(_prices): State<Prices>,
    tx: &mut PgTx,
    Json(order): Json<Order>,
    headers: Headers,
    id: Option<MessageId>,
    RecordMeta { partition, offset, .. }: RecordMeta,
) -> HandlerResult {
    let _ = (key, record, tx, order.order_id, headers, id, partition, offset);
    Ok(())
}

#[kafka_listener(topic = "any.none")]
async fn nothing() -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "any.tombstone")]
async fn tombstone(order: Option<Json<Order>>, key: Option<Key<Uuid>>) -> HandlerResult {
    let _ = (order.map(|Json(order)| order.order_id), key);
    Ok(())
}

#[kafka_listener(topic = "any.parenthesised")]
#[expect(unused_parens, reason = "it is about the parentheses")]
async fn parenthesised(record: (&Record), headers: (Headers)) -> (HandlerResult) {
    let _ = (record, headers);
    Ok(())
}
