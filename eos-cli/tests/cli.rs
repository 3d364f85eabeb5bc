//! The tool as people and scripts run it: the binary itself, against PostgreSQL, MariaDB and SQLite.
//!
//! Servers are named by `EOS_TEST_POSTGRES` and `EOS_TEST_MYSQL`; without them these tests fail. Each has a database of
//! its own, and a folder in which the tool runs, so that no settings file of anybody else's is read.

mod place;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::place::{Kind, Place, eos};

/// A test function for each sentence and each database.
macro_rules! on_each_database {
    ($($test:ident)*) => { $(mod $test {
        use super::*;

        #[tokio::test]
        async fn on_postgres() { place::with(Kind::Postgres, super::$test).await }
        #[tokio::test]
        async fn on_mariadb() { place::with(Kind::MariaDb, super::$test).await }
        #[tokio::test]
        async fn on_sqlite() { place::with(Kind::Sqlite, super::$test).await }
    })* };
}

on_each_database! {
    a_database_without_tables_gets_them_from_migrate_and_nothing_else_does_anything_there
    the_printed_statements_make_the_same_tables
    an_empty_database_is_told_in_a_sentence_and_in_json
    dead_letters_are_listed_by_every_filter
    one_is_shown_with_its_headers_bytes_and_causes
    a_dry_run_says_which_and_changes_nothing
    a_replay_marks_the_dead_ones_that_are_meant_and_is_done_once
    a_discard_takes_what_is_wanted_too_and_says_what_it_cannot
    parked_records_are_listed_in_their_order_and_retried_or_discarded
    a_payload_is_given_by_a_file_by_standard_input_or_taken_away
    refused_events_are_listed_retried_and_discarded
    positions_are_shown_by_group_and_topic
}

async fn a_database_without_tables_gets_them_from_migrate_and_nothing_else_does_anything_there(place: Place) {
    for question in [&["dead-letters", "list"][..], &["outbox", "list"], &["positions", "show"]] {
        let said = place.eos(question).await.fails_with(2);
        assert!(said.contains("`eos migrate` makes them"), "{said}");
    }
    let said = place.eos(&["migrate"]).await.succeeds();
    assert!(said.starts_with("the tables of eos are made"), "{said}");
    let said = place.eos(&["migrate"]).await.succeeds();
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(place.eos(&["migrate", "--json"]).await.json(), json!({ "changed": false }));
}

async fn the_printed_statements_make_the_same_tables(place: Place) {
    let sql = place.eos(&["migrate", "--print"]).await.succeeds();
    place.execute(&sql).await;
    // SQLite cannot add a column where it is not there yet.
    if !matches!(place.kind(), Kind::Sqlite) {
        place.execute(&sql).await;
    }
    let said = place.eos(&["migrate"]).await.succeeds();
    assert!(said.contains("were there and up to date"), "{said}");
    place.eos(&["outbox", "list"]).await.succeeds();
}

async fn an_empty_database_is_told_in_a_sentence_and_in_json(place: Place) {
    place.eos(&["migrate"]).await.succeeds();
    let said =
        place.eos(&["dead-letters", "list", "--group", "billing", "--reason", "poison"]).await.succeeds();
    assert!(said.starts_with("no dead letters in group `billing` for the reason `poison`"), "{said}");
    let said = place.eos(&["outbox", "list"]).await.succeeds();
    assert!(said.starts_with("Kafka has refused nothing"), "{said}");
    let said = place.eos(&["positions", "show", "--topic", "event.order"]).await.succeeds();
    assert!(said.starts_with("no positions in topic `event.order`"), "{said}");
    for question in [&["dead-letters", "list"][..], &["outbox", "list"], &["positions", "show"]] {
        assert_eq!(place.eos(&[question, &["--json"]].concat()).await.json(), json!([]));
    }
    let said = place.eos(&["dead-letters", "replay", "--all"]).await.succeeds();
    assert!(said.contains("nothing was changed"), "{said}");
    let said = place.eos(&["dead-letters", "show", "17"]).await.fails_with(1);
    assert!(said.contains("there is no dead letter 17"), "{said}");
    place.eos(&["dead-letters", "edit", "17", "--tombstone"]).await.fails_with(1);
    place.eos(&["dead-letters", "replay", "17"]).await.fails_with(1);
    place.eos(&["outbox", "retry", "17"]).await.fails_with(1);
}

/// Three dead letters: 1 and 2 of `billing` (2 has no text anywhere), 3 of `audit`.
async fn three_letters(place: &Place) {
    place.eos(&["migrate"]).await.succeeds();
    let odd = place.bytes(&[0xff, 0, 0x1b]);
    let text = |text: &str| place.bytes(text.as_bytes());
    let (key, partition) = (place.quoted("key"), place.quoted("partition"));
    let headers = r#"'[["message-id","m-1"],["trace",null],["odd",{"base64":"/wA="}]]'"#;
    for (group, key_value, payload, headers, reason, error) in [
        (
            "billing",
            text("order-1"),
            text(r#"{"n": 1}"#),
            headers,
            "poison",
            "the order was not stored: no such customer",
        ),
        ("billing", odd.clone(), odd, "null", "failed", "timed out"),
        ("audit", text("order-1"), "null".to_owned(), "null", "poison", "a tombstone"),
    ] {
        place
            .execute(&format!(
                "insert into eos_dead_letter (group_id, topic, {partition}, record_offset, record_time, {key}, payload, headers, \
                 listener, attempts, reason, error) values ('{group}', 'event.order', 3, 42, 1795715446123, {key_value}, {payload}, \
                 {headers}, 'shop::on_order', 5, '{reason}', '{error}')"
            ))
            .await;
    }
}

async fn ids(place: &Place, filters: &[&str]) -> Vec<i64> {
    let listed = place.eos(&[&["dead-letters", "list", "--json"], filters].concat()).await.json();
    let letters = listed.as_array().expect("an array");
    letters.iter().map(|letter| letter["id"].as_i64().expect("a number")).collect()
}

async fn dead_letters_are_listed_by_every_filter(place: Place) {
    three_letters(&place).await;
    let hour = |hours: i64| {
        let at = SystemTime::now().checked_add_signed(hours);
        humantime::format_rfc3339_seconds(at).to_string()
    };
    let (ago, ahead) = (hour(-1), hour(1));
    for (filters, expected) in [
        (&[][..], &[1, 2, 3][..]),
        (&["--group", "billing"], &[1, 2]),
        (&["--topic", "event.order", "--reason", "poison"], &[1, 3]),
        (&["--topic", "other"], &[]),
        (&["--key", "order-1"], &[1, 3]),
        (&["--id", "3", "--id", "1"], &[1, 3]),
        (&["2"], &[2]),
        (&["--since", "2h"], &[1, 2, 3]),
        (&["--since", &ago], &[1, 2, 3]),
        (&["--since", &ahead], &[]),
        (&["--state", "wanted"], &[]),
        (&["--state", "dead", "--state", "wanted"], &[1, 2, 3]),
    ] {
        assert_eq!(ids(&place, filters).await, expected, "{filters:?}");
    }
    let table = place.eos(&["dead-letters", "list"]).await.succeeds();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("ID  STATE  SET ASIDE"), "{table}");
    assert!(lines[1].contains("event.order/3/42") && lines[1].contains(" UTC "), "{table}");
    assert!(lines[2].contains("base64:/wAb"), "{table}");
    let limited = place.eos(&["dead-letters", "list", "--limit", "2"]).await;
    assert!(limited.err.contains("there are more"), "{}", limited.err);
    assert_eq!(limited.succeeds().lines().count(), 3);
}

trait Hours {
    fn checked_add_signed(self, hours: i64) -> SystemTime;
}

impl Hours for SystemTime {
    fn checked_add_signed(self, hours: i64) -> SystemTime {
        let by = Duration::from_secs(3600 * hours.unsigned_abs());
        if hours < 0 { self - by } else { self + by }
    }
}

async fn one_is_shown_with_its_headers_bytes_and_causes(place: Place) {
    three_letters(&place).await;
    let shown = place.eos(&["dead-letters", "show", "1"]).await.succeeds();
    for line in [
        "dead letter 1: dead, it waits until somebody replays or discards it",
        "  group      billing",
        "  reason     poison, after 5 attempts",
        "  written    2026-11-26 17:50:46 UTC",
        "  key        order-1",
        "  the order was not stored",
        "  no such customer",
        "  message-id m-1",
        "  trace      –",
        "  odd        base64:/wA=",
        "payload, 8 bytes, as text",
        r#"{"n": 1}"#,
    ] {
        assert!(shown.lines().any(|shown| shown == line), "`{line}` is not in\n{shown}");
    }
    let json = place.eos(&["dead-letters", "show", "1", "--json"]).await.json();
    assert_eq!(json["payload"], json!({ "text": r#"{"n": 1}"# }));
    assert_eq!(json["written_at"], json!("2026-11-26T17:50:46.123Z"));
    assert_eq!(json["headers"][1], json!({ "name": "trace", "value": null }));
    assert_eq!(json["headers"][2], json!({ "name": "odd", "value": { "base64": "/wA=" } }));

    let odd = place.eos(&["dead-letters", "show", "2"]).await.succeeds();
    assert!(odd.contains("payload, 3 bytes, no plain text, in base64\n/wAb"), "{odd}");
    assert!(odd.contains("no headers"), "{odd}");
    let tombstone = place.eos(&["dead-letters", "show", "3", "--json"]).await.json();
    assert_eq!(tombstone["payload"], Value::Null);
}

async fn a_dry_run_says_which_and_changes_nothing(place: Place) {
    three_letters(&place).await;
    for act in ["replay", "discard"] {
        let said = place.eos(&["dead-letters", act, "--group", "billing", "--dry-run"]).await.succeeds();
        assert!(said.contains("2 dead letters would be") && said.contains("nothing was changed"), "{said}");
        let json =
            place.eos(&["dead-letters", act, "--all", "--limit", "1", "--dry-run", "--json"]).await.json();
        assert_eq!(json, json!({ "would_mark": 1, "ids": [1], "more": false }));
    }
    assert_eq!(ids(&place, &["--state", "dead"]).await, [1, 2, 3]);
}

async fn a_replay_marks_the_dead_ones_that_are_meant_and_is_done_once(place: Place) {
    three_letters(&place).await;
    for act in ["replay", "discard"] {
        let said = place.eos(&["dead-letters", act]).await.fails_with(2);
        assert!(said.contains("`--all`"), "{said}");
    }
    let said = place.eos(&["dead-letters", "replay", "--all", "--limit", "1"]).await.succeeds();
    assert!(said.starts_with("1 dead letter marked"), "{said}");
    assert_eq!(ids(&place, &["--state", "wanted"]).await, [1]);
    // The first is marked already, which is what is asked for.
    assert_eq!(
        place.eos(&["dead-letters", "replay", "1", "2", "--json"]).await.json(),
        json!({ "marked": 1 })
    );
    assert_eq!(ids(&place, &["--state", "dead"]).await, [3]);
    let said = place.eos(&["dead-letters", "replay", "--all", "--state", "discarded"]).await.fails_with(2);
    assert!(said.contains("`dead`"), "{said}");
}

async fn parked_records_are_listed_in_their_order_and_retried_or_discarded(place: Place) {
    three_letters(&place).await;
    let said = place.eos(&["parked", "list"]).await.succeeds();
    assert!(said.contains("no parked records") && said.contains("on_failure"), "{said}");
    place.execute("update eos_dead_letter set state = 1 where id > 1").await;
    let parked = async || -> Vec<i64> {
        let listed = place.eos(&["parked", "list", "--json"]).await.json();
        let of = |row: &Value| (row["id"].as_i64().expect("a number"), row["state"].clone());
        let rows: Vec<_> = listed.as_array().expect("a list").iter().map(of).collect();
        assert!(rows.iter().all(|(_, state)| state == "parked"), "{rows:?}");
        rows.into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(parked().await, [2, 3]);
    assert_eq!(ids(&place, &[]).await, [1], "the dead ones are another list");
    assert_eq!(ids(&place, &["--state", "parked"]).await, [2, 3]);

    let said = place.eos(&["parked", "retry"]).await.fails_with(2);
    assert!(said.contains("nothing says which records are meant"), "{said}");
    let said = place.eos(&["parked", "retry", "1", "2"]).await;
    assert!(said.out.starts_with("1 parked record marked"), "{}", said.out);
    assert!(said.fails_with(1).contains("parked record 1 cannot be tried now: it is dead"));
    assert_eq!(parked().await, [2, 3], "it is parked still");
    let said = place.eos(&["parked", "discard", "--all", "--dry-run"]).await.succeeds();
    assert!(said.contains("2 parked records would be discarded"), "{said}");
    let said = place.eos(&["parked", "discard", "--all"]).await.succeeds();
    assert!(said.starts_with("2 parked records discarded"), "{said}");
    assert!(parked().await.is_empty());
    assert_eq!(ids(&place, &["--state", "discarded"]).await, [2, 3]);
}

async fn a_discard_takes_what_is_wanted_too_and_says_what_it_cannot(place: Place) {
    three_letters(&place).await;
    place.eos(&["dead-letters", "replay", "1"]).await.succeeds();
    place.execute("update eos_dead_letter set state = 3 where id = 2").await;
    let said = place.eos(&["dead-letters", "discard", "1", "2", "3", "99"]).await;
    assert!(said.out.starts_with("2 dead letters discarded"), "{}", said.out);
    let said = said.fails_with(1);
    assert!(
        said.contains("2 cannot be discarded: it is replayed") && said.contains("no dead letter 99"),
        "{said}"
    );
    assert_eq!(ids(&place, &["--state", "discarded"]).await, [1, 3]);
    assert_eq!(ids(&place, &[]).await, Vec::<i64>::new());
    let said = place.eos(&["dead-letters", "edit", "1", "--tombstone"]).await.fails_with(1);
    assert!(said.contains("it is discarded"), "{said}");
}

async fn a_payload_is_given_by_a_file_by_standard_input_or_taken_away(place: Place) {
    three_letters(&place).await;
    std::fs::write(place.folder().join("mended.json"), r#"{"n": 2}"#).expect("a file");
    let payload = async || {
        let shown = place.eos(&["dead-letters", "show", "1", "--json"]).await.json();
        (shown["payload"].clone(), shown["edited"].clone())
    };
    place.eos(&["dead-letters", "edit", "1", "--payload-file", "mended.json"]).await.succeeds();
    assert_eq!(payload().await, (json!({ "text": r#"{"n": 2}"# }), json!(true)));
    place.eos_reading(&["dead-letters", "edit", "1", "--payload-file", "-"], b"\xff").await.succeeds();
    assert_eq!(payload().await.0, json!({ "base64": "/w==" }));
    let said =
        place.eos_reading(&["dead-letters", "edit", "1", "--payload-file", "-"], b"").await.fails_with(2);
    assert!(said.contains("nothing was changed"), "{said}");
    place.eos(&["dead-letters", "edit", "1", "--tombstone"]).await.succeeds();
    assert_eq!(payload().await.0, Value::Null);
    place.eos(&["dead-letters", "edit", "1"]).await.fails_with(2);
    place
        .eos(&["dead-letters", "edit", "1", "--tombstone", "--payload-file", "mended.json"])
        .await
        .fails_with(2);
}

async fn refused_events_are_listed_retried_and_discarded(place: Place) {
    place.eos(&["migrate"]).await.succeeds();
    let failed_at = match place.kind() {
        Kind::Postgres => "now()",
        Kind::MariaDb | Kind::Sqlite => "1795715446123",
    };
    let payload = place.bytes(&[0xff]);
    for n in 1..=4 {
        place
            .execute(&format!(
                "insert into eos_outbox (id, aggregatetype, aggregateid, type, payload, topic, attempts, refusal, failed_at, error) \
                 values ('00000000-0000-4000-8000-00000000000{n}', 'order', 'order-{n}', 'OrderPlaced', {payload}, 'event.order', \
                 1, 2, {failed_at}, 'message is too large')"
            ))
            .await;
    }
    let listed = place.eos(&["outbox", "list", "--json"]).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(4));
    assert_eq!((&listed[0]["key"], &listed[0]["payload"]), (&json!("order-1"), &json!({ "base64": "/w==" })));
    let table = place.eos(&["outbox", "list"]).await.succeeds();
    assert!(table.contains("message is too large"), "{table}");
    let seqs: Vec<_> = (0..4).map(|n| listed[n]["seq"].to_string()).collect();

    let said = place.eos(&["outbox", "retry", &seqs[0], "999"]).await.fails_with(1);
    assert!(said.contains("no refused event has the number 999"), "{said}");
    assert_eq!(place.eos(&["outbox", "discard", &seqs[1], "--json"]).await.json(), json!({ "discarded": 1 }));
    let said = place.eos(&["outbox", "retry", "--all"]).await.succeeds();
    assert!(said.starts_with("2 refused events will be tried again"), "{said}");
    assert_eq!(place.eos(&["outbox", "list", "--json"]).await.json(), json!([]));
    for act in ["retry", "discard"] {
        let said = place.eos(&["outbox", act]).await.fails_with(2);
        assert!(said.contains("`--all`"), "{said}");
    }
}

async fn positions_are_shown_by_group_and_topic(place: Place) {
    place.eos(&["migrate"]).await.succeeds();
    let owner = match place.kind() {
        Kind::Postgres => "gen_random_uuid()".to_owned(),
        Kind::MariaDb | Kind::Sqlite => place.bytes(&[7; 16]),
    };
    let (taken, more_columns, more) = match place.kind() {
        Kind::Postgres => ("to_timestamp(1795715446)", "", ""),
        Kind::MariaDb => ("1795715446", ", `connection`, held_until", ", 1, 1"),
        Kind::Sqlite => ("1795715446", "", ""),
    };
    let partition = place.quoted("partition");
    for (group, topic) in [("billing", "event.order"), ("audit", "event.order"), ("billing", "event.mail")] {
        place
            .execute(&format!(
                "insert into eos_position (group_id, topic, {partition}, epoch, owner, next_offset, attempts, taken_at{more_columns}) \
                 values ('{group}', '{topic}', 3, 7, {owner}, 4200000000, 2, {taken}{more})"
            ))
            .await;
    }
    let all = place.eos(&["positions", "show", "--json"]).await.json();
    let groups: Vec<_> =
        all.as_array().expect("an array").iter().map(|position| &position["group"]).collect();
    assert_eq!(groups, ["audit", "billing", "billing"]);
    let one = place
        .eos(&["positions", "show", "--group", "billing", "--topic", "event.order", "--json"])
        .await
        .json();
    let expected = json!([{
        "group": "billing", "topic": "event.order", "partition": 3, "next_offset": 4_200_000_000_i64, "epoch": 7,
        "slots": 1, "attempts": 2, "taken_at": "2026-11-26T17:50:46.000Z",
    }]);
    assert_eq!(one, expected);
    let table = place.eos(&["positions", "show"]).await.succeeds();
    assert!(table.contains("4200000000") && table.contains("2026-11-26 17:50:46 UTC"), "{table}");
}

#[tokio::test]
async fn another_schema_is_another_place() {
    place::with(Kind::Postgres, async |place: Place| {
        place.eos(&["migrate", "--schema", "Other \"one\""]).await.succeeds();
        place.eos(&["positions", "show", "--schema", "Other \"one\""]).await.succeeds();
        let said = place.eos(&["positions", "show"]).await.fails_with(2);
        assert!(said.contains("`--schema` names it"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["postgres://me:hush@127.0.0.1:1/shop", "mysql://me:hush@127.0.0.1:1/shop"] {
        let said =
            eos(folder.path(), &["dead-letters", "list"], &[("EOS_DATABASE_URL", url)]).await.fails_with(2);
        assert!(said.contains("is the server up") && said.contains("`EOS_DATABASE_URL`"), "{said}");
        assert!(said.contains("me@127.0.0.1:1/shop"), "{said}");
    }
    for (url, hint) in [("sqlite::memory:", "name a file"), ("mysql://me@127.0.0.1:1", "names no database")] {
        let said = eos(folder.path(), &["migrate", "--database-url", url], &[]).await.fails_with(2);
        assert!(said.contains(hint), "{said}");
    }
    let missing = [("EOS_DATABASE_URL", "sqlite://nowhere.db")];
    let said = eos(folder.path(), &["outbox", "list"], &missing).await.fails_with(2);
    assert!(said.contains("mode=rwc"), "{said}");
}

#[tokio::test]
async fn no_password_is_printed_wherever_it_was_typed() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = place::variable("EOS_TEST_POSTGRES");
    let host = postgres.rsplit_once('@').expect("a user and a host").1;
    let refused = format!("postgres://nobody:hush@{host}");
    let odd = format!("postgres://nobody:hush@{host}?sslmode=hush");
    for arguments in [
        &["dead-letters", "list", "--database-url", &refused][..],
        &["dead-letters", "list", "--database-url", &odd],
        &["dead-letters", "list", "--database-url", "postgres://me:hu/hush@db/shop"],
        &["dead-letters", "list", "--database-url", "me:hush@db/shop"],
        &["dead-letters", "list", "postgres://me:hush@db/shop"],
        &["postgres://me:hush@db/shop"],
        &["postgres://me:a hush'@db/shop"],
        &["me:hush@db/shop"],
        &["--databse-url=me:hush@db/shop"],
    ] {
        eos(folder.path(), arguments, &[]).await.fails_with(2);
    }
    for toml in [
        "[database\nurl = \"hush\"",
        "[database]\nurl = \"hush",
        "[database]\nurl = \"hush\"",
        "database = 'hush'",
    ] {
        std::fs::write(folder.path().join("eos.toml"), toml).expect("a file");
        eos(folder.path(), &["dead-letters", "list"], &[]).await.fails_with(2);
    }
}

#[tokio::test]
async fn the_first_place_that_names_a_database_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = folder.path().join("named.toml");
    let named_text = named.display().to_string();
    let asks = async |arguments: &[&str], variables: &[(&str, &str)]| {
        eos(folder.path(), &[&["outbox", "list"], arguments].concat(), variables).await.fails_with(2)
    };
    assert!(asks(&[], &[("DATABASE_URL", "sqlite:usual.db")]).await.contains("usual.db"));
    let said = asks(&[], &[]).await;
    for name in ["--database-url", "EOS_DATABASE_URL", "`DATABASE_URL`", "`[database]`"] {
        assert!(said.contains(name), "{said}");
    }
    std::fs::write(folder.path().join("eos.toml"), "[database]\nurl = \"sqlite:in-file.db\"")
        .expect("a file");
    std::fs::write(&named, "[database]\nurl = \"sqlite:in-named.db\"").expect("a file");
    let by_file = [("EOS_CONFIG", named_text.as_str())];
    let by_usual = [("DATABASE_URL", "sqlite:usual.db"), by_file[0]];
    let by_own = [("EOS_DATABASE_URL", "sqlite:own.db"), by_usual[0]];
    assert!(asks(&[], &[]).await.contains("in-file.db"));
    assert!(asks(&[], &[("DATABASE_URL", "")]).await.contains("in-file.db"), "an empty variable is none");
    assert!(asks(&[], &by_file).await.contains("in-named.db"));
    assert!(asks(&[], &by_usual).await.contains("in-named.db"), "as for a service");
    assert!(asks(&[], &by_own).await.contains("own.db"));
    assert!(asks(&["--database-url", "sqlite:given.db"], &by_own).await.contains("given.db"));
    assert!(asks(&[], &[("EOS_CONFIG", "nowhere.toml")]).await.contains("`EOS_CONFIG` names"));
    let schema = [("EOS__DATABASE__SCHEMA", "eos"), by_own[0]];
    assert!(asks(&[], &schema).await.contains("SQLite has no schemas; remove `EOS__DATABASE__SCHEMA`"));
}

#[tokio::test]
async fn help_says_the_exit_codes_and_needs_no_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = eos(folder.path(), &["--help"], &[]).await.succeeds();
    assert!(help.contains("Exit code:") && help.contains("EOS_DATABASE_URL"), "{help}");
    for command in [
        &["dead-letters", "replay"][..],
        &["outbox", "discard"],
        &["positions", "show"],
        &["positions", "reset"],
        &["positions", "copy"],
        &["check"],
        &["migrate"],
    ] {
        eos(folder.path(), &[command, &["--help"]].concat(), &[]).await.succeeds();
    }
    eos(folder.path(), &[], &[]).await.fails_with(2);
    let said = eos(folder.path(), &["dead-letters", "list", "--since", "yesterday"], &[]).await.fails_with(2);
    assert!(said.contains("`2h`"), "{said}");
}

#[tokio::test]
async fn what_moves_a_group_says_what_is_missing_before_anything_is_done() {
    place::with(Kind::Sqlite, async |place: Place| {
        place.eos(&["migrate"]).await.succeeds();
        let asks = async |arguments: &[&str]| place.eos(&[&["positions"], arguments].concat()).await;
        let reset = ["reset", "--group", "billing", "--topic", "event.order", "--to"];
        for (more, words) in [
            (&["yesterday"][..], "`beginning`"),
            (&["-5"], "unexpected argument"),
            (&["end", "--partition", "1", "--forget-inbox"], "cannot be used with"),
        ] {
            let said = asks(&[&reset[..], more].concat()).await.fails_with(2);
            assert!(said.contains(words), "{said}");
        }
        let said =
            asks(&["reset", "--group", "billing", "--to", "end", "--partition", "1"]).await.fails_with(2);
        assert!(said.contains("--topic"), "{said}");
        let said = asks(&[&reset[..], &["end"]].concat()).await.fails_with(2);
        assert!(said.contains("no brokers are named") && said.contains("`--kafka`"), "{said}");
        let said = asks(&[&reset[..], &["end", "--kafka", "127.0.0.1:1"]].concat()).await.fails_with(2);
        assert!(said.contains("Kafka at 127.0.0.1:1 does not answer"), "{said}");
        let said = asks(&["copy", "--from-group", "a", "--to-group", "a"]).await.fails_with(2);
        assert!(said.contains("the same group"), "{said}");
        let said = asks(&["copy", "--from-group", "a", "--to-group", "b"]).await.fails_with(1);
        assert!(said.contains("group `a` has no positions"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_check_finds_what_is_missing_and_looks_at_the_rest() {
    place::with(Kind::Sqlite, async |place: Place| {
        let said = place.eos(&["check"]).await;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.is_empty() && said.out.contains("problem  settings"), "{said:?}");
        assert!(
            said.out.contains("no brokers are named") && said.out.contains("`eos migrate` makes"),
            "{said:?}"
        );
        place.eos(&["migrate"]).await.succeeds();
        let said = place.eos(&["check"]).await.out;
        let tables = said.lines().find(|line| line.contains("tables")).expect("a line");
        assert!(tables.starts_with("ok"), "{said}");
        assert!(said.trim_end().ends_with("2 problems") || said.contains("2 problems and"), "{said}");
    })
    .await;
}
