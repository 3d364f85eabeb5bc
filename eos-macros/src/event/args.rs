//! What was typed: the arguments of `#[event(…)]`, and the names of headers inside of it.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Lit, LitStr, Meta, Token};

use crate::shared::arguments::{Argument, each};
use crate::shared::mistakes::Mistakes;

/// All that stands in the `#[event(…)]` of a struct, of which there may be several.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) arguments: Vec<Argument>,
    /// The first one, or the derive itself where there is none.
    pub(crate) at: Span,
    /// Whether every argument could be read.
    pub(crate) all_understood: bool,
}

/// One header: `name = value`.
#[derive(Debug)]
pub(crate) struct Header {
    /// As a text, where it was written without quotes too.
    pub(crate) name: LitStr,
    pub(crate) value: Expr,
}

pub(crate) fn attributes(item: &DeriveInput, mistakes: &mut Mistakes) -> Attributes {
    misplaced(item, mistakes);
    let mut read =
        Attributes { arguments: Vec::new(), at: Span::call_site(), all_understood: mistakes.is_empty() };
    for (index, attribute) in ours(&item.attrs).enumerate() {
        if index == 0 {
            read.at = attribute.span();
        }
        match &attribute.meta {
            Meta::List(list) => {
                let before = mistakes.len();
                read.arguments.extend(each(list.tokens.clone(), mistakes));
                read.all_understood &= mistakes.len() == before;
            }
            Meta::Path(_) | Meta::NameValue(_) => {
                mistakes.at(attribute, "its arguments stand in parentheses: `#[event(topic = \"…\")]`");
                read.all_understood = false;
            }
        }
    }
    read
}

/// `#[event(…)]` where it has no meaning: on a field or on an enum's case.
fn misplaced(item: &DeriveInput, mistakes: &mut Mistakes) {
    let mut told = |attributes: &[Attribute]| {
        for attribute in ours(attributes) {
            mistakes.at(
                attribute,
                "`#[event(…)]` stands on the struct, and names its fields: `#[event(…, key = order_id)]`",
            );
        }
    };
    match &item.data {
        Data::Struct(data) => data.fields.iter().for_each(|field| told(&field.attrs)),
        Data::Enum(data) => {
            for variant in &data.variants {
                told(&variant.attrs);
                variant.fields.iter().for_each(|field| told(&field.attrs));
            }
        }
        Data::Union(data) => data.fields.named.iter().for_each(|field| told(&field.attrs)),
    }
}

fn ours(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("event"))
}

impl Parse for Header {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        const FORMS: &str = "a header is `name = value`: a field, an expression or a text in quotes";
        let name = if input.peek(Lit) {
            input.parse::<LitStr>().map_err(|error| syn::Error::new(error.span(), FORMS))?
        } else {
            let name = Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), FORMS))?;
            LitStr::new(&name.unraw().to_string(), name.span())
        };
        if input.peek(Token![-]) || input.peek(Token![.]) {
            return Err(input.error(format!(
                "a header's name with other than letters, digits and `_` is in quotes: `\"{}-…\" = …`",
                name.value()
            )));
        }
        if input.is_empty() {
            let message = format!("{FORMS}: `{} = …`", name.to_token_stream());
            return Err(syn::Error::new(name.span(), message));
        }
        input.parse::<Token![=]>().map_err(|error| syn::Error::new(error.span(), FORMS))?;
        if input.is_empty() {
            let message = format!("which value? a header is `{} = …`", name.to_token_stream());
            return Err(syn::Error::new(name.span(), message));
        }
        let value = input.parse()?;
        if input.is_empty() {
            Ok(Header { name, value })
        } else {
            Err(input.error("a comma is missing before this"))
        }
    }
}
