//! `#[outbox]`: what was typed → what it means → what is printed.
//!
//! All mistakes of a call are told together. Where they are in the attribute's arguments, the method is printed all the
//! same, with the defaults in their place, so that its callers are not told that they pass a pool; where they are in its
//! shape, the user's function is emitted as it was.

mod args;
mod expand;
mod model;

use proc_macro2::TokenStream;
use quote::quote;

use crate::shared::mistakes::Mistakes;

/// The attribute, on tokens that tests can make.
pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let method = method(arguments, item.clone(), &mut mistakes);
    let item = method.map_or(item, |method| expand::method(&method));
    let mistakes = mistakes.told();
    quote!(#item #mistakes)
}

/// The method, if its shape is that of one.
fn method(arguments: TokenStream, item: TokenStream, mistakes: &mut Mistakes) -> Option<model::Method> {
    let arguments = args::arguments(arguments, mistakes);
    let function = args::function(item, mistakes);
    model::Method::read(&arguments, function, mistakes)
}
