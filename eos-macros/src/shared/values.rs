//! What stands behind an argument's `=`, and arguments that are given twice.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use syn::{Lit, LitStr};

use super::arguments::{Argument, Value};
use super::mistakes::Mistakes;
use super::text;

/// The arguments, without those that were given before.
pub(crate) fn once_each<'a>(arguments: &'a [Argument], mistakes: &mut Mistakes) -> Vec<&'a Argument> {
    let mut once: Vec<&Argument> = Vec::new();
    for argument in arguments {
        let word = argument.word();
        if once.iter().any(|earlier| earlier.word() == word) {
            mistakes.at(&argument.name, format!("`{word}` is given twice; keep one"));
        } else {
            once.push(argument);
        }
    }
    once
}

/// Says that a word is not known, and returns the one that was probably meant.
pub(crate) fn unknown<'a>(
    argument: &Argument,
    known: &[&'a str],
    place: &str,
    mistakes: &mut Mistakes,
) -> Option<&'a str> {
    let word = argument.word();
    let nearest = text::nearest(&word, known.iter().copied());
    let message = match nearest {
        Some(nearest) => format!("unknown argument `{word}`; did you mean `{nearest}`?"),
        None => {
            format!("unknown argument `{word}`; {place} takes {}", text::one_of(known.iter().copied()))
        }
    };
    mistakes.at(&argument.name, message);
    nearest
}

/// A string that passes a check.
pub(crate) fn string(
    argument: &Argument,
    example: &str,
    check: impl FnOnce(&str) -> Result<(), String>,
    mistakes: &mut Mistakes,
) -> Option<LitStr> {
    let Some(Lit::Str(text)) = argument.value.literal() else {
        wrong_kind(argument, &format!("a string in quotes: `{} = {example:?}`", argument.word()), mistakes);
        return None;
    };
    checked(text, check, mistakes).map(|()| text.clone())
}

/// A whole number within bounds.
pub(crate) fn number<N: FromStr + PartialOrd + Display>(
    argument: &Argument,
    example: &str,
    bounds: &RangeInclusive<N>,
    mistakes: &mut Mistakes,
) -> Option<N> {
    let word = argument.word();
    let Some(Lit::Int(number)) = argument.value.literal() else {
        wrong_kind(argument, &format!("a whole number: `{word} = {example}`"), mistakes);
        return None;
    };
    let within = number.base10_digits().parse().ok().filter(|value| bounds.contains(value));
    if within.is_none() {
        let (from, to) = (bounds.start(), bounds.end());
        mistakes.at(number, format!("`{word}` is a number from {from} to {to}"));
    }
    within
}

/// One of a few words in quotes.
pub(crate) fn choice<T: Copy>(
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

/// The text's value, or why it has none, told at the text.
pub(crate) fn checked<T, M: Display>(
    text: &LitStr,
    check: impl FnOnce(&str) -> Result<T, M>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    check(&text.value()).map_err(|why| mistakes.at(text, why)).ok()
}

/// Something stands there that the argument does not take.
pub(crate) fn wrong_kind(argument: &Argument, takes: &str, mistakes: &mut Mistakes) {
    let message = format!("`{}` takes {takes}", argument.word());
    match &argument.value {
        Value::Absent => mistakes.at(&argument.name, message),
        Value::Given(value) => mistakes.at(value, message),
        Value::Inside(tokens) if tokens.is_empty() => mistakes.at(&argument.name, message),
        Value::Inside(tokens) => mistakes.at(tokens, message),
    }
}
