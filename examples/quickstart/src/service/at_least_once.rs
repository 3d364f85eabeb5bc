//! The same without `transactional`: what is written stands at once, the offset follows, and between the two there is
//! room for a kill. Nothing knows a message's id. `--at-least-once` shows what comes of it.

use eos_runtime::prelude::*;
use sqlx::SqlitePool;

use super::{OrderPlaced, more_work};
use crate::diary::Diary;

#[kafka_listener(topic = "${app.topic}")]
async fn on_order(
    State(pool): State<SqlitePool>,
    Json(order): Json<OrderPlaced>,
    State(diary): State<Diary>,
) -> HandlerResult {
    diary.note_a_run()?; // for the demonstration, which counts
    sqlx::query("insert into orders (order_no, customer, amount_cents) values (?, ?, ?)")
        .bind(order.order_no)
        .bind(&order.customer)
        .bind(order.amount_cents)
        .execute(&pool)
        .await?;
    more_work().await;
    Ok(())
}

/// A pool on the database that the others are given by eos.
pub(super) async fn pool() -> anyhow::Result<SqlitePool> {
    Ok(SqlitePool::connect(&std::env::var("EOS_DATABASE_URL")?).await?)
}
