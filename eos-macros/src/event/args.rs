//! What was typed: the arguments of `#[event(…)]`, and the names of headers inside of it.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Data, DeriveInput, Expr, Lit, LitStr, Meta, Token};

use crate::shared::arguments::{Argument, each};
use crate::shared::mistakes::Mistakes;

/// All that stands in the `#[event(…)]` of a struct, of which there may be several.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) arguments: Vec<Argument>,
    /// The first one, for what is missing in it.
    pub(crate) first: Option<Attribute>,
    /// Whether every argument could be read.
    pub(crate) all_understood: bool,
}

/// One header: `name = value`.
#[derive(Debug)]
pub(crate) struct Header {
    /// As a text, also where it was written without quotes.
    pub(crate) name: LitStr,
    pub(crate) value: Expr,
}

pub(crate) fn attributes(item: &DeriveInput, mistakes: &mut Mistakes) -> Attributes {
    misplaced(item, mistakes);
    let first = ours(&item.attrs).next().cloned();
    let all_understood = first.is_some() || mistakes.is_empty();
    let mut read = Attributes { arguments: Vec::new(), first, all_understood };
    for attribute in ours(&item.attrs) {
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
        const FORMS: &str =
            "a header is `name = value`, where the value is a field, an expression or a text in quotes";
        let quoted = input.peek(Lit);
        let name = if quoted {
            input.parse::<LitStr>().map_err(|error| syn::Error::new(error.span(), FORMS))?
        } else {
            let name = Ident::parse_any(input).map_err(|error| syn::Error::new(error.span(), FORMS))?;
            LitStr::new(&name.unraw().to_string(), name.span())
        };
        let word = name.value();
        if !quoted && (input.peek(Token![-]) || input.peek(Token![.])) {
            return Err(input.error(format!(
                "a header's name with other than letters, digits and `_` is in quotes: `\"{word}-…\" = …`"
            )));
        }
        let equals = input.parse::<Option<Token![=]>>()?;
        let word = if quoted { format!("{word:?}") } else { word };
        if input.is_empty() {
            return Err(syn::Error::new(name.span(), format!("which value? a header is `{word} = …`")));
        }
        if equals.is_none() {
            return Err(input.error(format!("`{word}` takes its value after `=`: `{word} = …`")));
        }
        let value = input.parse()?;
        if input.is_empty() {
            Ok(Header { name, value })
        } else {
            Err(input.error("a comma is missing before this"))
        }
    }
}
