//! What an `#[outbox]` method returns, and what of it is published.

use std::fmt;

use super::publish::Unsent;
use crate::error::TxError;
use crate::event::Event;
use crate::store::{Tx, TxDatabase};

/// What the Ok of an `#[outbox]` method may hold: an [`Event`], a `Vec` or an `Option` of one, an [`Emit`], or `()`.
///
/// What is an event is published, and handed to the caller all the same.
#[diagnostic::on_unimplemented(
    message = "an `#[outbox]` method cannot return `{Self}`",
    label = "its Ok is an event, a `Vec` or an `Option` of one, `()`, or `Emit<T>` for another value with events beside it",
    note = "derive `Event` for the type, or return `Ok(Emit::new(value).event(event))`; the caller gets `value`"
)]
pub trait Emits: Sized {
    /// What the caller gets.
    type Value;

    /// Publishes what is to be published.
    ///
    /// # Errors
    /// An event that cannot be encoded.
    fn emit<DB: TxDatabase>(self, tx: &mut Tx<DB>) -> Result<Self::Value, TxError>;
}

impl Emits for () {
    type Value = ();

    fn emit<DB: TxDatabase>(self, _tx: &mut Tx<DB>) -> Result<(), TxError> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Event> Emits for E {
    type Value = E;

    fn emit<DB: TxDatabase>(self, tx: &mut Tx<DB>) -> Result<E, TxError> {
        tx.add_event(&self)?;
        Ok(self)
    }
}

impl<E: Event> Emits for Vec<E> {
    type Value = Vec<E>;

    fn emit<DB: TxDatabase>(self, tx: &mut Tx<DB>) -> Result<Vec<E>, TxError> {
        self.iter().try_for_each(|event| tx.add_event(event))?;
        Ok(self)
    }
}

impl<E: Event> Emits for Option<E> {
    type Value = Option<E>;

    fn emit<DB: TxDatabase>(self, tx: &mut Tx<DB>) -> Result<Option<E>, TxError> {
        self.iter().try_for_each(|event| tx.add_event(event))?;
        Ok(self)
    }
}

/// A value for the caller, and events beside it: what an `#[outbox]` method returns where its result is no event.
///
/// ```
/// use eos_runtime::prelude::*;
/// use eos_runtime::TxError;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "event.order", key = order_id)]
/// struct OrderPlaced { order_id: Uuid }
///
/// # #[cfg(feature = "postgres")]
/// /// The caller gets the number of the order.
/// #[outbox]
/// async fn create_order(tx: &mut PgTx, order_id: Uuid) -> Result<Emit<i64>, TxError> {
///     # let _ = tx;
///     let number = 7;
///     Ok(Emit::new(number).event(OrderPlaced { order_id }))
/// }
/// ```
#[must_use = "events are published when an `#[outbox]` method returns them"]
pub struct Emit<T> {
    value: T,
    events: Vec<Result<Unsent, TxError>>,
}

impl<T> Emit<T> {
    /// The value, without an event so far.
    pub fn new(value: T) -> Self {
        Emit { value, events: Vec::new() }
    }

    /// And this event; events are published in the order in which they are added.
    pub fn event<E: Event>(self, event: E) -> Self {
        self.events([event])
    }

    /// And these events.
    pub fn events<E: Event>(mut self, events: impl IntoIterator<Item = E>) -> Self {
        self.events.extend(events.into_iter().map(|event| Unsent::of(&event)));
        self
    }
}

impl<T> Emits for Emit<T> {
    type Value = T;

    fn emit<DB: TxDatabase>(self, tx: &mut Tx<DB>) -> Result<T, TxError> {
        for event in self.events {
            tx.add(event?)?;
        }
        Ok(self.value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Emit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit").field("value", &self.value).field("events", &self.events.len()).finish()
    }
}
