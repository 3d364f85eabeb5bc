//! What stands behind the `=` of a listener's arguments: read as the kind that the argument takes, or told what it takes.

use std::str::FromStr;

use syn::{Expr, Lit, LitStr};

use super::text::milliseconds;
use crate::shared::arguments::{self, Argument, Value};
use crate::shared::mistakes::Mistakes;
use crate::shared::text;
use crate::shared::values::{checked, string, wrong_kind};

/// `topic = "…"` or `topics = […]`.
pub(super) fn topics(argument: &Argument, mistakes: &mut Mistakes) -> Vec<LitStr> {
    if argument.word() == "topic" {
        if let Value::Given(list @ Expr::Array(_)) = &argument.value {
            mistakes.at(list, "`topic` takes one; for several write `topics = [\"…\", \"…\"]`");
            return Vec::new();
        }
        return string(argument, "event.order", text::topic, mistakes).into_iter().collect();
    }
    let Value::Given(Expr::Array(list)) = &argument.value else {
        wrong_kind(argument, "a list: `topics = [\"event.order\", \"event.payment\"]`", mistakes);
        return Vec::new();
    };
    if list.elems.is_empty() {
        mistakes.at(list, "a listener of no topic; name one at least");
    }
    let mut topics: Vec<LitStr> = Vec::new();
    for element in &list.elems {
        let Some(Lit::Str(topic)) = arguments::literal(element) else {
            mistakes.at(element, "`topics` takes strings: `topics = [\"event.order\", \"event.payment\"]`");
            continue;
        };
        if topics.iter().any(|earlier| earlier.value() == topic.value()) {
            mistakes.at(topic, format!("`{}` stands here twice; keep one", topic.value()));
        } else {
            checked(topic, text::topic, mistakes);
            topics.push(topic.clone());
        }
    }
    topics
}

/// A duration in quotes, as milliseconds.
pub(super) fn deadline(argument: &Argument, mistakes: &mut Mistakes) -> Option<u64> {
    let Some(Lit::Str(text)) = argument.value.literal() else {
        wrong_kind(argument, "a duration in quotes: `deadline = \"30s\"`", mistakes);
        return None;
    };
    checked(text, milliseconds, mistakes)
}

/// A number from 1.
pub(super) fn concurrency(argument: &Argument, mistakes: &mut Mistakes) -> Option<u16> {
    let Some(Lit::Int(number)) = argument.value.literal() else {
        wrong_kind(argument, "a whole number: `concurrency = 4`", mistakes);
        return None;
    };
    match u16::from_str(number.base10_digits()) {
        Ok(1..) => {}
        Ok(0) | Err(_) => mistakes.at(number, format!("`concurrency` is a number from 1 to {}", u16::MAX)),
    }
    number.base10_parse().ok()
}

/// One of a few words in quotes.
pub(super) fn choice<T: Copy>(
    argument: &Argument,
    choices: &[(&str, T)],
    mistakes: &mut Mistakes,
) -> Option<T> {
    let words = || choices.iter().map(|(word, _)| *word);
    let Some(Lit::Str(given)) = argument.value.literal() else {
        wrong_kind(argument, &format!("one of these in quotes: {}", text::one_of(words())), mistakes);
        return None;
    };
    let chosen = choices.iter().find(|(word, _)| *word == given.value()).map(|&(_, choice)| choice);
    if chosen.is_none() {
        let name = argument.word();
        let meant = text::nearest(&given.value(), words()).map_or_else(
            || format!("it is {}", text::one_of(words())),
            |near| format!("did you mean `{near}`?"),
        );
        mistakes.at(given, format!("unknown {name} `{}`; {meant}", given.value()));
    }
    chosen
}
