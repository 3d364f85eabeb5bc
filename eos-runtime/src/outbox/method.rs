//! What an `#[outbox]` method asks of its arguments and of its result, each with the sentence that rustc says where it is
//! not so.

use std::fmt;

use super::scope::{FromTxError, OutboxReturn, TxSource};
use crate::store::TxDatabase;

/// What an `#[outbox]` method is called with in the transaction's place.
///
/// It has Debug for `#[tracing::instrument]`, which writes a function's arguments down.
#[diagnostic::on_unimplemented(
    message = "an `#[outbox]` method cannot be called with `{Self}`",
    label = "`&pool`, for a transaction of its own, or `&mut tx` (`&mut *tx` where `tx` is a reference), to join that one"
)]
pub trait TxArgument<'t, DB: TxDatabase>: Into<TxSource<'t, DB>> + fmt::Debug {}

#[diagnostic::do_not_recommend]
impl<'t, DB: TxDatabase, T: Into<TxSource<'t, DB>> + fmt::Debug> TxArgument<'t, DB> for T {}

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

/// Says of which type the body's value is, in a line that never runs.
pub fn returned<R: OutboxReturn<Error = E>, E: FromTxError>() -> R {
    unreachable!("this line says a type")
}
