//! What the command line tool `eos` asks beside the tables. Hidden: it changes as the tool does.
//!
//! | file | what it answers |
//! |---|---|
//! | `kafka.rs` | what a cluster says of topics and groups, through the settings that a service has |

mod kafka;

pub use kafka::{Kafka, Members};
