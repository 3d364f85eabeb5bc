//! The same on PostgreSQL.

use eos_runtime::prelude::*;

use super::{OrderPlaced, more_work};
use crate::diary::Diary;

#[kafka_listener(topic = "${app.topic}", transactional)]
async fn on_order(
    tx: &mut PgTx,
    Json(order): Json<OrderPlaced>,
    State(diary): State<Diary>,
) -> HandlerResult {
    diary.note_a_run()?; // for the demonstration, which counts
    sqlx::query("insert into orders (order_no, customer, amount_cents) values ($1, $2, $3)")
        .bind(order.order_no)
        .bind(&order.customer)
        .bind(order.amount_cents)
        .execute(&mut *tx)
        .await?;
    more_work().await;
    Ok(())
}
