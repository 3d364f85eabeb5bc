//! A transaction around a block of code: committed where it returns Ok, rolled back where it does not.

use sqlx::Pool;

use crate::error::TxError;
use crate::store::{Tx, TxDatabase, begin};

/// Runs a block in a transaction, and commits it with what was published in it, or rolls it back where the block
/// returns an error.
///
/// ```no_run
/// # use eos_runtime::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(topic = "event.order", key = order_id)]
/// # struct OrderPlaced { order_id: Uuid }
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool, order_id: Uuid) -> Result<(), Box<dyn std::error::Error>> {
/// let _number: i64 = eos_runtime::transaction(&pool, async |tx: &mut PgTx| {
///     let number = sqlx::query_scalar("insert into orders (order_id) values ($1) returning number")
///         .bind(order_id)
///         .fetch_one(&mut *tx)
///         .await?;
///     tx.publish(&OrderPlaced { order_id }).await?;
///     Ok::<_, HandlerError>(number)
/// })
/// .await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// The block's own, as they are; of the transaction itself those of [`begin`] and [`Tx::commit`].
///
/// # Cancel safety
/// Dropping it while the block runs rolls back; while it commits, the outcome is unknown.
pub async fn transaction<DB, T, E, F>(pool: &Pool<DB>, block: F) -> Result<T, E>
where
    DB: TxDatabase,
    E: From<TxError>,
    F: AsyncFnOnce(&mut Tx<DB>) -> Result<T, E>,
{
    let mut tx = begin(pool).await?;
    match block(&mut tx).await {
        Ok(value) => {
            tx.commit().await?;
            Ok(value)
        }
        Err(error) => {
            // Where that fails, dropping it has closed the connection: nothing is committed either way.
            drop(tx.rollback().await);
            Err(error)
        }
    }
}
