//! A savepoint: a part of a transaction that can be undone alone, with what was published in it.

use std::fmt;
use std::ops::{Deref, DerefMut};

use sqlx_core::transaction::TransactionManager;

use super::pending::Mark;
use super::{Tx, TxDatabase};

/// A part of a transaction that can be rolled back alone; made by [`Tx::begin`].
///
/// It dereferences to its transaction, so that everything that takes one works inside of it. Dropping it rolls it back.
#[must_use = "a savepoint that is dropped is rolled back"]
pub struct Savepoint<'t, DB: TxDatabase> {
    tx: &'t mut Tx<DB>,
    before: Mark,
    open: bool,
}

impl<DB: TxDatabase> Tx<DB> {
    /// Begins a savepoint, for errors that its owner means to survive: roll it back, and the transaction goes on without
    /// what was written and published since.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(tx: &mut eos_runtime::PgTx) -> sqlx::Result<()> {
    /// let mut savepoint = tx.begin().await?;
    /// match sqlx::query("insert into coupon_use (coupon) values ('X1')").execute(&mut *savepoint).await {
    ///     Ok(_) => savepoint.commit().await?,
    ///     Err(_) => savepoint.rollback().await?, // used before; the order goes on without it
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Dropping it before it is done leaves the transaction as it was.
    pub async fn begin(&mut self) -> sqlx::Result<Savepoint<'_, DB>> {
        let before = self.pending.mark();
        DB::TransactionManager::begin(self, None).await?;
        Ok(Savepoint { tx: self, before, open: true })
    }
}

impl<DB: TxDatabase> Savepoint<'_, DB> {
    /// Keeps what was written and published since, as a part of the transaction.
    ///
    /// # Errors
    /// The database's; the savepoint is rolled back then.
    ///
    /// # Cancel safety
    /// Dropping it rolls the savepoint back, or keeps it: whatever the database made of it.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::commit(self.tx).await?;
        self.open = false;
        Ok(())
    }

    /// Undoes what was written and published since.
    ///
    /// # Errors
    /// The database's; the whole transaction is of no use then.
    ///
    /// # Cancel safety
    /// Dropping it rolls back as well.
    pub async fn rollback(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::rollback(self.tx).await?;
        self.open = false;
        self.tx.pending.back_to(&self.before);
        Ok(())
    }
}

impl<DB: TxDatabase> Drop for Savepoint<'_, DB> {
    fn drop(&mut self) {
        if self.open {
            DB::TransactionManager::start_rollback(self.tx);
            self.tx.pending.back_to(&self.before);
        }
    }
}

impl<DB: TxDatabase> Deref for Savepoint<'_, DB> {
    type Target = Tx<DB>;

    fn deref(&self) -> &Tx<DB> {
        self.tx
    }
}

impl<DB: TxDatabase> DerefMut for Savepoint<'_, DB> {
    fn deref_mut(&mut self) -> &mut Tx<DB> {
        self.tx
    }
}

impl<DB: TxDatabase> fmt::Debug for Savepoint<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Savepoint").field("tx", &self.tx).finish_non_exhaustive()
    }
}
