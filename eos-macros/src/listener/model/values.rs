//! What stands behind the `=` of a listener's arguments: read as the kind that the argument takes, or told what it takes.

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
pub(super) fn duration(argument: &Argument, example: &str, mistakes: &mut Mistakes) -> Option<u64> {
    let Some(Lit::Str(text)) = argument.value.literal() else {
        wrong_kind(argument, &format!("a duration in quotes: `{} = {example:?}`", argument.word()), mistakes);
        return None;
    };
    checked(text, milliseconds, mistakes)
}
