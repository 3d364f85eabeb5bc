//! What an `#[outbox]` method asks of its arguments, each with the sentence that rustc says where it is not so.

use std::fmt;

use sqlx::Pool;

use super::scope::{TxSource, TxType};
use crate::store::{Tx, TxDatabase};

/// What an `#[outbox]` method is called with in the transaction's place.
///
/// It has Debug for `#[tracing::instrument]`, which writes a function's arguments down.
#[diagnostic::on_unimplemented(
    message = "an `#[outbox]` method that takes `&mut {T}` cannot be called with `{Self}`",
    label = "pass `&pool`, for a transaction of its own, or `&mut tx`, to join that one (`&mut *tx` where `tx` is a reference)"
)]
pub trait TxArgument<T: TxType>: fmt::Debug {
    /// The source that the method begins with; it lives as long as the call.
    fn source(&mut self) -> TxSource<'_, T::Database>;
}

impl<DB: TxDatabase> TxArgument<Tx<DB>> for &Pool<DB> {
    fn source(&mut self) -> TxSource<'_, DB> {
        TxSource::from(*self)
    }
}

impl<DB: TxDatabase> TxArgument<Tx<DB>> for &mut Tx<DB> {
    fn source(&mut self) -> TxSource<'_, DB> {
        TxSource::from(&mut **self)
    }
}

impl<DB: TxDatabase> TxArgument<Tx<DB>> for TxSource<'_, DB> {
    fn source(&mut self) -> TxSource<'_, DB> {
        self.lend()
    }
}

/// What an `#[outbox]` method with `retries` is called with, besides its transaction.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Clone`, and each try of an `#[outbox]` method with `retries` gets a copy",
    label = "derive `Clone` for it, take it as a reference, or take `retries` away"
)]
pub trait RetriedArgument: Clone {}

#[diagnostic::do_not_recommend]
impl<T: Clone> RetriedArgument for T {}

/// A copy for one try.
pub fn copy_for_a_try<T: RetriedArgument>(argument: &T) -> T {
    argument.clone()
}

/// Says of which type a block's value is, in a line that never runs.
pub fn returned<R>() -> R {
    unreachable!("this line says a type")
}
