//! The attributes of eos: text in, tokens out.
//!
//! Each attribute is a room of three: `args` says what was typed, `model` what it means, `expand` prints the model.
//! Nothing here knows Kafka or SQL; what a type can decide is decided by a trait of `eos-runtime`.

mod event;
mod listener;
mod outbox;
mod shared;

use proc_macro::TokenStream;

/// Makes an async fn a listener: `eos_runtime::run()` finds it and calls it with each record of its topics.
///
/// ```
/// use eos_runtime::prelude::*;
///
/// #[derive(Deserialize)]
/// struct OrderPlaced { order_id: Uuid, amount_cents: i64 }
///
/// #[kafka_listener(topic = "event.order", transactional)]
/// async fn on_order(tx: &mut PgTx, Json(order): Json<OrderPlaced>) -> HandlerResult {
///     if order.amount_cents < 0 {
///         return Err(HandlerError::fatal(format!("{} costs less than nothing", order.order_id)));
///     }
///     write(tx, &order).await?;
///     Ok(())
/// }
/// # async fn write(_: &mut PgTx, _: &OrderPlaced) -> HandlerResult { Ok(()) }
/// ```
///
/// The function stays what it was: a test can call it, `#[tracing::instrument]`, `#[cfg(…)]` and `#[deprecated]` work on
/// it. It is free or in a module, not in an `impl`; what it shares with others it takes as `State<S>`.
///
/// # Arguments
///
/// | argument | what it says | without it |
/// |---|---|---|
/// | `topic = "…"` | the topic | that of the event it takes, |
/// | `topics = ["…", "…"]` | several topics | or one of these two is required |
/// | `group = "…"` | the consumer group | `[kafka] group` of the settings |
/// | `id = "…"` | its name in logs and in `[listeners."<id>"]` of the settings | the function's path |
/// | `deadline = "30s"` | how long one attempt may take: 1 ms to a day | 30 s |
/// | `concurrency = 4` | consumers of it in this process | 1 |
/// | `transactional` | its SQL effects happen once | at least once |
///
/// The event is the one parameter that is an [`Event`](macro@Event); where there are two, or none, the topic is required.
///
/// `topic`, `topics` and `group` may hold placeholders, `${key}` or `${key:default}`, which start-up reads from the
/// settings: `topic = "${app.region:eu}.order"`, where `[app]` is for keys of your own. A key has letters, digits, `_`
/// and `-`, with dots between.
///
/// ## `transactional`
///
/// Every record is handled in one transaction, together with its position and its message id, so that a duplicate leaves
/// no trace. What the handler does outside of its transaction (HTTP, mail) is done at least once, always.
///
/// | argument | what it says | without it |
/// |---|---|---|
/// | `isolation = "…"` | `read_committed`, `repeatable_read` or `serializable` | `read_committed` |
/// | `dedupe = "…"` | `message_id`: a duplicate is known by its id and by its position; `position`: by position alone | `message_id` |
/// | `database = "…"` | a name under `[databases]` of the settings | the one database |
///
/// ```
/// # use eos_runtime::prelude::*;
/// #[kafka_listener(
///     topics = ["${app.region:eu}.order", "${app.region:eu}.refund"],
///     group = "billing",
///     deadline = "5s",
///     concurrency = 4,
///     transactional(isolation = "serializable", dedupe = "position"),
/// )]
/// async fn on_money(tx: &mut PgTx, record: &Record) -> HandlerResult {
///     # let _ = (tx, record);
///     Ok(())
/// }
/// ```
///
/// # Parameters
///
/// In any order, each at most as often as it makes sense:
///
/// | parameter | what it is |
/// |---|---|
/// | `&mut PgTx`, `&mut MySqlTx`, `&mut SqliteTx` | the transaction, with `transactional` alone; an alias of yours will do |
/// | an event | the payload of a record of its type, see [`Event`](macro@Event) |
/// | `Json<T>` | the payload, whatever type it says it is |
/// | `Key<T>` | the key, by `T`'s `FromStr` |
/// | `Headers`, `MessageId`, `RecordMeta` | the headers; the id that duplicates share; topic, partition, offset, time and attempt |
/// | `&Record` | all of it, as bytes |
/// | `State<S>` | what `app().state(…)` was given |
/// | `Option` of an event, `Option<Json<T>>`, `Option<Key<T>>`, `Option<MessageId>` | `None` where it is absent: a tombstone has no payload |
/// | any `T: FromRecord` | your own |
///
/// A parameter that cannot be taken out of a record makes that record poison.
///
/// # What it returns
///
/// `HandlerResult`, or `Result<(), E>` with any `E: Into<Box<dyn Error + Send + Sync>>`: your own error, `anyhow::Error`,
/// `String`. An error means *again later*; `HandlerError::fatal(…)` means *never again*.
///
/// To say which cases of your own error are fatal, implement `From<OrderError> for HandlerError`, return `HandlerResult`
/// and use `?`. That `From` is not asked when the function returns `Result<(), OrderError>` itself; `app().classify(…)`
/// is there for both.
#[proc_macro_attribute]
pub fn kafka_listener(arguments: TokenStream, item: TokenStream) -> TokenStream {
    listener::attribute(arguments.into(), &item.into()).into()
}

/// Makes a struct an event: a typed payload that knows its topic, its key, its type's name and its headers.
///
/// ```
/// use eos_runtime::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "event.order", key = order_id, type = "OrderPlaced")]
/// struct OrderPlaced { order_id: Uuid, customer: String, amount_cents: i64 }
///
/// #[kafka_listener(transactional)]                   // of the topic `event.order`
/// async fn on_order(tx: &mut PgTx, event: OrderPlaced) -> HandlerResult {
///     # let _ = (tx, event.order_id, event.customer, event.amount_cents);
///     Ok(())
/// }
///
/// let event = OrderPlaced { order_id: Uuid::nil(), customer: "Ada".to_owned(), amount_cents: 990 };
/// assert_eq!((OrderPlaced::TOPIC, OrderPlaced::TYPE), ("event.order", "OrderPlaced"));
/// assert_eq!(event.key().as_deref(), Some(&b"00000000-0000-0000-0000-000000000000"[..]));
/// assert_eq!(OrderPlaced::decode(&event.encode()?)?.customer, "Ada");
/// # Ok::<(), eos_runtime::BoxError>(())
/// ```
///
/// Its payload is JSON, by serde: derive `Serialize` and `Deserialize` too. For another encoding, or for an enum, write
/// `impl Event` by hand.
///
/// # Arguments
///
/// | argument | what it says | without it |
/// |---|---|---|
/// | `topic = "…"` | its topic, where placeholders are read as in [`kafka_listener`](macro@kafka_listener) | is required |
/// | `key = …` | what has the same key stays in order | a record without key |
/// | `type = "…"` | the name of its type | the struct's name |
/// | `version = 2` | the version of its schema, a number from 1 | none |
/// | `headers(name = …, "x-name" = …)` | headers besides its type | none |
///
/// A key or a header is
/// - a field, or a path of fields: `order_id`, `customer.id`;
/// - any other expression, which reaches fields through `self.` as in a method: `format!("{}/{}", self.shop, self.id)`,
///   `self.0`, `crate::SOURCE`; put one with a comma outside of brackets in parentheses;
/// - for a header, a text in quotes, the same for every event.
///
/// Its type is text, an integer, a `bool`, a `Uuid`, bytes, an `Option` of one (`None` is a record without key, or
/// without that header), or one of yours that implements `EventValue`.
///
/// ```
/// # use eos_runtime::prelude::*;
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(
///     topic = "${app.region:eu}.payment",
///     key = order.id,
///     version = 2,
///     headers(tenant = tenant, "content-type" = "application/json", cents = self.order.euros * 100),
/// )]
/// struct PaymentTaken { order: Order, tenant: Option<String> }
///
/// #[derive(Serialize, Deserialize)]
/// struct Order { id: u64, euros: u32 }
///
/// let event = PaymentTaken { order: Order { id: 7, euros: 12 }, tenant: None };
/// assert_eq!(event.key().as_deref(), Some(&b"7"[..]));
/// assert_eq!(event.headers().get_str("cents"), Some("1200"));
/// assert_eq!(event.headers().get_str("tenant"), None);
/// ```
///
/// # In a listener
///
/// An event is a parameter like `Json<T>`: a payload that does not parse is poison, and so is a tombstone, unless it is
/// taken as an `Option`. The listener's `topic` can be left out when exactly one of its parameters is an event.
///
/// A record says what type of event it is in its header `type`. One that says another type than the parameter's is
/// poison, with both names in the error, even if its payload would parse, since a type that nobody handles is never
/// skipped in silence; one without the header is taken as the parameter's type. A listener of a topic that carries
/// several types takes `&Record`, or `Json<T>` with an enum.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(item: TokenStream) -> TokenStream {
    event::derive(item.into()).into()
}

/// Outbox.
#[proc_macro_attribute]
pub fn outbox(arguments: TokenStream, item: TokenStream) -> TokenStream {
    outbox::attribute(arguments.into(), item.into()).into()
}
