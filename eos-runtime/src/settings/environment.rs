//! The environment, laid over the file.
//!
//! `EOS_KAFKA_BOOTSTRAP_SERVERS`, `EOS_KAFKA_GROUP`, `EOS_DATABASE_URL` and `EOS_REDIS_URL` are the short names; any setting
//! is reached by `EOS__SECTION__KEY`, two underscores between the parts, in any case. An empty variable counts as not set.
//! `DATABASE_URL`, which other tools set too, is the default database's address where nothing else configures one.

use std::ffi::OsString;
use std::sync::Arc;

use super::mistake::{Found, nearest};
use super::value::{Node, Origin, Table, Value};

/// The variables with names of their own, and what they set.
const SHORT: [(&str, &[&str]); 4] = [
    ("EOS_KAFKA_BOOTSTRAP_SERVERS", &["kafka", "bootstrap_servers"]),
    ("EOS_KAFKA_GROUP", &["kafka", "group"]),
    ("EOS_DATABASE_URL", &["database", "url"]),
    ("EOS_REDIS_URL", &["redis", "url"]),
];

/// Names the settings file.
pub(super) const CONFIG: &str = "EOS_CONFIG";

/// The environment as it was read once, sorted by name.
#[derive(Clone, Default)]
pub(crate) struct Environment(Vec<(String, OsString)>);

impl Environment {
    /// This process's.
    pub(crate) fn of_process() -> Self {
        Environment::of(std::env::vars_os())
    }

    /// Any, for tests.
    pub(crate) fn of(
        variables: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
    ) -> Self {
        let mut ours: Vec<_> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())))
            .filter(|(name, value)| (name.starts_with("EOS_") || name == "DATABASE_URL") && !value.is_empty())
            .collect();
        ours.sort();
        Environment(ours)
    }

    /// The value of one variable.
    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Writes over `root` what the variables say. Returns remarks about variables that look like ours and are not.
    pub(super) fn overlay(&self, root: &mut Table, found: &Found) -> Vec<String> {
        let mut remarks = Vec::new();
        let mut written: Vec<(Vec<String>, &str)> = Vec::new();
        for (name, value) in &self.0 {
            let Some(path) = path_of(name) else {
                let near = nearest(name, SHORT.iter().map(|(short, _)| *short).chain([CONFIG]));
                if name.starts_with("EOS_") && name != CONFIG && !near.is_empty() {
                    remarks.push(format!("the variable `{name}` means nothing to eos{near}"));
                }
                continue;
            };
            let Some(value) = value.to_str() else {
                found.add(format!("`{name}` is not UTF-8 text"));
                continue;
            };
            if let Some((_, other)) = written.iter().find(|(earlier, _)| *earlier == path) {
                found.add(format!("`{other}` and `{name}` set the same thing; keep one of them"));
                continue;
            }
            let origin = Origin::Variable(Arc::from(name.as_str()));
            put(root, &path, Node { value: Value::Text(value.to_owned()), origin }, found);
            written.push((path, name));
        }
        self.fall_back(root, found);
        remarks
    }

    fn fall_back(&self, root: &mut Table, found: &Found) {
        let Some(value) = self.get("DATABASE_URL") else { return };
        let configured = match root.get("database") {
            Some(Node { value: Value::Table(database), .. }) => database.contains_key("url"),
            Some(_) => true,
            None => false,
        };
        if configured || root.contains_key("databases") {
            return;
        }
        match value.to_str() {
            None => found.add("`DATABASE_URL` is not UTF-8 text"),
            Some(value) => {
                let origin = Origin::Variable(Arc::from("DATABASE_URL"));
                let node = Node { value: Value::Text(value.to_owned()), origin };
                put(root, &["database".to_owned(), "url".to_owned()], node, found);
            }
        }
    }
}

/// Which setting a variable sets; `None` for one that is none of ours.
fn path_of(name: &str) -> Option<Vec<String>> {
    if let Some((_, path)) = SHORT.iter().find(|(short, _)| *short == name) {
        return Some(path.iter().map(|part| (*part).to_owned()).collect());
    }
    let lower = name.strip_prefix("EOS__")?.to_lowercase();
    let parts: Vec<&str> = lower.split("__").collect();
    Some(match parts.as_slice() {
        [section @ ("kafka" | "outbox"), "properties", rest @ ..] => {
            vec![(*section).to_owned(), "properties".into(), property(&rest.join("__"))]
        }
        ["listeners", id @ .., "retry", key] if !id.is_empty() => {
            vec!["listeners".into(), id.join("::"), "retry".into(), (*key).to_owned()]
        }
        ["listeners", id @ .., key] if !id.is_empty() => {
            vec!["listeners".into(), id.join("::"), (*key).to_owned()]
        }
        parts => parts.iter().map(|part| (*part).to_owned()).collect(),
    })
}

/// A librdkafka property's name: theirs have dots where a variable's has underscores, all but a few.
fn property(name: &str) -> String {
    match name {
        "log_level" | "enabled_events" => name.to_owned(),
        name => name.replace('_', "."),
    }
}

fn put(root: &mut Table, path: &[String], node: Node, found: &Found) {
    let [key, rest @ ..] = path else { return };
    if rest.is_empty() {
        root.insert(key.clone(), node);
        return;
    }
    let inner = root
        .entry(key.clone())
        .or_insert_with(|| Node { value: Value::Table(Table::new()), origin: node.origin.clone() });
    if let Value::Table(table) = &mut inner.value {
        put(table, rest, node, found);
    } else {
        let (variable, kind, place) = (&node.origin, inner.value.kind(), &inner.origin);
        found.add(format!("{variable} sets something below `{key}`, which is {kind} in {place}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> String {
        path_of(name).map_or_else(|| "none".to_owned(), |path| path.join(" / "))
    }

    #[test]
    fn a_variable_names_its_setting() {
        assert_eq!(path("EOS_DATABASE_URL"), "database / url");
        assert_eq!(path("EOS__INBOX__RETENTION"), "inbox / retention");
        assert_eq!(path("EOS__DATABASES__AUDIT__MAX_CONNECTIONS"), "databases / audit / max_connections");
        assert_eq!(path("EOS__KAFKA__PROPERTIES__SASL_PASSWORD"), "kafka / properties / sasl.password");
        assert_eq!(path("EOS__KAFKA__PROPERTIES__LOG_LEVEL"), "kafka / properties / log_level");
        assert_eq!(
            path("EOS__OUTBOX__PROPERTIES__COMPRESSION_TYPE"),
            "outbox / properties / compression.type"
        );
        assert_eq!(
            path("EOS__LISTENERS__ORDERS__ON_ORDER__ENABLED"),
            "listeners / orders::on_order / enabled"
        );
        assert_eq!(
            path("EOS__LISTENERS__ORDERS__ON_ORDER__RETRY__MAX_BACKOFF"),
            "listeners / orders::on_order / retry / max_backoff"
        );
        assert_eq!(path("EOS_TEST_KAFKA"), "none");
    }

    #[test]
    fn a_short_name_with_a_slip_is_remarked_upon() {
        let environment =
            Environment::of([("EOS_KAFKA_GRUOP", "a"), ("EOS_TEST_POSTGRES", "b"), ("HOME", "/")]);
        let remarks = environment.overlay(&mut Table::new(), &Found::default());
        assert_eq!(
            remarks,
            ["the variable `EOS_KAFKA_GRUOP` means nothing to eos; did you mean `EOS_KAFKA_GROUP`?"]
        );
    }

    #[test]
    fn two_variables_for_one_setting_are_a_mistake() {
        let found = Found::default();
        let environment = Environment::of([("EOS_KAFKA_GROUP", "a"), ("EOS__KAFKA__GROUP", "b")]);
        environment.overlay(&mut Table::new(), &found);
        let mistakes = found.into_mistakes().expect_err("one").to_string();
        assert!(mistakes.contains("`EOS_KAFKA_GROUP` and `EOS__KAFKA__GROUP`"), "{mistakes}");
    }
}
