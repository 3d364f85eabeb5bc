//! Reads a table key by key and notes every mistake with its place; what is wrong or missing takes its default.
//!
//! Why our own: serde stops at the first mistake, and so do figment and config, which are built on it; a person would
//! mend five mistakes in five deployments. A value out of the environment is text and stands for any type.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::mistake::{Found, either, nearest};
use super::secret::{Password, Secret};
use super::setting::{Choice, Setting, Show, found_text};
use super::value::{Node, Origin, Table, Value};

/// One table of the settings while it is being read.
pub(super) struct Section<'a> {
    /// Its name as written: `kafka`, `listeners."a::b"`; empty is the root.
    name: String,
    table: Option<&'a Table>,
    known: BTreeSet<&'static str>,
    found: &'a Found,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a Table, found: &'a Found) -> Self {
        Section { name: String::new(), table: Some(table), known: BTreeSet::new(), found }
    }

    /// A table below this one; an absent one is as good as an empty one.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        self.known.insert(key);
        let node = self.table.and_then(|table| table.get(key));
        self.below(key, node)
    }

    /// The tables below this one whose names the user chose, each with its name.
    pub(super) fn named_sections(&mut self) -> Vec<(&'a str, Section<'a>)> {
        let table = self.table.into_iter().flatten();
        table.map(|(key, node)| (key.as_str(), self.below(&bare(key), Some(node)))).collect()
    }

    fn below(&self, key: &str, node: Option<&'a Node>) -> Section<'a> {
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        let table = match node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            Some(_) => {
                self.refuse(key, &format!("expected a table; write `[{name}]` and its keys below it"));
                None
            }
            None => None,
        };
        Section { name, table, known: BTreeSet::new(), found: self.found }
    }

    /// Everything in this table, whatever its keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        self.table.into_iter().flatten().map(|(key, node)| (key.as_str(), node))
    }

    /// Whether something is written there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// A setting that may be absent.
    pub(super) fn optional<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        self.known.insert(key);
        let node = self.table?.get(key)?;
        let read = T::read(&node.value, matches!(node.origin, Origin::Variable(_)));
        if read.is_none() {
            self.refuse(key, &format!("expected {}, found {}", T::EXPECTED, found_text(&node.value)));
        }
        read
    }

    /// A text that is shown to nobody, and that whoever connects has to know.
    pub(super) fn password(&mut self, key: &'static str) -> Option<Password> {
        self.hidden(key).map(Password::new)
    }

    /// A text that is shown to nobody, not even where it is written wrongly; so many characters at least.
    pub(super) fn secret(&mut self, key: &'static str, at_least: usize) -> Option<Secret> {
        let text = self.hidden(key)?;
        if text.chars().count() < at_least {
            self.refuse(
                key,
                &format!("it is too short to be a secret; choose {at_least} characters or more"),
            );
            return None;
        }
        Some(Secret::new(text))
    }

    /// A text that no mistake may show.
    fn hidden(&mut self, key: &'static str) -> Option<String> {
        self.known.insert(key);
        let node = self.table?.get(key)?;
        let text = String::read(&node.value, matches!(node.origin, Origin::Variable(_)));
        if text.is_none() {
            self.refuse(key, "expected text in quotes, found something else");
        }
        text
    }

    /// A setting with a default.
    pub(super) fn or<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// A setting that must lie in a range, if it is there.
    pub(super) fn optional_within<T: Setting + PartialOrd + Show>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let value = self.optional(key)?;
        if range.contains(&value) {
            return Some(value);
        }
        let (low, high) = (range.start().show(), range.end().show());
        self.refuse(key, &format!("{} is out of range; choose from {low} to {high}", value.show()));
        None
    }

    /// A setting with a default that must lie in a range.
    pub(super) fn within<T: Setting + PartialOrd + Show>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        self.optional_within(key, range).unwrap_or(default)
    }

    /// A word out of a few, with a default.
    pub(super) fn choice<T: Choice>(&mut self, key: &'static str, default: T) -> T {
        self.optional_choice(key).unwrap_or(default)
    }

    /// A word out of a few, if it is there.
    pub(super) fn optional_choice<T: Choice>(&mut self, key: &'static str) -> Option<T> {
        let word = self.optional::<String>(key)?;
        let chosen = T::WORDS.iter().find(|(known, _)| *known == word);
        let words = || T::WORDS.iter().map(|(known, _)| *known);
        if chosen.is_none() {
            let near = nearest(&word, words());
            self.refuse(key, &format!("`{word}` is none of its values; choose {}{near}", either(words())));
        }
        chosen.map(|(_, value)| *value)
    }

    /// Notes a mistake at one key, with where it was written.
    pub(super) fn refuse(&self, key: &str, mistake: &str) {
        let place = match self.table.and_then(|table| table.get(key)) {
            Some(node) => format!("{} ({})", self.label(key), node.origin),
            None => self.label(key),
        };
        self.found.add(format!("{place}: {mistake}"));
    }

    /// A key as people write it: `[kafka] group`.
    fn label(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => format!("`{key}`"),
            name => format!("`[{name}] {}`", bare(key)),
        }
    }

    /// Ends the reading: what is left over is unknown.
    pub(super) fn finish(self) {
        self.finish_but_for(&BTreeSet::new());
    }

    /// Ends the reading, where some keys are another's.
    pub(super) fn finish_but_for(self, others: &BTreeSet<String>) {
        for (key, _) in self.entries().filter(|(key, _)| !self.known.contains(key) && !others.contains(*key))
        {
            let near = match nearest(key, self.known.iter().copied()) {
                near if !near.is_empty() => near,
                _ if self.name.is_empty() => "; keys that no placeholder reads go below `[app]`".to_owned(),
                _ => format!("; known are {}", either(self.known.iter().copied()).replace(" or ", " and ")),
            };
            self.refuse(key, &format!("there is no such setting{near}"));
        }
    }
}

/// A key, quoted where TOML wants it.
fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.chars().all(plain) { key.to_owned() } else { format!("\"{key}\"") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn table(key: &str, value: Value) -> Table {
        let origin = Origin::Line { file: Arc::from("eos.toml"), line: 3 };
        Table::from([(key.to_owned(), Node { value, origin })])
    }

    #[test]
    fn a_wrong_type_is_said_with_its_place_and_an_example() {
        let (found, table) = (Found::default(), table("retention", Value::Integer(7)));
        assert_eq!(
            Section::root(&table, &found).or("retention", Duration::from_secs(1)),
            Duration::from_secs(1)
        );
        assert_eq!(
            found.into_mistakes().expect_err("one").to_string(),
            "nothing was started: `retention` (eos.toml, line 3): expected a duration in quotes, such as `\"500ms\"`, \
             `\"10s\"` or `\"7d\"`, found `7`"
        );
    }

    #[test]
    fn what_is_out_of_range_is_said_with_the_range() {
        let (found, table) = (Found::default(), table("max_connections", Value::Integer(1)));
        assert_eq!(Section::root(&table, &found).within("max_connections", 16, 2..=1000u32), 16);
        let mistakes = found.into_mistakes().expect_err("one").to_string();
        assert!(mistakes.ends_with("`1` is out of range; choose from `2` to `1000`"), "{mistakes}");
    }

    #[test]
    fn an_unknown_key_is_said_with_the_nearest_known_one() {
        let (found, table) = (Found::default(), table("retenton", Value::Integer(1)));
        let mut section = Section::root(&table, &found);
        section.or("retention", Duration::ZERO);
        section.finish();
        let mistakes = found.into_mistakes().expect_err("one").to_string();
        assert!(mistakes.ends_with("there is no such setting; did you mean `retention`?"), "{mistakes}");
    }
}
