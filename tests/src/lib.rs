//! What the tests on real servers are made of. They see eos as a user does: a binary with listeners, its settings in
//! the environment, Kafka on one side and a database on the other.
//!
//! A [`Scene`] is a test's own world: a topic, a group and a database that nobody else has, so that tests run side by
//! side. A [`Service`] is the program under test, a child process that can be killed, stopped and continued. The
//! scene keeps a ledger of what was produced; [`Scene::every_order_once`] compares it with what the database says.
//!
//! Nothing waits by a sleep: [`eventually`] asks until it is so, or fails with what it saw last.
#![allow(
    clippy::missing_panics_doc,
    reason = "a helper that cannot help fails the test, that is its purpose"
)]
#![allow(clippy::missing_errors_doc, reason = "what a condition returns as an error is what the test prints")]

mod admin;
mod chance;
mod connect;
mod database;
mod finished;
mod kafka;
mod order;
mod outbox;
mod private;
mod protocol;
pub mod proxy;
mod redis;
mod scene;
mod servers;
mod service;
mod tell;
mod tool;
mod waiting;

pub use admin::{Admin, Answer};
pub use chance::{Chance, Course, number};
pub use connect::Connect;
pub use database::{Applied, Database, Kind, Position, SetAside};
pub use finished::{finished, is_done_with_all, produce_twins};
pub use kafka::{Kafka, OpenTransaction, Seen, Sent};
pub use order::{Order, What};
pub use outbox::{Delivery, Events, Raw};
pub use private::Private;
pub use protocol::Protocol;
pub use redis::{Redis, RedisCluster, RedisOverTls, Sentinel};
pub use scene::{Produced, Scene};
pub use servers::{kafka_tool, servers};
pub use service::{Launch, Service};
pub use tell::{Told, tell};
pub use tool::Said;
pub use waiting::{PATIENCE, eventually, stays};
