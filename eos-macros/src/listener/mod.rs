//! `#[kafka_listener]`: what was typed → what it means → what is printed.
//!
//! The user's function is emitted as it was, with mistakes and without, so that a slip in the attribute stays one
//! error. All mistakes of a call are told together.

mod args;
mod expand;
mod model;

use proc_macro2::TokenStream;
use quote::quote;

use crate::shared::arguments::each;
use crate::shared::mistakes::Mistakes;

/// The attribute, on tokens that tests can make.
pub(crate) fn attribute(arguments: TokenStream, item: &TokenStream) -> TokenStream {
    let registration = match listener(arguments, item.clone()) {
        Ok(listener) => expand::registration(&listener),
        Err(mistakes) => mistakes.into_compile_error(),
    };
    quote!(#item #registration)
}

fn listener(arguments: TokenStream, item: TokenStream) -> syn::Result<model::Listener> {
    let mut mistakes = Mistakes::default();
    let arguments = each(arguments, &mut mistakes);
    let function = args::function(item, &mut mistakes);
    let listener = model::Listener::read(&arguments, function.as_ref(), &mut mistakes);
    mistakes.or(listener)
}
