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
            // In parentheses, since `&` binds more tightly than most operators.
            quote_spanned!(at(expression)=> #eos::EventValue::to_bytes(&(#expression)))
        }
    }
}

fn this() -> Ident {
    Ident::new("self", Span::call_site())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use quote::quote;

    use super::*;

    /// Names are shown without their path, which is always the same.
    fn printed(tokens: &TokenStream, expected: &Expect) {
        let text = tokens.to_string().replace(&eos().to_string(), "");
        let text = text.replace(":: core :: option ::", "").replace(":: core :: result ::", "");
        let file = syn::parse_str(&text.replace(":: core :: primitive ::", "")).expect("items");
        expected.assert_eq(&prettyplease::unparse(&file));
    }

    #[test]
    fn an_event_with_everything() {
        let item = syn::parse2(quote! {
            #[event(topic = "${region:eu}.order", type = "Placed", version = 2)]
            #[event(key = order.id, headers(tenant = tenant, "x-source" = "shop", cents = self.cents()))]
            struct OrderPlaced { order: Order, tenant: String }
        });
        let event = super::super::event(&item.expect("a struct")).expect("an event without mistakes");
        printed(
            &implementations(&event),
            &expect![[r##"
                #[automatically_derived]
                #[allow(deprecated, reason = "a deprecated event is one all the same")]
                impl ::Event for OrderPlaced {
                    const TOPIC: &'static str = "${region:eu}.order";
                    const TYPE: &'static str = "Placed";
                    const VERSION: Option<u32> = Option::Some(2u32);
                    fn key(&self) -> Option<::Bytes> {
                        ::EventValue::to_bytes(&self.order.id)
                    }
                    fn headers(&self) -> ::Headers {
                        ::headers([
                            ("tenant", ::EventValue::to_bytes(&self.tenant)),
                            ("x-source", ::EventValue::to_bytes(&("shop"))),
                            ("cents", ::EventValue::to_bytes(&(self.cents()))),
                        ])
                    }
                    fn encode(&self) -> Result<::Bytes, ::BoxError> {
                        ::to_json(self)
                    }
                    fn decode(__payload: &[u8]) -> Result<Self, ::BoxError> {
                        ::from_json(__payload)
                    }
                }
                #[automatically_derived]
                #[allow(deprecated, reason = "a deprecated event is one all the same")]
                impl ::FromRecord for OrderPlaced {
                    const DEFAULT_TOPIC: Option<&'static str> = Option::Some(
                        <OrderPlaced as ::Event>::TOPIC,
                    );
                    fn from_record(__delivery: &::Delivery<'_>) -> Result<Self, ::Rejection> {
                        ::event(__delivery)
                    }
                }
                #[automatically_derived]
                #[allow(deprecated, reason = "a deprecated event is one all the same")]
                impl ::FromRecordOptional for OrderPlaced {
                    fn from_record_optional(
                        __delivery: &::Delivery<'_>,
                    ) -> Result<Option<Self>, ::Rejection> {
                        __delivery.event()
                    }
                }
            "##]],
        );
    }

    #[test]
    fn an_event_with_mistakes_is_one_all_the_same() {
        printed(
            &instead(&Ident::new("OrderPlaced", Span::call_site())),
            &expect![[r##"
            #[automatically_derived]
            #[allow(deprecated, reason = "a deprecated event is one all the same")]
            impl ::Event for OrderPlaced {
                const TOPIC: &'static str = "";
                const TYPE: &'static str = "";
                fn key(&self) -> Option<::Bytes> {
                    ::core::unreachable!()
                }
                fn headers(&self) -> ::Headers {
                    ::core::unreachable!()
                }
                fn encode(&self) -> Result<::Bytes, ::BoxError> {
                    ::core::unreachable!()
                }
                fn decode(__payload: &[u8]) -> Result<Self, ::BoxError> {
                    ::core::unreachable!()
                }
            }
            #[automatically_derived]
            #[allow(deprecated, reason = "a deprecated event is one all the same")]
            impl ::FromRecord for OrderPlaced {
                const DEFAULT_TOPIC: Option<&'static str> = Option::Some(
                    <OrderPlaced as ::Event>::TOPIC,
                );
                fn from_record(__delivery: &::Delivery<'_>) -> Result<Self, ::Rejection> {
                    ::event(__delivery)
                }
            }
            #[automatically_derived]
            #[allow(deprecated, reason = "a deprecated event is one all the same")]
            impl ::FromRecordOptional for OrderPlaced {
                fn from_record_optional(
                    __delivery: &::Delivery<'_>,
                ) -> Result<Option<Self>, ::Rejection> {
                    __delivery.event()
                }
            }
        "##]],
        );
    }
}
