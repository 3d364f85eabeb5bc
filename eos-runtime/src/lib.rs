#![doc = include_str!("../GUIDE.md")]
#![doc(test(attr(deny(warnings), allow(dead_code))))]

extern crate self as eos_runtime;

#[cfg(feature = "admin")]
pub mod admin;
mod app;
mod consumer;
pub mod dead_letters;
mod dedupe;
pub mod deliveries;
mod error;
mod event;
mod extract;
mod fault;
mod finding;
#[doc = include_str!("../docs/idempotent.md")]
pub mod idempotent {}
mod kafka;
mod kafka_tx;
mod listener;
pub mod metrics;
pub mod outbox;
pub mod positions;
mod record;
mod settings;
mod source;
mod store;
mod trace;

#[doc(hidden)]
pub mod __private;
#[cfg(doctest)]
mod attributes;
pub mod testing;
#[doc(hidden)]
pub mod tools;

pub use app::{App, DatabasePool, app, relay, run};
pub use eos_macros::{Event, kafka_listener, outbox};
pub use error::{BoxError, Error, HandlerError, HandlerResult, Result, TxError, Verdict};
pub use event::{Event, EventValue};
pub use extract::{
    Batch, Deliveries, Delivery, FromBatch, FromRecord, FromRecordOptional, Json, Key, MessageId, Needs,
    RecordMeta, RefFromRecord, Rejection, State,
};
pub use kafka::embedded;
pub use kafka_tx::{KafkaTx, Outputs};
pub use outbox::{Emit, Emits, TxSource, transaction};
pub use record::{Headers, Record, RecordBuilder};
pub use settings::Mistakes;
#[cfg(feature = "mysql")]
pub use store::MySqlTx;
#[cfg(feature = "postgres")]
pub use store::PgTx;
#[cfg(feature = "sqlite")]
pub use store::SqliteTx;
pub use store::{Savepoint, Tx, TxDatabase, begin, is_migrated_in, migrate, migrate_in, migrations};

/// What a file with listeners needs: `use eos_runtime::prelude::*;`.
pub mod prelude {
    #[cfg(feature = "mysql")]
    pub use crate::MySqlTx;
    #[cfg(feature = "postgres")]
    pub use crate::PgTx;
    #[cfg(feature = "sqlite")]
    pub use crate::SqliteTx;
    pub use crate::{
        Emit, Event, HandlerError, HandlerResult, Headers, Json, KafkaTx, Key, MessageId, Record, RecordMeta,
        State, kafka_listener, outbox,
    };
    pub use serde::{Deserialize, Serialize};
    pub use uuid::Uuid;
}
