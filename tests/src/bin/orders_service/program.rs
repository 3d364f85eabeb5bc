use eos_runtime::prelude::*;

#[derive(Deserialize)]
struct OrderPlaced { order_id: Uuid, customer: String, amount_cents: i64 }

#[kafka_listener(topic = "event.order", transactional)]
async fn on_order(tx: &mut PgTx, Json(order): Json<OrderPlaced>) -> HandlerResult {
    sqlx::query("insert into orders (order_id, customer, amount_cents) values ($1, $2, $3)")
        .bind(order.order_id).bind(&order.customer).bind(order.amount_cents)
        .execute(&mut *tx).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> eos_runtime::Result<()> { eos_runtime::run().await }
