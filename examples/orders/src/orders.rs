//! The service: an order and its event in one transaction.
//!
//! A client that had no answer repeats its request with the same `Idempotency-Key`. The key stands in the order's row, so
//! it is committed with it: the repeated request finds the order, places none and publishes nothing.

use eos_runtime::prelude::*;
use eos_runtime::{Emit, TxError};
use sqlx::Pool;

use crate::database::{Database, Tx};
use crate::events::OrderPlaced;

/// What is to be ordered.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PlaceOrder {
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
}

/// An order as it stands in the database.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Order {
    pub(crate) order_id: String,
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
    /// How many invoices were made of it: one, soon.
    pub(crate) invoices: i64,
}

/// Why there is no order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("an order costs more than nothing")]
    WorthNothing,
    #[error("this Idempotency-Key was used for another order")]
    KeyOfAnother,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("the transaction failed")]
    Transaction(#[from] TxError),
}

/// Orders, and what can be done with them.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) pool: Pool<Database>,
}

impl Orders {
    /// Places an order: with a pool in a transaction of its own, with a transaction as a part of that.
    #[outbox]
    pub(crate) async fn place(
        &self,
        tx: &mut Tx,
        key: Option<String>,
        wanted: PlaceOrder,
    ) -> Result<Emit<Order>, OrderError> {
        if wanted.amount_cents <= 0 {
            return Err(OrderError::WorthNothing);
        }
        let order_id = Uuid::now_v7();
        // Whoever comes at the same moment with the same key waits here for the other's commit.
        let placed = sqlx::query(
            "insert into orders (order_id, request_key, customer, amount_cents) values ($1, $2, $3, $4) \
             on conflict (request_key) do nothing",
        )
        .bind(order_id.to_string())
        .bind(&key)
        .bind(&wanted.customer)
        .bind(wanted.amount_cents)
        .execute(&mut *tx)
        .await?;
        let PlaceOrder { customer, amount_cents } = wanted;
        if placed.rows_affected() == 0 {
            let known = find(tx, "request_key", &key.unwrap_or_default()).await?;
            let known =
                known.filter(|order| order.customer == customer && order.amount_cents == amount_cents);
            return Ok(Emit::new(known.ok_or(OrderError::KeyOfAnother)?));
        }
        let order =
            Order { order_id: order_id.to_string(), customer: customer.clone(), amount_cents, invoices: 0 };
        Ok(Emit::new(order).event(OrderPlaced { order_id, customer, amount_cents }))
    }

    /// The order of this id.
    pub(crate) async fn find(&self, order_id: &str) -> Result<Option<Order>, OrderError> {
        let mut tx = eos_runtime::begin(&self.pool).await?;
        Ok(find(&mut tx, "order_id", order_id).await?)
    }
}

async fn find(tx: &mut Tx, column: &str, value: &str) -> sqlx::Result<Option<Order>> {
    let sql = format!(
        "select order_id, customer, amount_cents, \
         (select count(*) from invoice where invoice.order_id = orders.order_id) as invoices \
         from orders where {column} = $1"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(value).fetch_optional(tx).await
}
