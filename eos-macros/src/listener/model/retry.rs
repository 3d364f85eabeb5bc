//! What happens to a record whose handler fails: `retry(…)` and `dead_letter = …`.

use std::ops::RangeInclusive;

use syn::{Expr, Lit};

use super::places::{OF_RETRY, misplaced};
use super::values::duration;
use super::{DeadLetters, Retry};
use crate::shared::arguments::{Argument, Value, each, literal};
use crate::shared::mistakes::Mistakes;
use crate::shared::text;
use crate::shared::values::{checked, choice, number, once_each, wrong_kind};

impl Retry {
    pub(super) fn read(argument: &Argument, mistakes: &mut Mistakes) -> Self {
        let Value::Inside(tokens) = &argument.value else {
            wrong_kind(
                argument,
                "its values in parentheses: `retry(max = 5, backoff = \"200ms\")`",
                mistakes,
            );
            return Retry::default();
        };
        let inside = each(tokens.clone(), mistakes);
        if inside.is_empty() && mistakes.is_empty() {
            wrong_kind(argument, "one value at least: `retry(max = 5, backoff = \"200ms\")`", mistakes);
        }
        let mut retry = Retry::default();
        for argument in once_each(&inside, mistakes) {
            match argument.word().as_str() {
                "max" => retry.max = number(argument, "5", &(1..=1_000_000), mistakes),
                "backoff" => retry.backoff_ms = duration(argument, "200ms", mistakes),
                "factor" => retry.factor = decimal(argument, "2", &(1.0..=100.0), mistakes),
                "max_backoff" => retry.max_backoff_ms = duration(argument, "10s", mistakes),
                "jitter" => retry.jitter = decimal(argument, "0.2", &(0.0..=1.0), mistakes),
                _ => {
                    misplaced(argument, &OF_RETRY, "`retry(…)`", mistakes);
                }
            }
        }
        if let (Some(first), Some(longest)) = (retry.backoff_ms, retry.max_backoff_ms)
            && longest < first
        {
            mistakes.at(
                &argument.name,
                "`max_backoff`, the longest wait, is shorter than `backoff`, the first one",
            );
        }
        retry
    }
}

impl DeadLetters {
    pub(super) fn read(argument: &Argument, mistakes: &mut Mistakes) -> Self {
        const TAKES: &str = "`topic`, `topic(\"…\")`, `\"table\"` or `\"off\"`";
        match &argument.value {
            Value::Given(Expr::Path(path)) if path.path.is_ident("topic") => DeadLetters::Topic(None),
            Value::Given(Expr::Call(call)) if is_topic(&call.func) => match call.args.first() {
                Some(name) if call.args.len() == 1 => match literal(name) {
                    Some(Lit::Str(name)) if checked(name, text::topic, mistakes).is_some() => {
                        DeadLetters::Topic(Some(name.clone()))
                    }
                    Some(Lit::Str(_)) => DeadLetters::Usual,
                    _ => {
                        mistakes.at(name, "the topic's name stands in quotes: `topic(\"event.order-dlt\")`");
                        DeadLetters::Usual
                    }
                },
                Some(_) | None => {
                    mistakes.at(call, "one name stands in the parentheses: `topic(\"event.order-dlt\")`");
                    DeadLetters::Usual
                }
            },
            Value::Given(Expr::Path(_) | Expr::Call(_)) => {
                wrong_kind(argument, TAKES, mistakes);
                DeadLetters::Usual
            }
            Value::Absent | Value::Inside(_) => {
                wrong_kind(argument, TAKES, mistakes);
                DeadLetters::Usual
            }
            Value::Given(_) => match choice(argument, &WORDS, mistakes) {
                Some(Word::Table) => DeadLetters::Table,
                Some(Word::Off) => DeadLetters::Off,
                None => DeadLetters::Usual,
            },
        }
    }
}

fn is_topic(function: &Expr) -> bool {
    matches!(function, Expr::Path(path) if path.path.is_ident("topic"))
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Table,
    Off,
}

const WORDS: [(&str, Word); 2] = [("table", Word::Table), ("off", Word::Off)];

/// A number, whole or not, within bounds.
fn decimal(
    argument: &Argument,
    example: &str,
    bounds: &RangeInclusive<f64>,
    mistakes: &mut Mistakes,
) -> Option<f64> {
    let word = argument.word();
    let (value, at) = match argument.value.literal() {
        Some(Lit::Float(number)) => (number.base10_parse::<f64>().ok(), number.span()),
        Some(Lit::Int(number)) => (number.base10_parse::<f64>().ok(), number.span()),
        _ => {
            wrong_kind(argument, &format!("a number: `{word} = {example}`"), mistakes);
            return None;
        }
    };
    let within = value.filter(|value| bounds.contains(value));
    if within.is_none() {
        mistakes.at_span(at, format!("`{word}` is a number from {} to {}", bounds.start(), bounds.end()));
    }
    within
}
