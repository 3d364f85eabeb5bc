//! The attributes of eos: text in, tokens out.

use proc_macro::TokenStream;

/// Registers an async fn as a consumer.
#[proc_macro_attribute]
pub fn kafka_listener(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    item
}
