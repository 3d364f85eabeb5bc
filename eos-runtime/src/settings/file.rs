//! The settings file: TOML into a [`Table`], each value with its line, each mistake of the syntax named.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Found;
use super::value::{Node, Origin, Table, Value};

/// Which file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum File {
    /// `eos.toml` in the working directory, if it is there.
    Default,
    /// A file that somebody named; it must be there.
    Named {
        path: PathBuf,
        /// Who named it: "`EOS_CONFIG`".
        by: &'static str,
    },
}

impl File {
    /// Reads it, or an empty table where there is none.
    pub(super) fn read(&self, found: &Found) -> Table {
        let (path, by) = match self {
            File::Default => (Path::new("eos.toml"), None),
            File::Named { path, by } => (path.as_path(), Some(by)),
        };
        match (std::fs::read_to_string(path), by) {
            (Ok(text), _) => parse(&text, &path.display().to_string(), found),
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => Table::new(),
            (Err(error), by) => {
                let by = by.map_or_else(String::new, |by| format!(", which {by} names,"));
                found.add(format!("the settings file `{}`{by} cannot be read: {error}", path.display()));
                Table::new()
            }
        }
    }
}

/// Reads as much of `text` as can be understood.
pub(super) fn parse(text: &str, file: &str, found: &Found) -> Table {
    let reading = Reading { text, file: Arc::from(file), found };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        // Its Display quotes the line, which may hold a password.
        let at = error.span().map_or_else(String::new, |span| format!(", line {}", reading.line(span.start)));
        found.add(format!("{file}{at}: {}", error.message().replace('\n', ", ")));
    }
    let mut table = reading.table(document.get_ref());
    flatten_properties(&mut table);
    table
}

struct Reading<'a> {
    text: &'a str,
    file: Arc<str>,
    found: &'a Found,
}

impl Reading<'_> {
    fn table(&self, table: &DeTable<'_>) -> Table {
        table.iter().map(|(key, value)| (key.get_ref().to_string(), self.node(value))).collect()
    }

    fn node(&self, spanned: &Spanned<DeValue<'_>>) -> Node {
        let line = self.line(spanned.span().start);
        let value = match spanned.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_else(|_| {
                    self.found.add(format!("{}, line {line}: `{number}` is too large a number", self.file));
                    0
                }))
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(values) => Value::List(values.iter().map(|value| self.node(value)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { value, origin: Origin::Line { file: Arc::clone(&self.file), line } }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count()
    }
}

/// Properties have dots in their names, which TOML reads as tables unless they are quoted; both mean the same here.
fn flatten_properties(root: &mut Table) {
    for section in ["kafka", "outbox"] {
        let Some(Node { value: Value::Table(section), .. }) = root.get_mut(section) else { continue };
        let Some(Node { value: Value::Table(properties), .. }) = section.get_mut("properties") else {
            continue;
        };
        let nested = std::mem::take(properties);
        flatten("", nested, properties);
    }
}

fn flatten(prefix: &str, nested: Table, flat: &mut Table) {
    for (key, node) in nested {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        if let Value::Table(inner) = node.value {
            flatten(&name, inner, flat);
        } else {
            flat.insert(name, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_of_the_syntax_is_said_with_its_line_and_without_its_text() {
        let found = Found::default();
        parse("[kafka]\ngroup = \"hush\nstart = = 3\n[database\nurl = \"x\"", "eos.toml", &found);
        let mistakes = found.into_mistakes().expect_err("three broken lines").to_string();
        assert!(
            mistakes.contains("line 2") && mistakes.contains("line 3") && mistakes.contains("line 4"),
            "{mistakes}"
        );
        assert!(!mistakes.contains("hush"), "{mistakes}");
    }

    #[test]
    fn a_property_may_be_quoted_or_not() {
        for section in ["kafka", "outbox"] {
            for name in ["\"sasl.username\"", "sasl.username"] {
                let found = Found::default();
                let root = parse(&format!("[{section}.properties]\n{name} = \"me\""), "eos.toml", &found);
                let Value::Table(section) = &root[section].value else { panic!("a table") };
                let Value::Table(properties) = &section["properties"].value else { panic!("a table") };
                assert_eq!(properties["sasl.username"].value.scalar().as_deref(), Some("me"));
            }
        }
    }
}
