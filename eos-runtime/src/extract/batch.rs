//! What a batch listener takes: many records at once.

use std::ops::{Deref, DerefMut};
use std::vec;

use super::{Delivery, FromRecord, Needs, Rejection, State};

/// The records of one transaction, in their order: each taken as `T`, without those whose message ids were processed
/// before.
///
/// A listener that takes one is called once for as many records as are queued, up to its `max_batch`; it has no parameter
/// that is about a single record. For more than one thing of each record take a tuple.
///
/// ```
/// # #[cfg(feature = "postgres")] mod example {
/// use eos_runtime::Batch;
/// use eos_runtime::prelude::*;
///
/// #[derive(Deserialize)]
/// struct OrderPlaced { order_id: Uuid, amount_cents: i64 }
///
/// #[kafka_listener(topic = "event.order", transactional, max_batch = 500)]
/// async fn on_orders(tx: &mut PgTx, orders: Batch<Json<OrderPlaced>>) -> HandlerResult {
///     let (ids, amounts): (Vec<Uuid>, Vec<i64>) =
///         orders.iter().map(|Json(order)| (order.order_id, order.amount_cents)).unzip();
///     sqlx::query("insert into orders (order_id, amount_cents) select * from unnest($1::uuid[], $2::bigint[])")
///         .bind(ids).bind(amounts).execute(&mut *tx).await?;
///     Ok(())
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch<T>(pub Vec<T>);

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Batch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Records on their way into a batch listener.
#[derive(Debug, Clone, Copy)]
pub struct Deliveries<'a>(pub(crate) &'a [Delivery<'a>]);

impl<'a> Deliveries<'a> {
    /// Each of them, in order; there is one at least.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a Delivery<'a>> + use<'a> {
        self.0.iter()
    }
}

/// A parameter of a batch listener.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken out of a batch of records",
    label = "a listener that takes a `Batch<T>` takes besides it states (`State<S>`) and `&mut` a transaction",
    note = "for more than one thing of each record take a tuple: `Batch<(RecordMeta, Json<T>)>`"
)]
pub trait FromBatch: Sized + Send {
    /// See [`FromRecord::DEFAULT_TOPIC`].
    const DEFAULT_TOPIC: Option<&'static str> = None;

    /// What the application must have for this to work.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }

    /// Takes it out of the records.
    ///
    /// # Errors
    /// As [`FromRecord::from_record`]; the record that is to blame is found by trying parts of the batch.
    fn from_batch(deliveries: &Deliveries<'_>) -> Result<Self, Rejection>;
}

impl<T: FromRecord> FromBatch for Vec<T> {
    const DEFAULT_TOPIC: Option<&'static str> = T::DEFAULT_TOPIC;

    fn needs(needs: &mut Needs) {
        T::needs(needs);
    }

    fn from_batch(deliveries: &Deliveries<'_>) -> Result<Self, Rejection> {
        deliveries.iter().map(T::from_record).collect()
    }
}

impl<T: FromRecord> FromBatch for Batch<T> {
    const DEFAULT_TOPIC: Option<&'static str> = T::DEFAULT_TOPIC;

    fn needs(needs: &mut Needs) {
        T::needs(needs);
    }

    fn from_batch(deliveries: &Deliveries<'_>) -> Result<Self, Rejection> {
        Vec::from_batch(deliveries).map(Batch)
    }
}

impl<S: Clone + Send + Sync + 'static> FromBatch for State<S> {
    fn needs(needs: &mut Needs) {
        needs.state::<S>();
    }

    fn from_batch(deliveries: &Deliveries<'_>) -> Result<Self, Rejection> {
        match deliveries.iter().next() {
            Some(first) => State::from_record(first),
            None => Err(Rejection::again("a batch without records")),
        }
    }
}

/// More than one thing of a record.
macro_rules! tuples {
    ($(($($name:ident),+))+) => { $(
        impl<$($name: FromRecord),+> FromRecord for ($($name,)+) {
            const DEFAULT_TOPIC: Option<&'static str> = first([$($name::DEFAULT_TOPIC),+]);

            fn needs(needs: &mut Needs) {
                $($name::needs(needs);)+
            }

            fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
                Ok(($($name::from_record(delivery)?,)+))
            }
        }
    )+ };
}

tuples! { (A, B) (A, B, C) (A, B, C, D) }

/// The first that is there.
const fn first<const N: usize>(topics: [Option<&'static str>; N]) -> Option<&'static str> {
    let mut at = 0;
    while at < N {
        if topics[at].is_some() {
            return topics[at];
        }
        at += 1;
    }
    None
}
