//! The transaction of an `#[outbox]` method: its own, where the caller gave a pool, or the caller's that it joins.
//!
//! What the method publishes leaves with that transaction. A method that joined and fails leaves a mark: the caller's
//! transaction cannot be committed any more, so that an error which the caller swallows does not commit half of the
//! work. What is tried again is always the whole of a transaction, so only one that the method owns is.

use std::fmt;
#[cfg(test)]
use std::sync::Arc;
use std::time::Duration;

use sqlx::Pool;

use super::Emits;
use crate::error::TxError;
use crate::listener::spec::Isolation;
#[cfg(test)]
use crate::store::{Dialect, Home, Store};
use crate::store::{Tx, TxDatabase};

/// What an `#[outbox]` method is called with: `&pool`, for a transaction of its own, or `&mut tx`, to join that one.
pub struct TxSource<'t, DB: TxDatabase>(Given<'t, DB>);

enum Given<'t, DB: TxDatabase> {
    Pool(Pool<DB>),
    Joined(&'t mut Tx<DB>),
    #[cfg(test)]
    Store(Pool<DB>, Arc<Home>),
}

impl<DB: TxDatabase> From<&Pool<DB>> for TxSource<'_, DB> {
    fn from(pool: &Pool<DB>) -> Self {
        TxSource(Given::Pool(pool.clone()))
    }
}

impl<'t, DB: TxDatabase> From<&'t mut Tx<DB>> for TxSource<'t, DB> {
    fn from(tx: &'t mut Tx<DB>) -> Self {
        TxSource(Given::Joined(tx))
    }
}

impl<DB: TxDatabase> TxSource<'_, DB> {
    /// The same, for as long as this one is not used otherwise.
    pub(super) fn lend(&mut self) -> TxSource<'_, DB> {
        TxSource(match &mut self.0 {
            Given::Pool(pool) => Given::Pool(pool.clone()),
            Given::Joined(tx) => Given::Joined(tx),
            #[cfg(test)]
            Given::Store(pool, home) => Given::Store(pool.clone(), Arc::clone(home)),
        })
    }
}

/// A store's own pool, whose schema is not that of the settings.
#[cfg(test)]
impl<DB: Dialect> From<&Store<DB>> for TxSource<'_, DB> {
    fn from(store: &Store<DB>) -> Self {
        TxSource(Given::Store(store.pool.clone(), Arc::clone(&store.home)))
    }
}

impl<DB: TxDatabase> fmt::Debug for TxSource<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Given::Pool(_) => "TxSource(pool)",
            Given::Joined(_) => "TxSource(transaction)",
            #[cfg(test)]
            Given::Store(..) => "TxSource(store)",
        })
    }
}

/// The arguments of `#[outbox(…)]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScopeOptions {
    /// `isolation = "…"`.
    pub isolation: Option<Isolation>,
    /// `retries = N`.
    pub retries: u32,
}

/// The transaction while the method runs.
pub struct Scope<'t, DB: TxDatabase> {
    source: TxSource<'t, DB>,
    options: ScopeOptions,
    own: Option<Tx<DB>>,
    tries: u32,
}

/// What a method returned, and how it is published or becomes an error.
///
/// It asks nothing of its types: [`OutboxReturn`] does, once, where the method's type is declared, so that a type that
/// will not do is told there alone.
pub struct Outcome<DB: TxDatabase, T, V, E> {
    result: Result<T, E>,
    emit: fn(T, &mut Tx<DB>) -> Result<V, TxError>,
    error: fn(TxError) -> E,
}

/// What a method's end came to.
#[derive(Debug)]
pub enum Ended<T, E> {
    /// This is what the caller gets.
    Done(Result<T, E>),
    /// It met another transaction; the whole of it is to be done again.
    Again,
}

impl<DB: TxDatabase, T, V, E> fmt::Debug for Outcome<DB, T, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.result.is_ok() { "Outcome(Ok)" } else { "Outcome(Err)" })
    }
}

impl<T, E> Ended<T, E> {
    /// What the caller gets of a method without retries.
    ///
    /// # Errors
    /// The method's own.
    pub fn once(self) -> Result<T, E> {
        match self {
            Ended::Done(result) => result,
            Ended::Again => unreachable!("without retries there is one try"),
        }
    }
}

impl<'t, DB: TxDatabase> Scope<'t, DB> {
    /// Nothing is begun yet.
    ///
    /// # Errors
    /// [`TxError::Isolation`]: another level than that of the transaction that it joins.
    pub fn new(source: TxSource<'t, DB>, options: ScopeOptions) -> Result<Self, TxError> {
        if let (Some(wanted), Given::Joined(tx)) = (options.isolation, &source.0)
            && tx.isolation() != Some(wanted)
        {
            let joined = tx.isolation().map(Isolation::name);
            return Err(TxError::Isolation { wanted: wanted.name(), joined });
        }
        Ok(Scope { source, options, own: None, tries: 0 })
    }

    /// The transaction, begun where it is the method's own.
    ///
    /// # Errors
    /// [`TxError::Begin`].
    pub async fn tx(&mut self) -> Result<&mut Tx<DB>, TxError> {
        match &mut self.source.0 {
            Given::Joined(tx) => Ok(tx),
            Given::Pool(pool) => {
                let begun = Tx::begin_on(pool, self.options.isolation).await?;
                Ok(self.own.insert(begun))
            }
            #[cfg(test)]
            Given::Store(pool, home) => {
                let begun = self.own.insert(Tx::begin_on(pool, self.options.isolation).await?);
                begun.set_home(Arc::clone(home));
                Ok(begun)
            }
        }
    }

    /// Publishes what the method returned, and commits where the transaction is its own.
    pub async fn end<T, V, E>(&mut self, outcome: Outcome<DB, T, V, E>) -> Ended<V, E> {
        match (&mut self.source.0, self.own.take()) {
            (_, Some(own)) => self.end_own(own, outcome).await,
            (Given::Joined(tx), None) => Ended::Done(join(tx, outcome)),
            (_, None) => unreachable!("a method has its transaction before it has its outcome"),
        }
    }

    async fn end_own<T, V, E>(&mut self, mut own: Tx<DB>, outcome: Outcome<DB, T, V, E>) -> Ended<V, E> {
        let Outcome { result, emit, error } = outcome;
        let (gave_way, failure) = match result {
            Ok(returned) => match emit(returned, &mut own) {
                Ok(value) => match own.commit_or_say().await {
                    Ok(()) => return Ended::Done(Ok(value)),
                    Err((gave_way, why)) => (gave_way, error(why)),
                },
                Err(why) => (false, error(why)),
            },
            Err(failure) => {
                let gave_way = own.pending.gave_way();
                // Where that fails, dropping it has closed the connection: nothing is committed either way.
                drop(own.rollback().await);
                (gave_way, failure)
            }
        };
        if gave_way && self.tries < self.options.retries {
            self.tries += 1;
            tokio::time::sleep(pause(self.tries)).await;
            return Ended::Again;
        }
        Ended::Done(Err(failure))
    }
}

/// The caller's transaction goes on, or can only be rolled back.
fn join<DB: TxDatabase, T, V, E>(tx: &mut Tx<DB>, outcome: Outcome<DB, T, V, E>) -> Result<V, E> {
    let Outcome { result, emit, error } = outcome;
    let emitted = result.and_then(|returned| emit(returned, tx).map_err(error));
    if emitted.is_err() {
        tx.pending.roll_back_only();
    }
    emitted
}

/// Two transactions that met once should not meet again at the same moment.
fn pause(tries: u32) -> Duration {
    Duration::from_micros(fastrand::u64(500..=1_000 * u64::from(tries.min(20))))
}

impl<DB: TxDatabase> fmt::Debug for Scope<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("source", &self.source)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What an `#[outbox]` method is declared to return, and what its caller gets.
#[diagnostic::on_unimplemented(
    message = "an `#[outbox]` method cannot return `{Self}`",
    label = "return a `Result`: its Ok is an event, a `Vec` or an `Option` of one, `()`, or `Emit<T>`"
)]
pub trait OutboxReturn {
    /// Its Ok.
    type Returned: Emits;
    /// Its Err.
    type Error: FromTxError;
    /// What the caller gets.
    type Output;

    /// What the caller gets where there is no transaction.
    fn failed(error: TxError) -> Self::Output;

    /// How it ends a transaction.
    fn outcome<DB: TxDatabase>(
        self,
    ) -> Outcome<DB, Self::Returned, <Self::Returned as Emits>::Value, Self::Error>;
}

impl<T: Emits, E: FromTxError> OutboxReturn for Result<T, E> {
    type Returned = T;
    type Error = E;
    type Output = Result<T::Value, E>;

    fn failed(error: TxError) -> Self::Output {
        Err(E::from(error))
    }

    fn outcome<DB: TxDatabase>(self) -> Outcome<DB, T, T::Value, E> {
        Outcome { result: self, emit: T::emit::<DB>, error: E::from }
    }
}

/// The error type of an `#[outbox]` method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold an error of the transaction itself",
    label = "implement `From<eos_runtime::TxError>` for it: the transaction may not begin, or not commit",
    note = "with thiserror it is one more case: `#[error(transparent)] Transaction(#[from] eos_runtime::TxError)`"
)]
pub trait FromTxError: From<TxError> {}

#[diagnostic::do_not_recommend]
impl<E: From<TxError>> FromTxError for E {}

/// The database of a transaction's type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction",
    label = "an `#[outbox]` method takes `&mut PgTx`, `&mut MySqlTx` or `&mut SqliteTx` (or an alias of one)"
)]
pub trait TxType {
    /// Which it is.
    type Database: TxDatabase;
}

impl<DB: TxDatabase> TxType for Tx<DB> {
    type Database = DB;
}
