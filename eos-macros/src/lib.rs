//! The attributes of eos: text in, tokens out.
//!
//! Each attribute is a room of three: `args` says what was typed, `model` what it means, `expand` prints the model.
//! Nothing here knows Kafka or SQL; what a type can decide is decided by a trait of `eos-runtime`.

mod event;
mod listener;
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
/// | `topic = "…"` | the topic | one of these two |
/// | `topics = ["…", "…"]` | several topics | is required |
/// | `group = "…"` | the consumer group | `[kafka] group` of the settings |
/// | `id = "…"` | its name in logs and in `[listeners."<id>"]` of the settings | the function's path |
/// | `deadline = "30s"` | how long one attempt may take: 1 ms to a day | 30 s |
/// | `concurrency = 4` | consumers of it in this process | 1 |
/// | `transactional` | its SQL effects happen once | at least once |
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
/// | `Json<T>` | the payload |
/// | `Key<T>` | the key, by `T`'s `FromStr` |
/// | `Headers`, `MessageId`, `RecordMeta` | the headers; the id that duplicates share; topic, partition, offset, time and attempt |
/// | `&Record` | all of it, as bytes |
/// | `State<S>` | what `app().state(…)` was given |
/// | `Option<Json<T>>`, `Option<Key<T>>`, `Option<MessageId>` | `None` where it is absent: a tombstone has no payload |
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

/// Event.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(item: TokenStream) -> TokenStream {
    event::derive(item.into()).into()
}
