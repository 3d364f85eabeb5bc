//! What the command line tool `eos` asks beside the tables. Hidden: it changes as the tool does.
//!
//! | file | what it answers |
//! |---|---|
//! | `settings.rs` | what a service would find in its settings, and where its databases are |
//! | `database.rs` | whether a database is fit |
//! | `kafka.rs` | what a cluster says of topics and groups, through the settings that a service has |

mod database;
mod kafka;
mod settings;

pub use crate::finding::{Finding, Health};
pub use database::{CheckDatabase, awaited_topics, check_database};
pub use kafka::{Kafka, Members};
pub use settings::{Place, Settings};
