//! What people see of records that are parked, and what they may change: they wait for their turn in order, behind a record
//! of their key that failed, and need nobody.

use super::{DeadLetter, DeadLetters, LetterDatabase, Selection};
use crate::store::State as Stands;

const PARKED: [Stands; 2] = [Stands::Parked, Stands::Urged];

impl<DB: LetterDatabase> DeadLetters<DB> {
    /// Lists what is parked, in the order in which it was parked. The first of each key is the one that is tried.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(pool: sqlx::PgPool) -> sqlx::Result<()> {
    /// use eos_runtime::dead_letters::{DeadLetters, Selection};
    ///
    /// let letters = DeadLetters::of(&pool);
    /// for record in letters.list_parked(&Selection::all().group("billing")).await? {
    ///     println!("{}: {} attempts, {}", record.id, record.attempts, record.error);
    /// }
    /// // The customer's account exists by now.
    /// letters.retry_parked(&Selection::all().key("customer-7")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn list_parked(&self, selection: &Selection) -> sqlx::Result<Vec<DeadLetter>> {
        let found = DB::letters(&self.store, &selection.only_in(&PARKED)).await?;
        Ok(found.into_iter().map(DeadLetter::from).collect())
    }

    /// Has their keys tried now, within the running listener's `[database] verify_every`, instead of at the end of their
    /// waits; says how many were marked. Their order stays, and so do their attempts.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Done or not done, as a whole.
    pub async fn retry_parked(&self, selection: &Selection) -> sqlx::Result<u64> {
        DB::turn_to(&self.store, &selection.only_in(&PARKED), Stands::Urged).await
    }

    /// Marks them as discarded: they stay in the table and are never handled, and what is behind them has its turn. Says how
    /// many there were.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Done or not done, as a whole.
    pub async fn discard_parked(&self, selection: &Selection) -> sqlx::Result<u64> {
        DB::turn_to(&self.store, &selection.only_in(&PARKED), Stands::Discarded).await
    }
}
