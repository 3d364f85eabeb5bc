//! What was typed: the async fn below the attribute, its body as it is, and what stood in the attribute's parentheses.
//!
//! The body is never parsed: it may use syntax that is newer than this crate.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Lit, Signature, Token, Visibility, braced, parse2, token};

use crate::shared::arguments::{Argument, each};
use crate::shared::mistakes::Mistakes;

/// The function, in its parts.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Body,
}

/// What stands between its braces.
#[derive(Debug)]
pub(crate) struct Body {
    /// `#![…]` at its beginning.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) statements: TokenStream,
    /// Where it stands.
    pub(crate) span: Span,
}

/// The attribute's arguments.
pub(crate) fn arguments(tokens: TokenStream, mistakes: &mut Mistakes) -> Vec<Argument> {
    each::<Word>(tokens, mistakes).into_iter().map(|Word(argument)| argument).collect()
}

/// The async fn that stands below the attribute.
pub(crate) fn function(item: TokenStream, mistakes: &mut Mistakes) -> Option<Function> {
    mistakes.note(parse2(item))
}

/// An argument of this attribute, which takes none without its name.
struct Word(Argument);

impl Parse for Word {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(Lit) {
            return Err(input.error("say what this is: `isolation = \"…\"` or `retries = …`"));
        }
        input.parse().map(Word)
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let first = input.span();
        let not_a_function = |_| syn::Error::new(first, "`#[outbox]` stands on an `async fn`");
        let signature: Signature = input.parse().map_err(not_a_function)?;
        if input.peek(Token![;]) {
            return Err(without_body(&signature));
        }
        if !input.peek(token::Brace) {
            return Err(syn::Error::new(first, "`#[outbox]` stands on an `async fn` with a body"));
        }
        Ok(Function { attributes, visibility, signature, body: input.parse()? })
    }
}

impl Parse for Body {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let inside;
        let braces = braced!(inside in input);
        Ok(Body {
            attributes: inside.call(Attribute::parse_inner)?,
            statements: inside.parse()?,
            span: braces.span.join(),
        })
    }
}

/// A trait's declaration: its shape is everybody's, and the transaction is begun by one body.
fn without_body(signature: &Signature) -> syn::Error {
    let name = &signature.ident;
    let message = format!(
        "`#[outbox]` stands on an `async fn` with a body; take it away here, put it on a method of the type's own, and \
         call that one from the trait's `{name}`"
    );
    syn::Error::new(Span::call_site(), message)
}
