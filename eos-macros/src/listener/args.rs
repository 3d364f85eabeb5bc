//! What was typed: the signature of the function below the attribute, without a thought on what it means.
//!
//! The function's body is never parsed: it may use syntax that is newer than this crate. What was typed between the
//! attribute's parentheses is read by `shared::arguments`.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Signature, Visibility, parse2, token};

use crate::shared::mistakes::Mistakes;

/// The signature of the async fn that stands below the attribute.
pub(crate) fn function(item: TokenStream, mistakes: &mut Mistakes) -> Option<Signature> {
    mistakes.note(parse2::<Function>(item)).map(|function| function.signature)
}

struct Function {
    signature: Signature,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        for attribute in input.call(Attribute::parse_outer)? {
            if attribute.path().segments.last().is_some_and(|last| last.ident == "outbox") {
                return Err(syn::Error::new_spanned(
                    attribute,
                    "a listener has its transaction already; take `#[outbox]` away, and publish with \
                     `tx.publish(&event).await?`",
                ));
            }
        }
        input.parse::<Visibility>()?;
        let first = input.span();
        let not_a_function = |_| syn::Error::new(first, "`#[kafka_listener]` stands on an `async fn`");
        let signature = input.parse::<Signature>().map_err(not_a_function)?;
        if !input.peek(token::Brace) {
            return Err(syn::Error::new(first, "`#[kafka_listener]` stands on an `async fn` with a body"));
        }
        input.parse::<TokenStream>()?;
        Ok(Function { signature })
    }
}
