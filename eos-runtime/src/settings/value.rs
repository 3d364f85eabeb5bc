//! A setting's value, and where it was written: what every source is read into before anything is understood.
//!
//! It has no Debug: a value may be a secret until it is known to be none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A table of settings by key.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and its source.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What can be written.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

/// Where a value was written.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of the settings file, counted from 1.
    Line { file: Arc<str>, line: usize },
    /// An environment variable, whose text stands for any type.
    Variable(Arc<str>),
}

impl Value {
    /// What it is, for "expected a number, found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Date => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// A single value as text, as a property or a placeholder takes it.
    pub(super) fn scalar(&self) -> Option<String> {
        match self {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Date | Value::List(_) | Value::Table(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line { file, line } => write!(f, "{file}, line {line}"),
            Origin::Variable(name) => write!(f, "`{name}`"),
        }
    }
}
