//! A dead letter is marked by its number, whichever kind of database it is in.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{DeadLetters, LetterDatabase, Selection};
use crate::error::BoxError;
use crate::store::Store;

/// The dead letters of a database, to whoever does not know its kind. Both say how many were marked: one or none.
pub(crate) trait Marks: Send + Sync {
    /// It is to be handled again.
    fn replay(&self, id: i64) -> BoxFuture<'_, Result<u64, BoxError>>;
    /// Nobody wants it handled.
    fn discard(&self, id: i64) -> BoxFuture<'_, Result<u64, BoxError>>;
}

impl<DB: LetterDatabase> DeadLetters<DB> {
    /// Those of a database that is open here.
    pub(crate) fn on(store: &Store<DB>) -> Self {
        DeadLetters { store: Store::of(store.pool.clone(), Arc::clone(&store.home)) }
    }
}

impl<DB: LetterDatabase> Marks for DeadLetters<DB> {
    fn replay(&self, id: i64) -> BoxFuture<'_, Result<u64, BoxError>> {
        async move { Ok(self.replay(&Selection::all().ids([id])).await?) }.boxed()
    }

    fn discard(&self, id: i64) -> BoxFuture<'_, Result<u64, BoxError>> {
        async move { Ok(self.discard(&Selection::all().ids([id])).await?) }.boxed()
    }
}
