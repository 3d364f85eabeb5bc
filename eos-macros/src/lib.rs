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
/// | `concurrency_per_partition = 16` | how many keys of a partition are handled side by side, each in its order: 1 to 10,000, for plain and `idempotent` listeners; see [`deliveries`](https://docs.rs/eos-runtime/latest/eos_runtime/deliveries/index.html#keys-side-by-side) | 1: a partition's records one after another |
/// | `transactional` | its SQL effects happen once | at least once |
/// | `idempotent(redis, …)`, `idempotent(database, …)` | a record whose id has been processed is not handled again: [`idempotent`](https://docs.rs/eos-runtime/latest/eos_runtime/idempotent/index.html) | at least once |
/// | `retry(…)` | how often a record is tried, and with which waits | `[retry]` of the settings |
/// | `exactly_once` | from Kafka to Kafka: outputs and offsets in one Kafka transaction; `exactly_once(commit_interval = "100ms", commit_records = 100000, message_id = "off")` | plain |
/// | `at_most_once` | the offset is committed before the function runs, and nothing is tried again; `at_most_once(commit_records = 100)` | plain |
/// | `to = "event.order.enriched"` | where an exactly-once listener sends what it returns | the event's own topic |
/// | `on_failure = "park"` | a record that failed waits in the database with the later ones of its key, and other keys go on; `"block"`: its partition waits | `"block"` |
/// | `dead_letter = topic`, `topic("…")`, `"table"`, `"off"` | where a record goes that no attempt can handle: to a topic (and the table), to the table alone, or nowhere, so that it stops its partition | the table, or a topic where there is no database |
/// | `max_batch = 500`, `max_wait = "50ms"` | how many records a batch may have, and how long it waits for more than are queued | 500, and not at all |
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
/// | `key_slots = 16` | into how many slots each partition's keys are split, to be handled side by side, each key in its order: 1 to 256; see [`deliveries`](https://docs.rs/eos-runtime/latest/eos_runtime/deliveries/index.html#slots-of-a-transactional-listener) | 1: a partition's records one after another |
/// | `group_commit = 100` | how many queued records may share one transaction, never waiting for more | each has its own |
///
/// With `group_commit` the handler still sees one record at a time; where one of them fails, all are rolled back, and the
/// one that is to blame is found by halves and handled alone.
///
/// ## `retry`
///
/// `retry(max = 5, backoff = "200ms", factor = 2, max_backoff = "10s", jitter = 0.2)`: attempts in all, the first wait, by
/// what each further wait grows, the longest wait, and the share of a wait that chance may take off. Any may be left out.
/// What counts as an attempt, and what becomes of a record after the last one, is in
/// [`dead_letters`](https://docs.rs/eos-runtime/latest/eos_runtime/dead_letters/index.html).
///
/// ```
/// # use eos_runtime::prelude::*;
/// #[kafka_listener(
///     topics = ["${app.region:eu}.order", "${app.region:eu}.refund"],
///     group = "billing",
///     deadline = "5s",
///     concurrency = 4,
///     transactional(isolation = "serializable", dedupe = "position"),
///     retry(max = 3, max_backoff = "1m"),
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
/// | any `T: FromRecord` | your own; also a tuple of those that stand here |
/// | `Batch<T>`, `Vec<T>` of any of these | many records at once, in one transaction and without duplicates; besides it only states and the transaction |
///
/// A parameter that cannot be taken out of a record makes that record poison.
///
/// # What it returns
///
/// `HandlerResult`, or `Result<(), E>` with any `E: Into<Box<dyn Error + Send + Sync>>`: your own error, `anyhow::Error`,
/// `String`. An error means *again later*; `HandlerError::fatal(…)` means *never again*; `HandlerError::outage(…)` means
/// *when what I need is back*.
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

/// Makes an async fn run in a transaction and publish what it returns: its rows and its events, or neither.
///
/// ```
/// use eos_runtime::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "event.order", key = order_id)]
/// struct OrderPlaced { order_id: Uuid }
///
/// struct Orders;
///
/// impl Orders {
///     /// Call it with a pool: its own transaction. Call it with a transaction: joins it.
///     #[outbox]
///     async fn place(&self, tx: &mut PgTx, order_id: Uuid) -> Result<OrderPlaced, OrderError> {
///         insert(tx, order_id).await?;
///         Ok(OrderPlaced { order_id })
///     }
/// }
///
/// # async fn example(orders: Orders, pool: sqlx::PgPool, order_id: Uuid) -> Result<(), OrderError> {
/// let placed = orders.place(&pool, order_id).await?;         // begins, and commits
///
/// let mut tx = eos_runtime::begin(&pool).await?;
/// let placed = orders.place(&mut tx, order_id).await?;       // joins
/// tx.commit().await?;
/// # Ok(()) }
/// # type OrderError = eos_runtime::TxError;
/// # async fn insert(_: &mut PgTx, _: Uuid) -> Result<(), OrderError> { Ok(()) }
/// ```
///
/// It is a method or a free function, with `self`, generics, lifetimes and a `where` as any other. Its body sees a
/// transaction that it can write through and publish in, and that it cannot commit; `?` and `return` end the body alone.
///
/// # Arguments
///
/// | argument | what it says | without it |
/// |---|---|---|
/// | `isolation = "…"` | `read_committed`, `repeatable_read` or `serializable` | that of the database, or of the transaction that it joins |
/// | `retries = 3` | how often the whole is done again, 1 to 100 times, where it met another transaction | the error is the caller's |
///
/// # Parameters
///
/// The transaction is the one parameter that is `&mut T`, in any place: `&mut PgTx`, `&mut MySqlTx`, `&mut SqliteTx`, or
/// an alias of one. Where there are several `&mut`, it is the one whose type has a name that ends in `Tx`. A caller
/// passes in its place
///
/// | argument | what happens |
/// |---|---|
/// | `&pool` | the method begins a transaction, and commits it with what it returned, or rolls it back |
/// | `&mut tx`, or `&mut *tx` where `tx` is a reference already | the method joins; the caller commits |
///
/// Everything else is passed as it is declared.
///
/// # What it returns
///
/// A `Result`, whose Ok is published and handed to the caller all the same:
///
/// | declared | published | the caller gets |
/// |---|---|---|
/// | `Result<E, _>` with an [`Event`](macro@Event) | it | it |
/// | `Result<Vec<E>, _>`, `Result<Option<E>, _>` | all that are in it | the same |
/// | `Result<Emit<T>, _>` | the events of `Emit::new(value).event(…)` | the value, a `T` |
/// | `Result<(), _>` | nothing, besides what the body published by `tx.publish(…)` | `()` |
///
/// # Errors
///
/// The body's own. The transaction has errors of its own, `eos_runtime::TxError`: it cannot begin, an event cannot be
/// encoded, nothing was committed, or nobody knows whether it was. The declared error type holds these too, so it
/// implements `From<TxError>`: one case more with thiserror, nothing to do for `anyhow::Error` and
/// `Box<dyn Error + Send + Sync>`.
///
/// ```
/// #[derive(Debug, thiserror::Error)]
/// enum OrderError {
///     #[error("no such article")]
///     NoSuchArticle,
///     #[error(transparent)]
///     Database(#[from] sqlx::Error),
///     #[error(transparent)]
///     Transaction(#[from] eos_runtime::TxError),
/// }
/// ```
///
/// # Joining
///
/// A listener, or another `#[outbox]` method, passes its transaction on. Rows and events leave with that one:
///
/// ```
/// # use eos_runtime::prelude::*;
/// # struct Orders;
/// # impl Orders {
/// #[outbox]
/// async fn place_all(&self, tx: &mut PgTx, orders: Vec<Uuid>) -> Result<(), eos_runtime::TxError> {
///     for order in orders {
///         self.place(&mut *tx, order).await?;
///     }
///     Ok(())
/// }
/// #     #[outbox]
/// #     async fn place(&self, tx: &mut PgTx, order: Uuid) -> Result<(), eos_runtime::TxError> {
/// #         let _ = (tx, order);
/// #         Ok(())
/// #     }
/// # }
/// ```
///
/// A method that joined and returns an error leaves the caller's transaction to be rolled back: a commit of it is
/// `TxError::RollbackOnly`, so that an error which the caller swallows does not commit half of the work. To go on without
/// that method's work, call it in a savepoint (`tx.begin()`) and roll that back. A method with an `isolation` joins a
/// transaction of that level alone, and returns `TxError::Isolation` from any other.
///
/// A listener has its transaction already; a function is one or the other. It publishes by `tx.publish(&event).await?`.
///
/// # Retries
///
/// With `retries`, a serialization failure or a deadlock makes the body run again in a new transaction, after a short
/// pause. Every argument is `Clone` then, and each try gets a copy; a method takes `&self`, not `self` or `&mut self`.
/// What the body does outside of the transaction it does again. A method that joined is never tried again by itself: what
/// is tried again is the whole of a transaction, so it is for the one who began it.
///
/// # Methods of a trait
///
/// What the macro changes is the signature, and a trait's method has the trait's. Write a method of the type's own, and
/// call that one from the trait's, which takes the transaction and so always joins:
///
/// ```
/// # use eos_runtime::{TxError, prelude::*};
/// trait Places {
///     async fn place(&self, tx: &mut PgTx, order_id: Uuid) -> Result<(), TxError>;
/// }
///
/// struct Orders;
///
/// impl Orders {
///     #[outbox]
///     async fn place_order(&self, tx: &mut PgTx, order_id: Uuid) -> Result<(), TxError> {
///         # let _ = (tx, order_id);
///         Ok(())
///     }
/// }
///
/// impl Places for Orders {
///     async fn place(&self, tx: &mut PgTx, order_id: Uuid) -> Result<(), TxError> {
///         self.place_order(tx, order_id).await
///     }
/// }
/// ```
///
/// A trait's method with a body of its own can be an `#[outbox]` method; a type cannot put another in its place then.
///
/// # Cancel safety
///
/// Dropping the future while the body runs rolls back, or leaves the caller's transaction with what was done so far;
/// dropping it while its own transaction commits leaves the outcome unknown.
#[proc_macro_attribute]
pub fn outbox(arguments: TokenStream, item: TokenStream) -> TokenStream {
    outbox::attribute(arguments.into(), item.into()).into()
}
