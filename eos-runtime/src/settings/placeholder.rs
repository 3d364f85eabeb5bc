//! `${key}` and `${key:default}` in topics and groups, read from the settings.
//!
//! The key is a path with dots, as in `${topics.order}` for `[topics] order = "…"`. A table that some listener's
//! placeholder reads is thereby known; other keys of a service's own go below `[app]`, so that a slip in the name of
//! one of our tables is still found. Addresses, librdkafka's properties and the
//! admin server's token cannot be read: they may hold passwords.

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
        let secret = key.starts_with("kafka.properties")
            || key.starts_with("outbox.properties")
            || key == "admin.token"
            || (key.starts_with("database") && key.ends_with(".url"));
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
        let mut written = Vec::new();
        for (name, node) in &self.0 {
            paths(name, &node.value, &mut written);
        }
        let near = nearest(key, written.iter().map(String::as_str));
        let setting = match key.rsplit_once('.') {
            Some((table, last)) => format!("[{table}] {last}"),
            None => key.to_owned(),
        };
        let variable = variable(key);
        format!(
            "`${{{key}}}` has no value; set `{setting}` (`{variable}`), or write `${{{key}:a default}}`{near}"
        )
    }
}

/// The top-level names that the placeholders of `text` begin with.
pub(crate) fn tables_read(text: &str) -> impl Iterator<Item = String> {
    text.split("${").skip(1).filter_map(|inside| {
        let key = inside.split(['}', ':']).next()?.trim();
        key.split('.').next().map(str::to_owned)
    })
}

fn variable(key: &str) -> String {
    format!("EOS__{}", key.replace('.', "__").to_uppercase())
}

/// Every key at or below `prefix` that holds a single value.
fn paths(prefix: &str, value: &Value, into: &mut Vec<String>) {
    if let Value::Table(table) = value {
        for (key, node) in table {
            paths(&format!("{prefix}.{key}"), &node.value, into);
        }
    } else {
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
        assert!(resolve("${tenant}").expect_err("missing").contains("set `tenant` (`EOS__TENANT`)"));
        assert!(resolve("${open").is_err());
    }

    #[test]
    fn a_secret_is_never_put_into_a_name() {
        assert!(!resolve("${database.url}").expect_err("refused").contains("hush"));
        assert!(resolve("${kafka.properties.sasl.password}").is_err());
    }
}
