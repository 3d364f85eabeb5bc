//! Events of every shape, and listeners that take their topic from them.

use eos_runtime::prelude::*;

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(topic = "events.order", key = order_id, type = "OrderPlaced")]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: Uuid,
    pub(crate) customer: Customer,
    pub(crate) note: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Customer {
    pub(crate) id: u32,
    pub(crate) r#type: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "events.${region:eu}.payment", version = 3)]
#[event(
    key = order.customer.id,
    headers(note = order.note, kind = order.customer.r#type, "x-source" = "shop", cents = self.cents(), r#in = SOURCE.len())
)]
pub(crate) struct PaymentTaken {
    pub(crate) order: OrderPlaced,
}

const SOURCE: &str = "shop";

impl PaymentTaken {
    fn cents(&self) -> i64 {
        i64::from(self.order.customer.id) * 100
    }
}

/// Without a key, a version or headers.
#[derive(Event, Serialize, Deserialize)]
#[event(topic = "events.tick")]
pub(crate) struct r#Tick;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "events.pair", key = format!("{}/{}", self.0, self.1), headers(shop = self.0, next = self.1 + 1))]
pub(crate) struct Pair(pub(crate) String, pub(crate) u8);

macro_rules! event {
    ($name:ident, $topic:literal, $key:ident: $ty:ty, $version:expr, $header:expr) => {
        #[derive(Event, Serialize, Deserialize)]
        #[event(topic = $topic, key = $key, version = $version, headers(made = $header, again = $key))]
        pub(crate) struct $name {
            pub(crate) $key: $ty,
        }
    };
}

event!(Made, "events.made", id: u64, 2, "by a macro");

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "events.deprecated", key = old)]
#[deprecated = "there is a new one"]
#[expect(dead_code, reason = "it compiles, which is all that is asked")]
pub(crate) struct Deprecated {
    #[deprecated = "there is a new one"]
    old: u8,
}

type Placed = OrderPlaced;
type Maybe<T> = Option<T>;

#[kafka_listener(transactional)]
async fn on_order(tx: &mut PgTx, order: OrderPlaced, headers: Headers) -> HandlerResult {
    let _ = (tx, order.order_id, headers);
    Ok(())
}

// Which parameter is the event is for a trait to say, not for its name.
#[kafka_listener(group = "alias")]
async fn on_alias(_: Key<Uuid>, order: Maybe<Placed>) -> HandlerResult {
    let _ = order;
    Ok(())
}

#[kafka_listener]
async fn on_payment(PaymentTaken { order }: PaymentTaken) -> HandlerResult {
    let _ = order;
    Ok(())
}

#[kafka_listener(topic = "events.order.copy")]
async fn on_copy(order: OrderPlaced) -> HandlerResult {
    let _ = order;
    Ok(())
}

#[kafka_listener]
async fn on_made(Made { id }: Made, record: &Record) -> HandlerResult {
    let _ = (id, record);
    Ok(())
}

#[kafka_listener()]
async fn on_wrapped(Wrapped(Pair(shop, number)): Wrapped<Pair>) -> HandlerResult {
    let _ = (shop, number);
    Ok(())
}

// A parameter of one's own hands on the topic of what it wraps.
struct Wrapped<T>(T);

impl<T: eos_runtime::FromRecord> eos_runtime::FromRecord for Wrapped<T> {
    const DEFAULT_TOPIC: Option<&'static str> = T::DEFAULT_TOPIC;

    fn from_record(delivery: &eos_runtime::Delivery<'_>) -> Result<Self, eos_runtime::Rejection> {
        T::from_record(delivery).map(Wrapped)
    }
}
