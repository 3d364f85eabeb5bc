#![doc = include_str!("../../docs/outbox.md")]
//
// | file | what it promises |
// |---|---|
// | `publish.rs` | `tx.publish(…)`: kept in the transaction's hands, and written with its COMMIT or not at all |
// | `emit.rs` | what an `#[outbox]` method can return: an event, several, or a value with events beside it |
// | `scope.rs` | the transaction of such a method: its own, or the caller's that it joins |
// | `method.rs` | what such a method asks of its arguments and of its result |
// | `transaction.rs` | the same for a block of code |
// | `refused.rs` | entries that Kafka refused: seen, tried again, discarded |
// | `depth.rs` | how much waits, and for how long, whoever publishes it |
// | `relay/` | publishes what stands in the table, and retries until it is there |
//
// The table is the store's: `store/outbox` and each database's `outbox.sql`.

mod depth;
pub(crate) mod emit;
pub(crate) mod method;
mod publish;
mod refused;
pub(crate) mod relay;
pub(crate) mod scope;
mod transaction;

pub(crate) use depth::Sounding;
pub use emit::{Emit, Emits};
pub use refused::{OutboxDatabase, Refused, RefusedEntries, discard, refused, retry};
pub use scope::TxSource;
pub use transaction::transaction;

#[doc = include_str!("../../docs/debezium.md")]
pub mod debezium {}
