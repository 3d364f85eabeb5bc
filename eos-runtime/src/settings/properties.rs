//! `[kafka.properties]`: any property of librdkafka, but for those that would break a promise.

use std::collections::BTreeMap;
use std::fmt;

use super::reader::Section;

/// librdkafka's properties as they are handed to it. Debug shows their names alone: any value may be a secret.
#[derive(Clone, Default)]
pub(crate) struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Each property and its value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of one of them.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn read(section: &Section<'_>) -> Self {
        let mut properties = Properties::default();
        for (name, node) in section.entries() {
            match node.value.scalar() {
                Some(value) => {
                    properties.0.insert(name.to_owned(), value);
                }
                None => section.refuse(name, "expected text, a number, `true` or `false`"),
            }
        }
        for (name, value) in properties.iter() {
            if let Some(objection) = properties.objection(name, value) {
                section.refuse(name, &objection);
            }
        }
        properties
    }

    fn objection(&self, name: &str, value: &str) -> Option<String> {
        let same = |other: &str| value.eq_ignore_ascii_case(other);
        if let Some(rule) = RESERVED.iter().find(|rule| rule.name == name) {
            return (!rule.harmless.iter().any(|other| same(other))).then(|| rule.instead.to_owned());
        }
        match name {
            "security.protocol" if !TLS && (same("ssl") || same("sasl_ssl")) => Some(without("TLS", "ssl")),
            "security.protocol" if !KERBEROS && (same("sasl_ssl") || same("sasl_plaintext")) => {
                let chosen = self.get("sasl.mechanism").or(self.get("sasl.mechanisms"));
                chosen.is_none().then(|| {
                    format!(
                        "`sasl.mechanism` is not set, and its default is Kerberos: {}, or set it to `PLAIN` or \
                         `SCRAM-SHA-512`",
                        without("Kerberos", "sasl")
                    )
                })
            }
            "sasl.mechanism" | "sasl.mechanisms" if same("gssapi") && !KERBEROS => {
                Some(without("Kerberos", "sasl"))
            }
            "sasl.mechanism" | "sasl.mechanisms" if !same("plain") && !same("gssapi") && !TLS => {
                Some(without("this mechanism", "ssl"))
            }
            "compression.codec" | "compression.type" if same("zstd") && !cfg!(feature = "zstd") => {
                Some(without("zstd", "zstd"))
            }
            "compression.codec" | "compression.type" if same("gzip") && !cfg!(feature = "libz") => {
                Some(without("gzip", "libz"))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

// librdkafka's Kerberos brings TLS with it.
const TLS: bool = cfg!(any(feature = "ssl", feature = "sasl"));
const KERBEROS: bool = cfg!(feature = "sasl");

fn without(what: &str, feature: &str) -> String {
    format!(
        "this binary was built without {what}; add the feature `{feature}` to `eos-runtime` in Cargo.toml"
    )
}

/// A property that eos decides, since a promise hangs on it.
struct Reserved {
    name: &'static str,
    /// Values that say what eos does anyway.
    harmless: &'static [&'static str],
    /// Why, and what to set instead.
    instead: &'static str,
}

const fn reserved(name: &'static str, harmless: &'static [&'static str], instead: &'static str) -> Reserved {
    Reserved { name, harmless, instead }
}

const RESERVED: [Reserved; 19] = [
    reserved("bootstrap.servers", &[], "the brokers are named by `[kafka] bootstrap_servers`"),
    reserved("metadata.broker.list", &[], "the brokers are named by `[kafka] bootstrap_servers`"),
    reserved("group.id", &[], "the group is named by `[kafka] group`, or by a listener's `group`"),
    reserved("enable.auto.commit", &["false"], COMMITS),
    reserved("auto.commit.enable", &["false"], COMMITS),
    reserved("auto.commit.interval.ms", &[], COMMITS),
    reserved(
        "enable.auto.offset.store",
        &["false"],
        "an offset is stored only after its SQL commit; remove it",
    ),
    reserved("offset.store.method", &["broker"], "the position is kept in the database; remove it"),
    reserved(
        "auto.offset.reset",
        &[],
        "a silent reset would skip or repeat records; where a new group starts is `[kafka] start`, and what happens \
         when retention overran a position is `[kafka] on_retention_gap`",
    ),
    reserved(
        "isolation.level",
        &["read_committed"],
        "listeners would be given records of aborted transactions; remove it",
    ),
    reserved(
        "check.crcs",
        &["false"],
        "librdkafka goes on behind a batch whose checksum is wrong, and its records would be skipped; remove it",
    ),
    reserved("enable.partition.eof", &[], "eos sets it where it needs it; remove it"),
    reserved(
        "enable.idempotence",
        &["true"],
        "a producer's own retries would publish an event twice; remove it",
    ),
    reserved("acks", &["all", "-1"], ACKS),
    reserved("request.required.acks", &["all", "-1"], ACKS),
    reserved("transactional.id", &[], "eos names its transactions itself, so that they fence; remove it"),
    reserved("delivery.report.only.error", &["false"], "eos waits for every delivery's report; remove it"),
    reserved("queuing.strategy", &["fifo"], "records of one key would be published out of order; remove it"),
    reserved("enable.gapless.guarantee", &[], "eos handles a gap itself; remove it"),
];

const COMMITS: &str =
    "an offset is committed only after its SQL commit; how often is set by `[kafka] commit_interval`";
const ACKS: &str = "an event that one broker acknowledged can be lost with it; remove it";

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(name: &str, value: &str) -> Option<String> {
        let properties = Properties(BTreeMap::from([(name.to_owned(), value.to_owned())]));
        properties.objection(name, value)
    }

    #[test]
    fn a_property_that_breaks_a_promise_names_the_right_setting() {
        assert!(
            objection("enable.auto.commit", "true").expect("refused").contains("`[kafka] commit_interval`")
        );
        assert!(objection("auto.offset.reset", "latest").expect("refused").contains("`[kafka] start`"));
        assert!(objection("group.id", "a").expect("refused").contains("`[kafka] group`"));
        assert!(objection("enable.idempotence", "false").is_some());
    }

    #[test]
    fn what_eos_does_anyway_and_everything_else_passes() {
        assert_eq!(objection("enable.auto.commit", "false"), None);
        assert_eq!(objection("acks", "all"), None);
        assert_eq!(objection("fetch.min.bytes", "1"), None);
        assert_eq!(objection("security.protocol", "PLAINTEXT"), None);
    }

    #[test]
    #[cfg(not(any(feature = "ssl", feature = "sasl")))]
    fn a_protocol_without_its_cargo_feature_names_the_feature() {
        assert!(objection("security.protocol", "SASL_SSL").expect("refused").contains("feature `ssl`"));
        assert!(objection("sasl.mechanism", "SCRAM-SHA-512").expect("refused").contains("feature `ssl`"));
        assert!(objection("sasl.mechanism", "GSSAPI").expect("refused").contains("feature `sasl`"));
        assert!(objection("security.protocol", "sasl_plaintext").expect("refused").contains("`PLAIN`"));
    }

    #[test]
    fn values_are_never_shown() {
        let properties = Properties(BTreeMap::from([("sasl.password".to_owned(), "hush".to_owned())]));
        assert_eq!(format!("{properties:?}"), "{\"sasl.password\"}");
    }
}
