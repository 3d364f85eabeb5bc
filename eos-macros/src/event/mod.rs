//! `#[derive(Event)]`: what was typed → what it means → what is printed.
//!
//! All mistakes of a struct are told together. It is an event all the same then, as far as the compiler can see, so
//! that a slip here is not told once more by each listener that takes it.

mod args;
mod expand;
mod model;

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::shared::mistakes::Mistakes;

/// The derive, on tokens that tests can make.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let item = match syn::parse2::<DeriveInput>(item) {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    match event(&item) {
        Ok(event) => expand::implementations(&event),
        Err(mistakes) => {
            let mistakes = mistakes.into_compile_error();
            let instead = item.generics.params.is_empty().then(|| expand::instead(&item.ident));
            quote!(#mistakes #instead)
        }
    }
}

fn event(item: &DeriveInput) -> syn::Result<model::Event> {
    let mut mistakes = Mistakes::default();
    let attributes = args::attributes(item, &mut mistakes);
    let event = model::Event::read(&attributes, item, &mut mistakes);
    mistakes.or(event)
}
