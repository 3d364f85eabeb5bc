//! The settings as a whole: text and variables in, typed values or all mistakes out.

use std::time::Duration;

use super::*;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, Mistakes> {
    let found = Found::default();
    let mut root = file::parse(text, "eos.toml", &found);
    Environment::of(variables.iter().copied()).overlay(&mut root, &found);
    let settings = Settings::read(Section::root(&root, &found), &BTreeSet::from(["topics".to_owned()]));
    found.into_mistakes().map(|()| settings)
}

const LEAST: &str = "[kafka]\nbootstrap_servers = \"broker:9092\"\ngroup = \"billing\"\n";

#[test]
fn everything_but_the_brokers_has_a_default() {
    let settings = load("", &[("EOS_KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2")]).expect("no mistake");
    assert_eq!(settings.kafka.bootstrap, Bootstrap::Servers("a:1,b:2".to_owned()));
    assert_eq!(settings.kafka.group, Given::Absent);
    assert_eq!(settings.kafka.start, Start::Earliest);
    assert_eq!(settings.inbox.retention, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(settings.inbox.id_headers, ["message-id", "ce_id"]);
    assert_eq!(settings.shutdown.deadline, Duration::from_secs(25));
    assert!(settings.databases.is_empty());
}

#[test]
fn an_instance_has_a_name_of_its_own() {
    let named = |name: &str| load(&format!("{LEAST}instance = \"{name}\""), &[]);
    assert_eq!(load(LEAST, &[]).expect("no mistake").kafka.instance, None);
    assert_eq!(named("billing-0").expect("no mistake").kafka.instance.as_deref(), Some("billing-0"));
    let mistakes = named(" ").expect_err("it is empty").to_string();
    assert!(mistakes.contains("`[kafka] instance`") && mistakes.contains("is empty"), "{mistakes}");
    let mistakes = named("${HOSTNAME}").expect_err("it is not replaced").to_string();
    assert!(mistakes.contains("`EOS__KAFKA__INSTANCE`"), "{mistakes}");
}

#[test]
fn missing_brokers_are_a_mistake_and_the_embedded_one_is_asked_for() {
    let mistakes = load("", &[]).expect_err("no brokers").to_string();
    assert!(mistakes.contains("`EOS_KAFKA_BOOTSTRAP_SERVERS`"), "{mistakes}");
    let settings = load("[kafka]\nbootstrap_servers = \"embedded\"", &[]).expect("asked for");
    assert_eq!(settings.kafka.bootstrap, Bootstrap::Embedded);
}

#[test]
fn the_environment_is_laid_over_the_file() {
    let text =
        format!("{LEAST}[inbox]\nretention = \"1d\"\n[listeners.\"orders::on_order\"]\nconcurrency = 2");
    let settings = load(
        &text,
        &[
            ("EOS_KAFKA_GROUP", "audit"),
            ("EOS__INBOX__RETENTION", "3d"),
            ("EOS__INBOX__ID_HEADERS", "x-id, ce_id"),
            ("EOS__RETRY__FACTOR", "3"),
            ("EOS__KAFKA__PROPERTIES__FETCH_MIN_BYTES", "10"),
            ("EOS__LISTENERS__ORDERS__ON_ORDER__ENABLED", "false"),
        ],
    )
    .expect("no mistake");
    assert_eq!(settings.kafka.group, Given::As("audit".to_owned()));
    assert_eq!(settings.inbox.retention, Duration::from_secs(3 * 24 * 3600));
    assert_eq!(settings.inbox.id_headers, ["x-id", "ce_id"]);
    assert_eq!(settings.retry.factor, 3.0);
    assert_eq!(settings.kafka.properties.get("fetch.min.bytes"), Some("10"));
    let listener = &settings.listeners["orders::on_order"];
    assert!(!listener.enabled);
    assert_eq!(listener.concurrency, Some(2));
}

#[test]
fn five_mistakes_are_five() {
    let text = "[kafka]\ngroup = 7\ncommit_interval = \"soon\"\nproperties = { \"enable.auto.commit\" = true }\n\
                [inbox]\nretenton = \"7d\"\n";
    let mistakes = load(text, &[("EOS__RETRY__FACTOR", "0.5"), ("EOS_KAFKA_BOOTSTRAP_SERVERS", "a:1")])
        .expect_err("five mistakes");
    let said: Vec<&str> = mistakes.iter().collect();
    assert_eq!(
        said,
        [
            "`[kafka] group` (eos.toml, line 2): expected text in quotes, found `7`",
            "`[kafka] commit_interval` (eos.toml, line 3): expected a duration in quotes, such as `\"500ms\"`, \
             `\"10s\"` or `\"7d\"`, found `soon`",
            "`[kafka.properties] enable.auto.commit` (eos.toml, line 4): an offset is committed only after its SQL \
             commit; how often is set by `[kafka] commit_interval`",
            "`[inbox] retenton` (eos.toml, line 6): there is no such setting; did you mean `retention`?",
            "`[retry] factor` (`EOS__RETRY__FACTOR`): `0.5` is out of range; choose from `1` to `100`",
        ]
    );
}

#[test]
fn a_plain_id_header_is_refused() {
    let mistakes =
        load(&format!("{LEAST}[inbox]\nid_headers = [\"id\"]"), &[]).expect_err("refused").to_string();
    assert!(mistakes.contains("business id"), "{mistakes}");
}

#[test]
#[cfg(feature = "postgres")]
fn database_url_is_used_where_nothing_else_names_a_database() {
    let url = |settings: &Settings, name: &str| {
        let Given::As(address) = &settings.databases[name].address else { panic!("{settings:?}") };
        address.url.expose().to_owned()
    };
    let fallback = ("DATABASE_URL", "postgres://fallback/a");
    assert_eq!(url(&load(LEAST, &[fallback]).expect("ok"), "default"), "postgres://fallback/a");
    let ours = ("EOS_DATABASE_URL", "postgres://ours/a");
    assert_eq!(url(&load(LEAST, &[fallback, ours]).expect("ok"), "default"), "postgres://ours/a");
    let named =
        load(&format!("{LEAST}[databases.audit]\nurl = \"postgres://audit/a\""), &[fallback]).expect("ok");
    assert_eq!(named.databases.keys().collect::<Vec<_>>(), ["audit"]);
}

#[test]
#[cfg(feature = "postgres")]
fn no_secret_is_in_the_debug_output() {
    let settings = load(
        LEAST,
        &[
            ("EOS_DATABASE_URL", "postgres://me:hush@db/shop"),
            ("EOS__KAFKA__PROPERTIES__SASL_PASSWORD", "hush"),
            ("EOS__KAFKA__PROPERTIES__SSL_KEY_PASSWORD", "hush"),
        ],
    )
    .expect("no mistake");
    let shown = format!("{settings:#?}");
    assert!(shown.contains("postgres://me:***@db/shop") && shown.contains("sasl.password"), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn a_table_that_neither_we_nor_a_placeholder_read_is_a_mistake() {
    assert!(load(&format!("{LEAST}[topics]\norder = \"x\""), &[]).is_ok());
    let mistakes = load(&format!("{LEAST}[orders]\ntopic = \"x\""), &[]).expect_err("unknown").to_string();
    assert!(mistakes.contains("`orders`") && mistakes.contains("`[app]`"), "{mistakes}");
}

#[test]
fn a_file_that_somebody_named_must_be_there() {
    let environment =
        Environment::of([("EOS_CONFIG", "/nowhere/eos.toml"), ("EOS_KAFKA_BOOTSTRAP_SERVERS", "a:1")]);
    let found = Found::default();
    Settings::load(&File::of(&environment), &environment, &BTreeSet::new(), &found);
    let mistakes = found.into_mistakes().expect_err("missing").to_string();
    assert!(mistakes.contains("`/nowhere/eos.toml`, which `EOS_CONFIG` names, cannot be read"), "{mistakes}");
}
