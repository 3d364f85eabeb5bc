//! Types as they were typed.

use proc_macro2::{TokenStream, TokenTree};
use syn::Type;

/// The type without parentheses, and without the invisible group around a `macro_rules!` variable.
pub(crate) fn plain(ty: &Type) -> &Type {
    if let Type::Group(group) = ty {
        return plain(&group.elem);
    }
    if let Type::Paren(parenthesised) = ty { plain(&parenthesised.elem) } else { ty }
}

/// Whether `impl …` stands anywhere in it.
pub(crate) fn mentions_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "impl",
        TokenTree::Group(group) => mentions_impl(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
