//! Publishing in a transaction: an event becomes an entry, which waits in the transaction's hands for its COMMIT.

use std::borrow::Cow;

use bytes::Bytes;

use crate::error::{BoxError, TxError};
use crate::event::{Event, EventValue, TYPE_HEADER, VERSION_HEADER};
use crate::record::Headers;
use crate::settings;
use crate::store::{Entry, TRACE_HEADER, Tx, TxDatabase, write_headers};

#[expect(
    clippy::unused_async,
    reason = "to publish is part of the transaction's work; that entries wait in memory until COMMIT is not the caller's business"
)]
impl<DB: TxDatabase> Tx<DB> {
    /// Publishes an event if this transaction commits, and only then.
    ///
    /// ```no_run
    /// # use eos_runtime::prelude::*;
    /// # #[derive(Event, Serialize, Deserialize)]
    /// # #[event(topic = "event.order", key = order_id)]
    /// # struct OrderPlaced { order_id: Uuid }
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(pool: sqlx::PgPool, order_id: Uuid) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut tx = eos_runtime::begin(&pool).await?;
    /// sqlx::query("insert into orders (order_id) values ($1)").bind(order_id).execute(&mut tx).await?;
    /// tx.publish(&OrderPlaced { order_id }).await?;
    /// tx.commit().await?; // the row and the event, or neither
    /// # Ok(()) }
    /// ```
    ///
    /// It is kept in memory until the transaction commits, and written to `eos_outbox` in one statement then. The record
    /// has its id in the header `message-id`: a new UUID (version 7), or in a listener one that is the same whenever
    /// that record is handled (version 5, of group, topic, partition, offset, time and the number of the event). Events of
    /// one key reach Kafka in the order in which their transactions committed, where these lock a row of that key.
    ///
    /// # Errors
    /// [`TxError::Event`]: it cannot be encoded, or its topic has a placeholder without a value.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn publish<E: Event>(&mut self, event: &E) -> Result<(), TxError> {
        self.add_event(event)
    }

    /// Publishes events in their order; see [`Tx::publish`].
    ///
    /// # Errors
    /// As of [`Tx::publish`]; the events before the one that failed are published if the transaction commits all the same.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn publish_all<'e, E: Event + 'e>(
        &mut self,
        events: impl IntoIterator<Item = &'e E>,
    ) -> Result<(), TxError> {
        events.into_iter().try_for_each(|event| self.add_event(event))
    }

    /// Publishes bytes: for payloads that are no [`Event`], such as Avro. `None::<&[u8]>` is no key, or a tombstone.
    ///
    /// A header `type` becomes the entry's type, and a header `message-id` takes the place of the id that it would get.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(tx: &mut eos_runtime::PgTx, avro: Vec<u8>) -> Result<(), eos_runtime::TxError> {
    /// let headers = [("content-type", "application/avro")].into_iter().collect();
    /// tx.publish_to("event.order", "order-7", avro, headers).await?;
    /// tx.publish_to("state.order", "order-7", None::<&[u8]>, Default::default()).await?; // a tombstone
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`TxError::Event`]: the topic has a placeholder without a value, or a header's name is not UTF-8.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn publish_to(
        &mut self,
        topic: &str,
        key: impl EventValue,
        payload: impl EventValue,
        headers: Headers,
    ) -> Result<(), TxError> {
        let type_name = headers.get_str(TYPE_HEADER).unwrap_or_default().to_owned();
        self.add(Unsent {
            topic: Cow::Owned(topic.to_owned()),
            type_name: Cow::Owned(type_name),
            key: key.to_bytes(),
            payload: payload.to_bytes(),
            headers: without(headers, TYPE_HEADER),
        })
    }

    pub(super) fn add_event<E: Event>(&mut self, event: &E) -> Result<(), TxError> {
        self.add(Unsent::of(event)?)
    }

    pub(super) fn add(&mut self, unsent: Unsent) -> Result<(), TxError> {
        let Unsent { topic, type_name, key, payload, mut headers } = unsent;
        if headers.get(TRACE_HEADER).is_none()
            && let Some(trace) = self.pending.trace()
        {
            headers = with(headers, TRACE_HEADER, trace);
        }
        let ready = settings::resolve(&topic).map_err(BoxError::from);
        match ready.and_then(|topic| Ok((topic, write_headers(named_by_text(&headers)?)?))) {
            Ok((topic, headers)) => {
                let id = self.pending.next_id();
                self.pending.push(Entry { id, topic, key, type_name, payload, headers });
                Ok(())
            }
            Err(source) => {
                let event = if type_name.is_empty() { topic } else { type_name };
                Err(TxError::Event { event: event.into_owned(), source })
            }
        }
    }
}

/// Headers whose names the relay can send.
fn named_by_text(headers: &Headers) -> Result<&Headers, BoxError> {
    headers.iter().try_for_each(|(name, _)| std::str::from_utf8(name).map(drop))?;
    Ok(headers)
}

/// An event that was encoded, before it belongs to a transaction.
pub(super) struct Unsent {
    /// With its placeholders.
    topic: Cow<'static, str>,
    type_name: Cow<'static, str>,
    key: Option<Bytes>,
    payload: Option<Bytes>,
    headers: Headers,
}

impl Unsent {
    pub(super) fn of<E: Event>(event: &E) -> Result<Self, TxError> {
        let payload =
            event.encode().map_err(|source| TxError::Event { event: E::TYPE.to_owned(), source })?;
        let mut headers = event.headers();
        if let Some(version) = E::VERSION {
            headers = with(headers, VERSION_HEADER, version.to_string().into());
        }
        Ok(Unsent {
            topic: Cow::Borrowed(E::TOPIC),
            type_name: Cow::Borrowed(E::TYPE),
            key: event.key(),
            payload: Some(payload),
            headers,
        })
    }
}

fn with(headers: Headers, name: &'static str, value: Bytes) -> Headers {
    let mut entries = headers.into_entries();
    entries.push((Bytes::from_static(name.as_bytes()), Some(value)));
    Headers::of_entries(entries)
}

fn without(headers: Headers, name: &str) -> Headers {
    if headers.get(name).is_none() {
        return headers;
    }
    let mut entries = headers.into_entries();
    entries.retain(|(known, _)| known != name.as_bytes());
    Headers::of_entries(entries)
}
