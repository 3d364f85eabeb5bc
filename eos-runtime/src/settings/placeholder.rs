//! `${key}` and `${key:default}` in topics and groups, read from the settings.
//!
//! The key is a path with dots, as in `${app.order_topic}` for `[app] order_topic = "…"`; `[app]` is where a service
//! keeps keys of its own. Addresses and librdkafka's properties cannot be read: they may hold passwords.

use super::mistake::nearest;
use super::value::{Table, Value};

/// What placeholders can name. It has no Debug, since it still holds everything that was written.
#[derive(Default)]
pub(crate) struct Values(Table);

impl Values {
    pub(super) fn new(root: Table) -> Self {
        Values(root)
    }

    /// `text` with each placeholder replaced.
    pub(crate) fn resolve(&self, text: &str) -> Result<String, String> {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (inside, tail) =
                after.split_once('}').ok_or_else(|| format!("`{text}` has a `${{` without its `}}`"))?;
            resolved.push_str(before);
            let (key, default) = match inside.split_once(':') {
                Some((key, default)) => (key.trim(), Some(default)),
                None => (inside.trim(), None),
            };
            match (self.look_up(key)?, default) {
                (Some(value), _) => resolved.push_str(&value),
                (None, Some(default)) => resolved.push_str(default),
                (None, None) => return Err(self.missing(key)),
            }
            rest = tail;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn look_up(&self, key: &str) -> Result<Option<String>, String> {
        let secret =
            key.starts_with("kafka.properties") || (key.starts_with("database") && key.ends_with(".url"));
        if secret {
            return Err(format!("`${{{key}}}` may hold a password; name another setting"));
        }
        let mut table = &self.0;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            let Some(node) = table.get(part) else { return Ok(None) };
            match (&node.value, parts.peek()) {
                (Value::Table(inner), Some(_)) => table = inner,
                (_, Some(_)) => return Ok(None),
                (value, None) => {
                    return value
                        .scalar()
                        .map(Some)
                        .ok_or_else(|| format!("`${{{key}}}` is {}, and no single value", value.kind()));
                }
            }
        }
        Ok(None)
    }

    fn missing(&self, key: &str) -> String {
        let mut own = Vec::new();
        paths("app", self.0.get("app").map(|node| &node.value), &mut own);
        let near = nearest(key, own.iter().map(String::as_str));
        let (fix, variable) = match key.rsplit_once('.') {
            Some((table, last)) => (format!("`[{table}] {last}`"), variable(key)),
            None => (format!("`${{app.{key}}}` with `[app] {key}`"), variable(&format!("app.{key}"))),
        };
        format!("`${{{key}}}` has no value; set {fix} (`{variable}`), or write `${{{key}:a default}}`{near}")
    }
}

fn variable(key: &str) -> String {
    format!("EOS__{}", key.replace('.', "__").to_uppercase())
}

/// Every key below `prefix` that holds a single value.
fn paths(prefix: &str, value: Option<&Value>, into: &mut Vec<String>) {
    if let Some(Value::Table(table)) = value {
        for (key, node) in table {
            paths(&format!("{prefix}.{key}"), Some(&node.value), into);
        }
    } else if value.is_some() {
        into.push(prefix.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::super::mistake::Found;
    use super::*;

    fn resolve(text: &str) -> Result<String, String> {
        let settings = "[app]\norder_topic = \"orders\"\nshard = 7\n[app.eu]\ntopic = \"eu\"\n\
                        [kafka]\ngroup = \"billing\"\n[database]\nurl = \"postgres://a:hush@b/c\"";
        Values::new(file::parse(settings, "eos.toml", &Found::default())).resolve(text)
    }

    #[test]
    fn placeholders_are_read_from_the_settings() {
        assert_eq!(resolve("event.order").as_deref(), Ok("event.order"));
        assert_eq!(resolve("${app.order_topic}-${app.shard}").as_deref(), Ok("orders-7"));
        assert_eq!(resolve("${app.eu.topic}.${kafka.group}").as_deref(), Ok("eu.billing"));
        assert_eq!(resolve("${app.absent:event.order}").as_deref(), Ok("event.order"));
    }

    #[test]
    fn a_missing_one_says_how_to_set_it() {
        let mistake = resolve("${app.ordr_topic}").expect_err("missing");
        assert!(mistake.contains("`EOS__APP__ORDR_TOPIC`"), "{mistake}");
        assert!(mistake.ends_with("did you mean `app.order_topic`?"), "{mistake}");
        assert!(resolve("${order_topic}").expect_err("missing").contains("`${app.order_topic}`"));
        assert!(resolve("${open").is_err());
    }

    #[test]
    fn a_secret_is_never_put_into_a_name() {
        assert!(!resolve("${database.url}").expect_err("refused").contains("hush"));
        assert!(resolve("${kafka.properties.sasl.password}").is_err());
    }
}
