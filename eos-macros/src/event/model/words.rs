//! The arguments of `#[event(…)]`: which there are, and what each takes.

use std::str::FromStr;

use proc_macro2::Span;
use syn::{Lit, LitStr};

use super::super::args::{self, Attributes};
use super::Header;
use super::source::{Fields, Source};
use crate::shared::arguments::{Argument, Value, each};
use crate::shared::mistakes::Mistakes;
use crate::shared::text;
use crate::shared::values::{checked, once_each, string, unknown, wrong_kind};

const KNOWN: [&str; 5] = ["topic", "key", "type", "version", "headers"];

/// Headers that are written and read by eos itself, and what to say of them.
const NOT_OURS: [(&str, &str); 2] = [
    ("type", "the header `type` is the event's type; write `type = \"…\"` beside `headers`"),
    (
        "message-id",
        "the header `message-id` is the record's own id, by which duplicates are known; take another name",
    ),
];

/// The arguments' values.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) topic: Option<LitStr>,
    pub(super) key: Option<Source>,
    pub(super) type_name: Option<LitStr>,
    pub(super) version: Option<u32>,
    pub(super) headers: Vec<Header>,
}

impl Words {
    pub(super) fn read(attributes: &Attributes, fields: &Fields, mistakes: &mut Mistakes) -> Self {
        let mut words = Words::default();
        let mut topic_told = !attributes.all_understood;
        for argument in once_each(&attributes.arguments, mistakes) {
            match argument.word().as_str() {
                "topic" => {
                    topic_told = true;
                    words.topic = string(argument, "event.order", text::topic, mistakes);
                }
                "key" => words.key = key(argument, fields, mistakes),
                "type" => words.type_name = string(argument, "OrderPlaced", text::name, mistakes),
                "version" => words.version = version(argument, mistakes),
                "headers" => words.headers = headers(argument, fields, mistakes),
                _ => topic_told |= unknown(argument, &KNOWN, "an event", mistakes) == Some("topic"),
            }
        }
        if !topic_told {
            const MISSING: &str = "which topic? write `#[event(topic = \"…\")]`";
            match &attributes.first {
                Some(attribute) => mistakes.at(attribute, MISSING),
                None => mistakes.at_span(Span::call_site(), MISSING),
            }
        }
        words
    }
}

fn key(argument: &Argument, fields: &Fields, mistakes: &mut Mistakes) -> Option<Source> {
    match &argument.value {
        Value::Given(expression) if argument.value.literal().is_none() => {
            Source::read(expression, "a key", fields, mistakes)
        }
        Value::Given(_) | Value::Absent | Value::Inside(_) => {
            let example = match argument.value.literal() {
                Some(Lit::Str(quoted)) if fields.has(&quoted.value()) => quoted.value(),
                Some(_) | None => fields.example(),
            };
            let takes = format!("a field or an expression, without quotes: `key = {example}`");
            wrong_kind(argument, &takes, mistakes);
            None
        }
    }
}

/// A number from 1.
fn version(argument: &Argument, mistakes: &mut Mistakes) -> Option<u32> {
    let Some(Lit::Int(number)) = argument.value.literal() else {
        wrong_kind(argument, "a whole number: `version = 2`", mistakes);
        return None;
    };
    match u32::from_str(number.base10_digits()) {
        Ok(version @ 1..) => Some(version),
        Ok(0) | Err(_) => {
            mistakes.at(number, format!("`version` is a number from 1 to {}", u32::MAX));
            None
        }
    }
}

fn headers(argument: &Argument, fields: &Fields, mistakes: &mut Mistakes) -> Vec<Header> {
    let Value::Inside(tokens) = &argument.value else {
        wrong_kind(
            argument,
            "them in parentheses: `headers(tenant = tenant_id, \"x-source\" = \"shop\")`",
            mistakes,
        );
        return Vec::new();
    };
    let mut headers: Vec<Header> = Vec::new();
    for args::Header { name, value } in each(tokens.clone(), mistakes) {
        if headers.iter().any(|earlier| earlier.name.value() == name.value()) {
            mistakes.at(&name, format!("the header `{}` is given twice; keep one", name.value()));
            continue;
        }
        checked(&name, header_name, mistakes);
        if let Some(value) = Source::read(&value, "a header", fields, mistakes) {
            headers.push(Header { name, value });
        }
    }
    headers
}

fn header_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a header's name cannot be empty".to_owned());
    }
    text::name(name)?;
    match NOT_OURS.iter().find(|(known, _)| *known == name) {
        Some((_, why)) => Err((*why).to_owned()),
        None => Ok(()),
    }
}
