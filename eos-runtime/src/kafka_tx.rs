//! What an exactly-once listener writes with: outputs wait here until its function has returned, so that a failed attempt
//! leaves nothing.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::HandlerError;
use crate::event::{Event, EventValue, TYPE_HEADER, VERSION_HEADER};
use crate::record::{Headers, MESSAGE_ID, Record};
use crate::settings;
use crate::source::Output;
use crate::store::repeatable_id;
use crate::trace;

/// So many topics are remembered by the name that they are sent to.
const TOPICS: usize = 16;
/// What is in hand at the most before it is passed on, which may be one record's more: outputs, and their bytes.
const OUTPUTS: usize = 512;
const BYTES: usize = 256 * 1024;

/// What outputs are known by, in their header `message-id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputId {
    /// An id that is the same whenever the record is handled.
    #[default]
    Repeatable,
    /// Nothing but what the handler gives them.
    Off,
}

/// The outputs of one record, in a listener that is `exactly_once`: they and its offset are committed in one Kafka
/// transaction.
///
/// ```no_run
/// use eos_runtime::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "event.order", key = order_id)]
/// struct OrderPlaced { order_id: u64, amount_cents: i64 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "event.order.large", key = order_id)]
/// struct LargeOrder { order_id: u64 }
///
/// #[kafka_listener(exactly_once)]
/// async fn large_orders(out: &mut KafkaTx, order: OrderPlaced) -> HandlerResult {
///     if order.amount_cents > 1_000_000 {
///         out.send(&LargeOrder { order_id: order.order_id }).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// Nothing is sent while the function runs: a failed attempt leaves nothing, and costs no transaction. Outputs of one record
/// keep their order for each key. Each has a header `message-id` that is the same whenever the record is handled (a UUID,
/// version 5), so that also those who read uncommitted records can tell a copy; `exactly_once(message_id = "off")` leaves it
/// out.
pub struct KafkaTx {
    group: Arc<str>,
    message_id: OutputId,
    /// The record that is being handled.
    record: Record,
    outputs: Vec<(i64, Output)>,
    /// What they weigh.
    bytes: usize,
    /// How many of them are earlier records', and what those weigh.
    before: (usize, usize),
    /// Given out for this record.
    ids: u32,
    /// As they were named, and what they are called: a name may have placeholders.
    topics: Vec<(Box<str>, Arc<str>)>,
}

#[expect(
    clippy::unused_async,
    reason = "to send is part of the transaction's work; that outputs wait in memory is not the caller's business"
)]
impl KafkaTx {
    /// Sends an event to its topic.
    ///
    /// # Errors
    /// It cannot be encoded, or its topic has a placeholder without a value; no further attempt can help.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn send<E: Event>(&mut self, event: &E) -> Result<(), HandlerError> {
        self.add_event(event, E::TOPIC)
    }

    /// Sends events in their order.
    ///
    /// # Errors
    /// As of [`KafkaTx::send`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn send_all<'e, E: Event + 'e>(
        &mut self,
        events: impl IntoIterator<Item = &'e E>,
    ) -> Result<(), HandlerError> {
        events.into_iter().try_for_each(|event| self.add_event(event, E::TOPIC))
    }

    /// Sends bytes: for payloads that are no [`Event`]. `None::<&[u8]>` is no key, or a tombstone.
    ///
    /// ```no_run
    /// # async fn example(out: &mut eos_runtime::KafkaTx) -> Result<(), eos_runtime::HandlerError> {
    /// out.send_to("state.order", "order-7", None::<&[u8]>, Default::default()).await?; // a tombstone
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The topic has a placeholder without a value, or a header's name is not UTF-8.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn send_to(
        &mut self,
        topic: &str,
        key: impl EventValue,
        payload: impl EventValue,
        headers: Headers,
    ) -> Result<(), HandlerError> {
        self.add(topic, key.into_bytes(), payload.into_bytes(), &headers, None)
    }
}

impl KafkaTx {
    /// With room for so many outputs.
    pub(crate) fn new(group: Arc<str>, message_id: OutputId, record: Record, room: usize) -> Self {
        KafkaTx {
            group,
            message_id,
            record,
            outputs: Vec::with_capacity(room.min(OUTPUTS)),
            bytes: 0,
            before: (0, 0),
            ids: 0,
            topics: Vec::new(),
        }
    }

    /// The next record: what earlier ones have sent stays.
    pub(crate) fn turn_to(&mut self, record: &Record) {
        self.record = record.clone();
        (self.before, self.ids) = ((self.outputs.len(), self.bytes), 0);
    }

    /// Forgets what this record has sent: its attempt has failed.
    pub(crate) fn undo(&mut self) {
        let (outputs, bytes) = self.before;
        self.outputs.truncate(outputs);
        (self.bytes, self.ids) = (bytes, 0);
    }

    /// Whether they are to be passed on before another record is handled.
    pub(crate) fn is_full(&self) -> bool {
        self.outputs.len() >= OUTPUTS || self.bytes >= BYTES
    }

    /// One that the runtime makes.
    pub(crate) fn push(&mut self, output: Output) {
        self.bytes += output.bytes();
        self.outputs.push((self.record.offset(), output));
    }

    pub(crate) fn take(&mut self) -> Vec<(i64, Output)> {
        (self.bytes, self.before) = (0, (0, 0));
        std::mem::take(&mut self.outputs)
    }

    pub(crate) fn add_event<E: Event>(&mut self, event: &E, topic: &'static str) -> Result<(), HandlerError> {
        let payload = event.encode().map_err(HandlerError::fatal)?;
        let (key, headers) = (event.key(), event.headers());
        self.add(topic, key, Some(payload), &headers, Some((E::TYPE, E::VERSION)))
    }

    fn add(
        &mut self,
        topic: &str,
        key: Option<Bytes>,
        payload: Option<Bytes>,
        own: &Headers,
        event: Option<(&'static str, Option<u32>)>,
    ) -> Result<(), HandlerError> {
        let topic = self.topic(topic)?;
        let mut headers: Vec<(Cow<'static, str>, Option<Bytes>)> = Vec::new();
        for (name, value) in own.iter() {
            let name = std::str::from_utf8(name).map_err(HandlerError::fatal)?;
            headers.push((Cow::Owned(name.to_owned()), value.map(Bytes::copy_from_slice)));
        }
        let id = match self.message_id {
            OutputId::Repeatable if own.get(MESSAGE_ID).is_none() => {
                Some(repeatable_id(&self.group, &self.record, self.ids))
            }
            OutputId::Repeatable | OutputId::Off => None,
        };
        self.ids += 1;
        if let Some((type_name, version)) = event {
            headers.push((Cow::Borrowed(TYPE_HEADER), Some(Bytes::from_static(type_name.as_bytes()))));
            if let Some(version) = version {
                headers.push((Cow::Borrowed(VERSION_HEADER), Some(version.to_string().into())));
            }
        }
        if own.get(trace::HEADER).is_none()
            && let Some(trace) =
                trace::current().or_else(|| self.record.header(trace::HEADER).map(Bytes::copy_from_slice))
        {
            headers.push((Cow::Borrowed(trace::HEADER), Some(trace)));
        }
        self.push(Output { topic, key, payload, id, headers });
        Ok(())
    }

    fn topic(&mut self, named: &str) -> Result<Arc<str>, HandlerError> {
        if let Some((_, topic)) = self.topics.iter().find(|(name, _)| **name == *named) {
            return Ok(Arc::clone(topic));
        }
        let topic: Arc<str> = settings::resolve(named).map_err(HandlerError::fatal)?.into();
        // Names may be made of records: there is no end of them.
        self.topics.truncate(TOPICS - 1);
        self.topics.push((named.into(), Arc::clone(&topic)));
        Ok(topic)
    }
}

impl fmt::Debug for KafkaTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTx").field("outputs", &self.outputs.len()).finish_non_exhaustive()
    }
}

/// What the Ok of an exactly-once listener may hold: an [`Event`], a `Vec` or an `Option` of one, or `()`.
#[diagnostic::on_unimplemented(
    message = "an exactly-once listener cannot return `{Self}`",
    label = "its Ok is an event, a `Vec` or an `Option` of one, or `()`",
    note = "derive `Event` for the type; or take `out: &mut KafkaTx`, and send what you like"
)]
pub trait Outputs {
    /// Sends what it holds, to this topic where one is said.
    ///
    /// # Errors
    /// As of [`KafkaTx::send`].
    fn send(self, out: &mut KafkaTx, to: Option<&'static str>) -> Result<(), HandlerError>;
}

impl Outputs for () {
    fn send(self, _out: &mut KafkaTx, _to: Option<&'static str>) -> Result<(), HandlerError> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Event> Outputs for E {
    fn send(self, out: &mut KafkaTx, to: Option<&'static str>) -> Result<(), HandlerError> {
        out.add_event(&self, to.unwrap_or(E::TOPIC))
    }
}

impl<E: Event> Outputs for Vec<E> {
    fn send(self, out: &mut KafkaTx, to: Option<&'static str>) -> Result<(), HandlerError> {
        self.iter().try_for_each(|event| out.add_event(event, to.unwrap_or(E::TOPIC)))
    }
}

impl<E: Event> Outputs for Option<E> {
    fn send(self, out: &mut KafkaTx, to: Option<&'static str>) -> Result<(), HandlerError> {
        self.iter().try_for_each(|event| out.add_event(event, to.unwrap_or(E::TOPIC)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in hand is bounded also where outputs are large, and a failed attempt's do not count.
    #[tokio::test]
    async fn a_few_large_outputs_are_as_full_as_many_small_ones() {
        let record = Record::builder("event.order").build();
        let mut out = KafkaTx::new("billing".into(), OutputId::Off, record.clone(), 0);
        let half = vec![0; BYTES / 2];
        out.send_to("a", "key", &half[..], Headers::default()).await.expect("sent");
        assert!(!out.is_full());
        out.turn_to(&record);
        out.send_to("a", "key", &half[..], Headers::default()).await.expect("sent");
        assert!(out.is_full());
        out.undo();
        assert!(!out.is_full(), "a failed attempt has sent nothing");
        assert_eq!(out.take().len(), 1);
        for _ in 0..OUTPUTS {
            assert!(!out.is_full());
            out.send_to("a", "key", None::<&[u8]>, Headers::default()).await.expect("sent");
        }
        assert!(out.is_full());
    }
}
