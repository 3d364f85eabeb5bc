//! Prints the model, and looks at nothing else.
//!
//! What is printed calls the runtime, a line each. `self` is spanned where the user's words are, so that it is the one
//! that their expressions mean.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;

use super::model::{Event, Header, Source};
use crate::shared::spans::{at, eos, ours};

/// The event, and how a listener takes it.
pub(crate) fn implementations(event: &Event) -> TokenStream {
    let (eos, this) = (eos(), this());
    let Event { name, topic, type_name, .. } = event;
    let version = match event.version {
        Some(version) => quote_spanned!(ours()=> ::core::option::Option::Some(#version)),
        None => quote_spanned!(ours()=> ::core::option::Option::None),
    };
    let key = match &event.key {
        Some(key) => bytes(key),
        None => quote_spanned!(ours()=> ::core::option::Option::None),
    };
    let headers = event.headers.iter().map(|Header { name, value }| {
        let value = bytes(value);
        quote_spanned!(ours()=> (#name, #value))
    });
    let encode = quote_spanned!(at(name)=> #eos::to_json(#this));
    let decode = quote_spanned!(at(name)=> #eos::from_json(__payload));
    let constants = quote_spanned! {ours()=>
        const TOPIC: &'static ::core::primitive::str = #topic;
        const TYPE: &'static ::core::primitive::str = #type_name;
        const VERSION: ::core::option::Option<::core::primitive::u32> = #version;
    };
    let headers = quote_spanned!(ours()=> #eos::headers([#(#headers),*]));
    let extraction = extraction(name);
    let event = methods(name, &constants, &Bodies { key, headers, encode, decode });
    quote_spanned!(ours()=> #event #extraction)
}

/// What stands in for an event that has mistakes, so that they are told once.
pub(crate) fn instead(name: &Ident) -> TokenStream {
    let none = || quote_spanned!(ours()=> ::core::unreachable!());
    let constants = quote_spanned! {ours()=>
        const TOPIC: &'static ::core::primitive::str = "";
        const TYPE: &'static ::core::primitive::str = "";
    };
    let bodies = Bodies { key: none(), headers: none(), encode: none(), decode: none() };
    let event = methods(name, &constants, &bodies);
    let extraction = extraction(name);
    quote_spanned!(ours()=> #event #extraction)
}

/// What the methods of `Event` do.
struct Bodies {
    key: TokenStream,
    headers: TokenStream,
    encode: TokenStream,
    decode: TokenStream,
}

fn methods(name: &Ident, constants: &TokenStream, bodies: &Bodies) -> TokenStream {
    let (eos, this) = (eos(), this());
    let Bodies { key, headers, encode, decode } = bodies;
    quote_spanned! {ours()=>
        #[automatically_derived]
        #[allow(deprecated, reason = "a deprecated event is one all the same")]
        impl #eos::Event for #name {
            #constants
            fn key(&#this) -> ::core::option::Option<#eos::Bytes> {
                #key
            }
            fn headers(&#this) -> #eos::Headers {
                #headers
            }
            fn encode(&#this) -> ::core::result::Result<#eos::Bytes, #eos::BoxError> {
                #encode
            }
            fn decode(__payload: &[::core::primitive::u8]) -> ::core::result::Result<Self, #eos::BoxError> {
                #decode
            }
        }
    }
}

fn extraction(name: &Ident) -> TokenStream {
    let eos = eos();
    quote_spanned! {ours()=>
        #[automatically_derived]
        #[allow(deprecated, reason = "a deprecated event is one all the same")]
        impl #eos::FromRecord for #name {
            const DEFAULT_TOPIC: ::core::option::Option<&'static ::core::primitive::str> =
                ::core::option::Option::Some(<#name as #eos::Event>::TOPIC);
            fn from_record(__delivery: &#eos::Delivery<'_>) -> ::core::result::Result<Self, #eos::Rejection> {
                #eos::event(__delivery)
            }
        }
        #[automatically_derived]
        #[allow(deprecated, reason = "a deprecated event is one all the same")]
        impl #eos::FromRecordOptional for #name {
            fn from_record_optional(
                __delivery: &#eos::Delivery<'_>
            ) -> ::core::result::Result<::core::option::Option<Self>, #eos::Rejection> {
                __delivery.event()
            }
        }
    }
}

/// The bytes of a key or of a header, where it has a value.
fn bytes(source: &Source) -> TokenStream {
    let eos = eos();
    match source {
        Source::Fields(path) => {
            let this = this();
            let place = quote_spanned!(ours()=> #this #(.#path)*);
            let words = path.last().map_or_else(ours, at);
            quote_spanned!(words=> #eos::EventValue::to_bytes(&#place))
        }
        Source::Expression(expression) => {
            quote_spanned!(at(expression)=> #eos::EventValue::to_bytes(&#expression))
        }
    }
}

fn this() -> Ident {
    Ident::new("self", Span::call_site())
}
