//! The attributes of eos: text in, tokens out.
//!
//! Each attribute is a room of three: `args` says what was typed, `model` what it means, `expand` prints the model.
//! Nothing here knows Kafka or SQL; what a type can decide is decided by a trait of `eos-runtime`, which tests the examples
//! in `docs` (its `attributes.rs` says why).

mod event;
mod listener;
mod outbox;
mod shared;

use proc_macro::TokenStream;

#[cfg_attr(not(doctest), doc = include_str!("../docs/kafka_listener.md"))]
#[proc_macro_attribute]
pub fn kafka_listener(arguments: TokenStream, item: TokenStream) -> TokenStream {
    listener::attribute(arguments.into(), &item.into()).into()
}

#[cfg_attr(not(doctest), doc = include_str!("../docs/event.md"))]
#[proc_macro_derive(Event, attributes(event))]
pub fn event(item: TokenStream) -> TokenStream {
    event::derive(item.into()).into()
}

#[cfg_attr(not(doctest), doc = include_str!("../docs/outbox.md"))]
#[proc_macro_attribute]
pub fn outbox(arguments: TokenStream, item: TokenStream) -> TokenStream {
    outbox::attribute(arguments.into(), item.into()).into()
}
