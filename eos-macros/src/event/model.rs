//! What it means: an event with every question answered, or all the mistakes that stand in its way.
//!
//! `words` reads the attribute's arguments, `source` what a key or a header is made of. Here is what the struct must
//! be; whether a field's type can be a key, and whether the struct can be JSON, is for rustc to say.

mod source;
mod words;

use proc_macro2::Ident;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, GenericParam, LitStr};

pub(crate) use source::Source;

use super::args::Attributes;
use crate::shared::mistakes::Mistakes;

/// One event, ready to be printed.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: Ident,
    pub(crate) topic: LitStr,
    /// `type = "…"`, or the struct's name.
    pub(crate) type_name: LitStr,
    pub(crate) version: Option<u32>,
    pub(crate) key: Option<Source>,
    pub(crate) headers: Vec<Header>,
}

/// One header of the event's own.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) name: LitStr,
    pub(crate) value: Source,
}

impl Event {
    pub(crate) fn read(attributes: &Attributes, item: &DeriveInput, mistakes: &mut Mistakes) -> Option<Self> {
        let words = words::Words::read(attributes, &source::Fields::of(item), mistakes);
        shape(item, mistakes);
        let name = &item.ident;
        Some(Event {
            name: name.clone(),
            topic: words.topic?,
            type_name: words.type_name.unwrap_or_else(|| LitStr::new(&name.unraw().to_string(), name.span())),
            version: words.version,
            key: words.key,
            headers: words.headers,
        })
    }
}

/// A struct of one type of payload, that owns what it holds.
fn shape(item: &DeriveInput, mistakes: &mut Mistakes) {
    const STRUCT: &str = "an event is a struct; derive `Event` for a struct of each case";
    match &item.data {
        Data::Struct(_) => {}
        Data::Enum(data) => mistakes.at(data.enum_token, STRUCT),
        Data::Union(data) => mistakes.at(data.union_token, STRUCT),
    }
    let generics = &item.generics;
    if generics.params.is_empty() {
        return;
    }
    let borrows = generics.params.iter().all(|param| matches!(param, GenericParam::Lifetime(_)));
    mistakes.at(
        generics.to_token_stream(),
        if borrows {
            "an event owns what it holds, since a listener takes it by value; hold a `String` in place of a `&str`"
        } else {
            "an event cannot be generic: its topic and its type name are those of one payload; write a struct for each"
        },
    );
}
