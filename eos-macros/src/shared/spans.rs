//! Whose word it is: ours, which cannot meet the user's, or the user's, at which rustc points.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;

/// Everything that generated code may name.
pub(crate) fn eos() -> TokenStream {
    quote_spanned!(ours()=> ::eos_runtime::__private)
}

/// Where the user's words are, with names that stay ours.
pub(crate) fn at(words: &impl Spanned) -> Span {
    words.span().resolved_at(ours())
}

/// Where names of ours are: at the macro.
pub(crate) fn ours() -> Span {
    Span::mixed_site()
}
