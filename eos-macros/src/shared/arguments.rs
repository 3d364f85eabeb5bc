//! The arguments of an attribute, as they were typed.
//!
//! They are split at their commas first, so that one that does not parse does not hide the others.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, Lit, Token, parse2, token};

use super::mistakes::Mistakes;

/// One argument: `name`, `name = value` or `name(…)`.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) value: Value,
}

/// What followed an argument's name.
#[derive(Debug)]
pub(crate) enum Value {
    /// Nothing, or a bare `=`.
    Absent,
    /// `= value`.
    Given(Expr),
    /// `(…)`.
    Inside(TokenStream),
}

impl Argument {
    /// The name as it is known, without `r#`.
    pub(crate) fn word(&self) -> String {
        self.name.unraw().to_string()
    }
}

impl Value {
    /// The literal after `=`, also one that came through a `macro_rules!` variable.
    pub(crate) fn literal(&self) -> Option<&Lit> {
        match self {
            Value::Given(expression) => literal(expression),
            Value::Absent | Value::Inside(_) => None,
        }
    }
}

/// The literal that an expression is, if it is one.
pub(crate) fn literal(expression: &Expr) -> Option<&Lit> {
    if let Expr::Group(group) = expression {
        return literal(&group.expr);
    }
    if let Expr::Lit(literal) = expression { Some(&literal.lit) } else { None }
}

/// What stands between the commas of an attribute, or of an argument's parentheses; what does not parse is told.
pub(crate) fn each<T: Parse>(tokens: TokenStream, mistakes: &mut Mistakes) -> Vec<T> {
    let mut arguments = Vec::new();
    let mut one = TokenStream::new();
    for token in tokens {
        match &token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => {
                if one.is_empty() {
                    mistakes.at(comma, "an argument is missing before this comma");
                } else {
                    arguments.extend(mistakes.note(parse2(std::mem::take(&mut one))));
                }
            }
            TokenTree::Punct(_) | TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => {
                one.extend([token]);
            }
        }
    }
    if !one.is_empty() {
        arguments.extend(mistakes.note(parse2(one)));
    }
    arguments
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        const FORMS: &str = "an argument is `name`, `name = value` or `name(…)`";
        if input.peek(Lit) {
            return Err(input.error("say what this is: `topic = \"…\"`"));
        }
        let name = Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), FORMS))?;
        let value = if input.peek(token::Paren) {
            let inside;
            syn::parenthesized!(inside in input);
            Value::Inside(inside.parse()?)
        } else if input.parse::<Option<Token![=]>>()?.is_some() && !input.is_empty() {
            Value::Given(input.parse()?)
        } else {
            Value::Absent
        };
        if input.is_empty() {
            return Ok(Argument { name, value });
        }
        match value {
            Value::Absent => Err(input.error(format!("`{name}` takes its value after `=`: `{name} = …`"))),
            Value::Given(_) | Value::Inside(_) => Err(input.error("a comma is missing before this")),
        }
    }
}
