//! An event: a typed payload that knows its topic, its type's name, its key and its headers.
//!
//! Nothing here names a broker. What a listener does with an event is in `extract`.

mod value;

use bytes::Bytes;

pub use value::EventValue;

use crate::error::BoxError;
use crate::record::Headers;

/// The header in which a record says what type of event it is.
pub(crate) const TYPE_HEADER: &str = "type";
/// The header with the version of its schema, where it has one.
pub(crate) const VERSION_HEADER: &str = "schema-version";

/// A typed payload and where it belongs. `#[derive(Event)]` implements it with JSON; a listener takes it directly.
///
/// ```
/// use eos_runtime::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "${app.region:eu}.order", key = order_id, version = 2, headers(tenant = tenant))]
/// struct OrderPlaced { order_id: u32, tenant: String, amount_cents: i64 }
///
/// let placed = OrderPlaced { order_id: 7, tenant: "acme".to_owned(), amount_cents: 990 };
/// assert_eq!(OrderPlaced::TOPIC, "${app.region:eu}.order");
/// assert_eq!((OrderPlaced::TYPE, OrderPlaced::VERSION), ("OrderPlaced", Some(2)));
/// assert_eq!(placed.key().as_deref(), Some(&b"7"[..]));
/// assert_eq!(placed.headers().get_str("tenant"), Some("acme"));
/// assert_eq!(placed.encode()?, r#"{"order_id":7,"tenant":"acme","amount_cents":990}"#);
/// # Ok::<(), eos_runtime::BoxError>(())
/// ```
///
/// # Another encoding
///
/// Implement it by hand, and [`FromRecord`](crate::FromRecord) through [`Delivery::event`](crate::Delivery::event) for
/// a listener to take it:
///
/// ```
/// use bytes::Bytes;
/// use eos_runtime::prelude::*;
/// use eos_runtime::{BoxError, Delivery, FromRecord, Rejection};
///
/// /// Four bytes, the highest first.
/// struct Heartbeat { sequence: u32 }
///
/// impl Event for Heartbeat {
///     const TOPIC: &'static str = "machine.heartbeat";
///     const TYPE: &'static str = "Heartbeat";
///
///     fn key(&self) -> Option<Bytes> {
///         None
///     }
///
///     fn encode(&self) -> Result<Bytes, BoxError> {
///         Ok(Bytes::copy_from_slice(&self.sequence.to_be_bytes()))
///     }
///
///     fn decode(payload: &[u8]) -> Result<Self, BoxError> {
///         Ok(Heartbeat { sequence: u32::from_be_bytes(payload.try_into()?) })
///     }
/// }
///
/// impl FromRecord for Heartbeat {
///     const DEFAULT_TOPIC: Option<&'static str> = Some(Heartbeat::TOPIC);
///
///     fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
///         delivery.event()?.ok_or_else(|| Rejection::poison("a heartbeat has a payload"))
///     }
/// }
///
/// #[kafka_listener]
/// async fn on_heartbeat(heartbeat: Heartbeat) -> HandlerResult {
///     println!("{}", heartbeat.sequence);
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "put `#[derive(Event, Serialize, Deserialize)]` and `#[event(topic = \"…\")]` on the struct",
    note = "an encoding other than JSON is an `impl eos_runtime::Event` by hand"
)]
pub trait Event: Sized + Send {
    /// Its topic. It may hold placeholders, `${key}` or `${key:default}`, which are read from the settings.
    const TOPIC: &'static str;

    /// The name of its type, by which the types of a topic are told apart: a record's header `type`.
    const TYPE: &'static str;

    /// The version of its schema, where it is counted. It is for people and tools: whether an older payload can still
    /// be read is for the encoding to say (with serde, `#[serde(default)]` on a new field).
    const VERSION: Option<u32> = None;

    /// The key: what has the same key stays in order. `None` is a record without one.
    fn key(&self) -> Option<Bytes>;

    /// Headers of its own, besides its type.
    fn headers(&self) -> Headers {
        Headers::default()
    }

    /// The payload.
    ///
    /// # Errors
    /// Why it cannot be written, as for JSON a map whose keys are no text.
    fn encode(&self) -> Result<Bytes, BoxError>;

    /// Reads a payload; of a tombstone, which has none, it is not asked.
    ///
    /// # Errors
    /// Why it does not parse. The record is poison then.
    fn decode(payload: &[u8]) -> Result<Self, BoxError>;
}

/// What `#[derive(Event)]` prints for `encode`.
///
/// # Errors
/// What cannot be JSON.
pub fn to_json<T: serde::Serialize>(event: &T) -> Result<Bytes, BoxError> {
    Ok(serde_json::to_vec(event)?.into())
}

/// What `#[derive(Event)]` prints for `decode`.
///
/// # Errors
/// What does not parse.
pub fn from_json<T: for<'de> serde::Deserialize<'de>>(payload: &[u8]) -> Result<T, BoxError> {
    Ok(serde_json::from_slice(payload)?)
}

/// What `#[derive(Event)]` prints for `headers`: those that have a value.
pub fn headers<const N: usize>(headers: [(&'static str, Option<Bytes>); N]) -> Headers {
    headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
