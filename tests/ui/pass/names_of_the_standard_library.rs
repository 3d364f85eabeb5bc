//! Modules and types that hide the ones that the generated code means.

use ::eos_runtime::prelude::kafka_listener;

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

#[kafka_listener(topic = "std", group = "std", deadline = "1s")]
async fn on_order(_: &::eos_runtime::Record) -> ::eos_runtime::HandlerResult {
    let _ = (Box, Option, Some, None, Result, Ok, Err, Duration, Pin, Send);
    ::std::result::Result::Ok(())
}
