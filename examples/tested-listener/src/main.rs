//! How a listener is tested without a broker: `DATABASE_URL=postgres://… cargo test -p tested-listener`.
//!
//! `#[sqlx::test]` gives each test a database of its own; `deliver` brings a record through extraction, claim, handler
//! and commit against it, as the running service would.

use eos_runtime::prelude::*;

/// What the warehouse says when goods have arrived.
#[derive(Debug, Deserialize, Serialize)]
struct GoodsArrived {
    article: String,
    pieces: i64,
}

/// Adds to the stock: exactly what must not be done twice.
#[kafka_listener(topic = "warehouse.goods", transactional)]
async fn on_goods(tx: &mut PgTx, Json(goods): Json<GoodsArrived>) -> HandlerResult {
    if goods.pieces < 0 {
        return Err(HandlerError::fatal("goods arrive in pieces, and there are no negative ones"));
    }
    sqlx::query(
        "insert into stock (article, pieces) values ($1, $2) \
         on conflict (article) do update set pieces = stock.pieces + excluded.pieces",
    )
    .bind(&goods.article)
    .bind(goods.pieces)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> eos_runtime::Result<()> {
    eos_runtime::run().await
}

#[cfg(test)]
mod tests {
    use eos_runtime::Record;
    use eos_runtime::testing::{DeliverError, Delivered, deliver};
    use sqlx::PgPool;

    use super::*;

    fn goods(pieces: i64, message_id: &str) -> Record {
        let goods = GoodsArrived { article: "ladder".to_owned(), pieces };
        let payload = serde_json::to_vec(&goods).expect("goods can be written as JSON");
        Record::builder("warehouse.goods")
            .key("ladder")
            .payload(payload)
            .header("message-id", message_id)
            .build()
    }

    async fn a_stock(pool: &PgPool) {
        let table = "create table stock (article text primary key, pieces bigint not null)";
        sqlx::query(table).execute(pool).await.expect("the table is made");
    }

    async fn ladders(pool: &PgPool) -> i64 {
        let pieces = sqlx::query_scalar("select coalesce(sum(pieces), 0)::bigint from stock");
        pieces.fetch_one(pool).await.expect("the stock is read")
    }

    #[sqlx::test]
    async fn a_duplicate_leaves_no_trace(pool: PgPool) -> Result<(), DeliverError> {
        a_stock(&pool).await;
        assert_eq!(deliver(goods(5, "delivery-17")).database(&pool).await?, Delivered::Applied);
        assert_eq!(deliver(goods(5, "delivery-17")).database(&pool).await?, Delivered::Duplicate);
        assert_eq!(deliver(goods(2, "delivery-18")).database(&pool).await?, Delivered::Applied);
        assert_eq!(ladders(&pool).await, 7);
        Ok(())
    }

    #[sqlx::test]
    async fn a_handler_that_fails_leaves_nothing_and_may_succeed_later(
        pool: PgPool,
    ) -> Result<(), DeliverError> {
        let failed = deliver(goods(5, "delivery-17")).database(&pool).await;
        assert!(matches!(failed, Err(DeliverError::Failed(_))), "there is no table yet: {failed:?}");
        a_stock(&pool).await;
        assert_eq!(deliver(goods(5, "delivery-17")).database(&pool).await?, Delivered::Applied);
        assert_eq!(ladders(&pool).await, 5);
        Ok(())
    }
}
