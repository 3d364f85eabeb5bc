//! The attributes of eos: text in, tokens out.
//!
//! Each attribute is a room of three: `args` says what was typed, `model` what it means, `expand` prints the model.
//! Nothing here knows Kafka or SQL; what a type can decide is decided by a trait of `eos-runtime`.

mod listener;

use proc_macro::TokenStream;

/// Registers an async fn as a listener.
#[proc_macro_attribute]
pub fn kafka_listener(arguments: TokenStream, item: TokenStream) -> TokenStream {
    listener::attribute(arguments.into(), &item.into()).into()
}
