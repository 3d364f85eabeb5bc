//! What stands behind an argument's `=`, and arguments that are given twice.

use std::fmt::Display;

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
