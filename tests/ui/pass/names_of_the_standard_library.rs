//! Modules and types that hide the ones that the generated code means.

use ::eos_runtime::prelude::{kafka_listener, outbox};

mod core {}
mod std {}
mod inventory {}
mod eos_runtime {}

struct Box;
struct Option;
struct Some;
struct None;
struct Result;
struct Ok;
struct Err;
struct Duration;
struct Pin;
struct Send;

#[expect(non_camel_case_types, reason = "to hide what is not an item")]
struct str;
#[expect(non_camel_case_types, reason = "to hide what is not an item")]
struct u8;
#[expect(non_camel_case_types, reason = "to hide what is not an item")]
struct u32;

#[derive(::eos_runtime::Event)]
#[event(topic = "std.event", key = key, version = 1, headers(key = key))]
struct Event {
    key: ::core::primitive::u64,
}

impl ::serde::Serialize for Event {
    fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.key)
    }
}

impl<'de> ::serde::Deserialize<'de> for Event {
    fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
        <::core::primitive::u64 as ::serde::Deserialize>::deserialize(deserializer).map(|key| Event { key })
    }
}

#[kafka_listener(group = "std")]
async fn on_event(_: Event) -> ::eos_runtime::HandlerResult {
    let _ = (str, u8, u32);
    ::std::result::Result::Ok(())
}

#[kafka_listener(topic = "std", group = "std", deadline = "1s")]
async fn on_order(_: &::eos_runtime::Record) -> ::eos_runtime::HandlerResult {
    let _ = (Box, Option, Some, None, Result, Ok, Err, Duration, Pin, Send);
    ::std::result::Result::Ok(())
}

#[outbox(isolation = "serializable", retries = 1)]
async fn publish(
    tx: &mut ::eos_runtime::PgTx,
    event: ::std::string::String,
) -> ::std::result::Result<(), ::eos_runtime::TxError> {
    ::core::mem::drop((tx, event));
    ::std::result::Result::Ok(())
}
