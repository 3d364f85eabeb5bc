//! What the processes tell each other.

use eos_runtime::prelude::*;

/// Somebody has ordered something.
#[derive(Debug, Clone, Event, Serialize, Deserialize)]
#[event(topic = "${app.topic_prefix:}event.order", key = order_id)]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: Uuid,
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
}

/// An order has its invoice.
#[derive(Debug, Clone, Event, Serialize, Deserialize)]
#[event(topic = "${app.topic_prefix:}event.invoice", key = order_id)]
pub(crate) struct InvoiceCreated {
    pub(crate) order_id: Uuid,
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
}
