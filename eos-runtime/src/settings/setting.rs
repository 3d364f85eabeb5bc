//! The types that a setting can have: how each is read out of a value, and how it is shown in a message.

use std::fmt;
use std::time::Duration;

use super::value::Value;

/// A type that a setting can have.
pub(super) trait Setting: Sized {
    /// What is expected, with an example.
    const EXPECTED: &'static str;

    /// Reads it; `None` when it is something else. `loose` is text that stands for any type.
    fn read(value: &Value, loose: bool) -> Option<Self>;
}

/// A word out of a few.
pub(super) trait Choice: Copy + 'static {
    /// The words.
    const WORDS: &'static [(&'static str, Self)];
}

/// A value in a message.
pub(super) trait Show {
    fn show(&self) -> String;
}

macro_rules! show_by_display {
    ($($type:ty),*) => { $(
        impl Show for $type {
            fn show(&self) -> String {
                format!("`{self}`")
            }
        }
    )* };
}

show_by_display!(u16, u32, f64);

impl Show for Duration {
    fn show(&self) -> String {
        format!("`{}`", in_words(*self))
    }
}

/// A duration as settings write it.
fn in_words(duration: Duration) -> impl fmt::Display {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

impl Setting for String {
    const EXPECTED: &'static str = "text in quotes";

    fn read(value: &Value, _loose: bool) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Date
            | Value::List(_)
            | Value::Table(_) => None,
        }
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn read(value: &Value, loose: bool) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(*flag),
            Value::Text(text) if loose => text.trim().to_lowercase().parse().ok(),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Date
            | Value::List(_)
            | Value::Table(_) => None,
        }
    }
}

macro_rules! whole_number {
    ($($type:ty),*) => { $(
        impl Setting for $type {
            const EXPECTED: &'static str = "a whole number, such as `16`";

            fn read(value: &Value, loose: bool) -> Option<Self> {
                match value {
                    Value::Integer(number) => Self::try_from(*number).ok(),
                    Value::Text(text) if loose => text.trim().parse().ok(),
                    Value::Text(_) | Value::Float(_) | Value::Bool(_) | Value::Date | Value::List(_) | Value::Table(_) => None,
                }
            }
        }
    )* };
}

whole_number!(u16, u32);

impl Setting for f64 {
    const EXPECTED: &'static str = "a number, such as `2.0`";

    fn read(value: &Value, loose: bool) -> Option<Self> {
        match value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
            Value::Text(text) if loose => text.trim().parse().ok(),
            Value::Text(_) | Value::Bool(_) | Value::Date | Value::List(_) | Value::Table(_) => None,
        }
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a duration in quotes, such as `\"500ms\"`, `\"10s\"` or `\"7d\"`";

    fn read(value: &Value, _loose: bool) -> Option<Self> {
        match value {
            Value::Text(text) => humantime::parse_duration(text.trim()).ok(),
            Value::Integer(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Date
            | Value::List(_)
            | Value::Table(_) => None,
        }
    }
}

impl Setting for Vec<String> {
    const EXPECTED: &'static str = "a list of texts, such as `[\"a\", \"b\"]`";

    fn read(value: &Value, loose: bool) -> Option<Self> {
        match value {
            Value::List(nodes) => nodes.iter().map(|node| String::read(&node.value, loose)).collect(),
            Value::Text(text) if loose => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Date
            | Value::Table(_) => None,
        }
    }
}

/// What was found; the text itself only where it is short enough to be a slip.
pub(super) fn found_text(value: &Value) -> String {
    match value {
        Value::Text(text) if text.len() <= 40 => format!("`{text}`"),
        Value::Integer(number) => format!("`{number}`"),
        Value::Float(number) => format!("`{number}`"),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Text(_) | Value::Date | Value::List(_) | Value::Table(_) => value.kind().to_owned(),
    }
}
