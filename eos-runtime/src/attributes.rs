//! The examples in the documentation of the attributes, tested here because they need this crate.
//!
//! `eos-macros` runs within the compiler. Were its examples tested where they stand, they would be built for that side,
//! and so would all of this crate's dependencies, once more.

#[doc = include_str!("../../eos-macros/docs/kafka_listener.md")]
mod kafka_listener {}

#[doc = include_str!("../../eos-macros/docs/event.md")]
mod event {}

#[doc = include_str!("../../eos-macros/docs/outbox.md")]
mod outbox {}
