//! An invoice for each order, once: the row, the event about it and the position are one commit.

use eos_runtime::prelude::*;

use crate::database::{self, Tx};
use crate::events::{InvoiceCreated, OrderPlaced};

#[kafka_listener(group = "${app.topic_prefix:}invoices", transactional)]
async fn on_order(tx: &mut Tx, order: OrderPlaced) -> HandlerResult {
    sqlx::query("insert into invoice (order_id, amount_cents) values ($1, $2)")
        .bind(order.order_id.to_string())
        .bind(order.amount_cents)
        .execute(&mut *tx)
        .await?;
    let OrderPlaced { order_id, customer, amount_cents } = order;
    tx.publish(&InvoiceCreated { order_id, customer, amount_cents }).await?;
    Ok(())
}

/// Runs until it is told to stop.
pub(crate) async fn run() -> anyhow::Result<()> {
    database::connect().await?.close().await;
    Ok(eos_runtime::app().listeners(["*invoices::*"]).run().await?)
}
