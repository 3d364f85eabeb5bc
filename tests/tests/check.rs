//! `eos check` on real servers: a system that is well has no problem, and each thing that is wrong is found, with what to
//! do, whatever else is wrong.

use std::io::Write as _;
use std::net::TcpStream;

use eos_tests::{Kind, PATIENCE, Private, Said, Scene, What, eventually, servers};
use serde_json::Value;

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");
const EOS: &str = env!("CARGO_BIN_EXE_tool");

/// A scene whose group has run and is at rest.
async fn at_rest(kind: Kind, topic: &[(&str, &str)]) -> Scene {
    let scene = Scene::with_topic(kind, 1, topic, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let mut service = scene.launch().start();
    service.has_said("took the partition").await;
    scene.is_caught_up(PATIENCE).await;
    service.stop().await;
    scene
}

async fn check(scene: &Scene, more: &[&str]) -> Said {
    scene.eos_with(EOS, &[&["check", "--json"], more].concat(), &[("EOS_KAFKA_GROUP", "g")]).await
}

/// What was found of this, in this state.
fn found<'f>(findings: &'f Value, state: &str, what: &str) -> Vec<&'f str> {
    let findings = findings["findings"].as_array().expect("an array");
    let meant = findings.iter().filter(|finding| finding["state"] == state && finding["what"] == what);
    meant.filter_map(|finding| finding["found"].as_str()).collect()
}

/// One of them says this.
fn says(findings: &Value, state: &str, what: &str, words: &[&str]) {
    let found = found(findings, state, what);
    assert!(
        found.iter().any(|says| words.iter().all(|word| says.contains(word))),
        "no {state} of {what} says {words:?}: {findings:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_well_has_no_problem_on_postgres() {
    is_well(Kind::Postgres, &["connection", "tables", "server", "rights", "sessions", "outbox"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_well_has_no_problem_on_mariadb() {
    is_well(Kind::MariaDb, &["connection", "tables", "server", "rights"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_well_has_no_problem_on_sqlite() {
    is_well(Kind::Sqlite, &["connection", "tables", "file", "rights"]).await;
}

async fn is_well(kind: Kind, looked_at: &[&str]) {
    let scene = at_rest(kind, &[]).await;
    let said = check(&scene, &[]).await;
    assert_eq!(said.code(), Some(0), "{said:?}");
    let findings = said.json();
    for what in looked_at {
        assert!(!found(&findings, "ok", what).is_empty(), "{what}: {findings:#}");
    }
    says(&findings, "ok", "settings", &["can start"]);
    says(&findings, "ok", &format!("topic {}", scene.topic), &["keep the promises"]);
    says(&findings, "ok", &format!("group {}", scene.group), &["within the log"]);
    let text = scene.eos(EOS, &["check"]).await.succeeds();
    assert!(text.starts_with("STATE") && text.lines().all(|line| line.chars().count() < 200), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_break_a_promise_in_postgres_is_found() {
    let scene = at_rest(Kind::Postgres, &[]).await;
    let role = format!("{}_role", scene.group);
    // A person's console, left open.
    let mut console = scene.database.postgres().begin().await.expect("a transaction");
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *console).await.expect("set");
    sqlx::query("select count(*) from eos_position").execute(&mut *console).await.expect("a snapshot");
    for sql in [
        format!("create role {role} login password 'hush'"),
        format!("grant usage on schema public to {role}"),
        format!("grant select on all tables in schema public to {role}"),
        format!("grant insert, update, delete on eos_inbox, eos_outbox, eos_lane, eos_relay to {role}"),
        "alter sequence eos_outbox_seq_seq cache 20".to_owned(),
    ] {
        scene.database.execute(&sql).await;
    }
    // A service of another role, whose sessions this one may not end.
    let mut service = scene.launch().start();
    service.has_said("took the partition").await;
    let (_, host) = scene.database.url().rsplit_once('@').expect("a user and a host");
    let url = format!("postgres://{role}:hush@{host}");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let said = scene
        .eos_with(
            EOS,
            &["check", "--json", "--old", "1s"],
            &[("EOS_DATABASE_URL", &url), ("EOS_KAFKA_GROUP", "g")],
        )
        .await;
    service.stop().await;
    drop(console);
    scene.database.execute(&format!("drop owned by {role}; drop role {role}")).await;

    assert!(!format!("{said:?}").contains("hush"), "{said:?}");
    assert_eq!(said.code(), Some(1));
    let findings = said.json();
    says(&findings, "problem", "rights", &[&role, "insert eos_position", "update eos_dead_letter", "grant"]);
    assert!(!found(&findings, "problem", "rights")[0].contains("eos_inbox"), "{findings:#}");
    says(&findings, "problem", "sessions", &["pg_signal_backend", "one role"]);
    says(&findings, "problem", "outbox", &["alter sequence", "cache 1"]);
    says(&findings, "ok", "server", &["PostgreSQL"]);
    // Its age in time is shown to its own role, and to few others.
    let mut console = scene.database.postgres().begin().await.expect("a transaction");
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *console).await.expect("set");
    sqlx::query("select count(*) from eos_position").execute(&mut *console).await.expect("a snapshot");
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let said = check(&scene, &["--old", "1s"]).await;
    says(&said.json(), "warning", "transactions", &["snapshot", "pg_terminate_backend"]);
    drop(console);
    scene.database.execute("alter sequence eos_outbox_seq_seq cache 1").await;
    assert_eq!(check(&scene, &[]).await.code(), Some(0));
}

/// A scene with tables, and a PostgreSQL of its own: what is made there is no finding of another test's, and goes with it.
async fn on_a_server_of_its_own() -> (Scene, Private) {
    let server = Private::start("postgres").await;
    let url = format!("postgres://postgres@{}/postgres", server.address());
    let scene = Scene::on(Kind::Postgres, &url, &servers().kafka, SINKS).await;
    scene.kafka.create_topic(&scene.topic, 1, &[]).await;
    scene.eos(EOS, &["migrate"]).await.succeeds();
    (scene, server)
}

/// The statement in a finding that begins so.
fn statement<'f>(found: &[&'f str], begins: &str) -> &'f str {
    let statement = found.iter().flat_map(|says| says.split('`')).find(|words| words.starts_with(begins));
    statement.unwrap_or_else(|| panic!("no `{begins}` in {found:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_prepared_and_forgotten_is_found() {
    const WHAT: &str = "prepared transactions";
    let (scene, _server) = on_a_server_of_its_own().await;
    says(&check(&scene, &[]).await.json(), "ok", WHAT, &["none has been forgotten"]);
    scene.database.execute("begin; select 1 from eos_position; prepare transaction 'ada''s'").await;
    says(&check(&scene, &[]).await.json(), "ok", WHAT, &["none has been forgotten"]);
    let said = eventually("it is old enough", PATIENCE, async || {
        let said = check(&scene, &["--old", "1s"]).await;
        if found(&said.json(), "warning", WHAT).is_empty() { Err(format!("{said:?}")) } else { Ok(said) }
    })
    .await;
    assert_eq!(said.code(), Some(0), "a warning is no problem");
    let findings = said.json();
    says(&findings, "warning", WHAT, &["`ada's`", &format!("database `{}`", scene.database.name()), "locks"]);
    scene.database.execute(statement(&found(&findings, "warning", WHAT), "rollback prepared ")).await;
    says(&check(&scene, &["--old", "0s"]).await.json(), "ok", WHAT, &["none has been forgotten"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_nobody_reads_or_that_is_read_too_slowly_is_found() {
    const WHAT: &str = "replication slots";
    let (scene, server) = on_a_server_of_its_own().await;
    scene.database.execute("select pg_create_physical_replication_slot('standby', true)").await;
    scene.database.execute("select pg_create_logical_replication_slot('debezium', 'pgoutput')").await;
    says(&check(&scene, &[]).await.json(), "ok", WHAT, &["none lags behind"]);

    // Dead rows of the catalogue stay for the one that decodes what is logged.
    let a_million =
        "do $$ begin for i in 1..1000001 loop perform pg_current_xact_id(); commit; end loop; end $$";
    scene.database.execute(a_million).await;
    let findings = check(&scene, &[]).await.json();
    says(&findings, "warning", WHAT, &["`debezium` is read by nobody", "transactions behind"]);
    assert_eq!(found(&findings, "warning", WHAT).len(), 1, "{findings:#}");

    // 66 segments of 16 MB: the log of either is kept.
    let a_gigabyte = "do $$ begin for i in 1..66 loop \
                      perform pg_logical_emit_message(false, 'eos', 'full'); perform pg_switch_wal(); end loop; end $$";
    scene.database.execute(a_gigabyte).await;
    let reader = SlowReader::start(&scene, &server).await;
    let said = check(&scene, &[]).await;
    assert_eq!(said.code(), Some(0), "a warning is no problem");
    let findings = said.json();
    says(&findings, "warning", WHAT, &["`standby` is read too slowly", "MB of log"]);
    drop(reader);
    eventually("its reader has left", PATIENCE, async || {
        let findings = check(&scene, &[]).await.json();
        let found = found(&findings, "warning", WHAT);
        let is_so = found.iter().any(|says| says.contains("`standby` is read by nobody"));
        if is_so { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;

    for name in ["standby", "debezium"] {
        let drops = format!("select pg_drop_replication_slot('{name}')");
        let findings = check(&scene, &[]).await.json();
        scene.database.execute(statement(&found(&findings, "warning", WHAT), &drops)).await;
    }
    says(&check(&scene, &[]).await.json(), "ok", WHAT, &["none lags behind"]);
}

/// A standby that has connected to the slot `standby`, and takes nothing.
struct SlowReader(TcpStream);

impl SlowReader {
    async fn start(scene: &Scene, server: &Private) -> Self {
        let at = "select restart_lsn::text from pg_replication_slots where slot_name = 'standby'";
        let at: String = sqlx::query_scalar(at).fetch_one(scene.database.postgres()).await.expect("a place");
        let mut stream = TcpStream::connect(server.address()).expect("the server takes connections");
        // Version 3.0 of the protocol, and its simple query.
        let startup = [&196_608_i32.to_be_bytes()[..], b"user\0postgres\0replication\0true\0\0"].concat();
        let query = format!("START_REPLICATION SLOT standby PHYSICAL {at}\0");
        for (kind, body) in [(&b""[..], &startup[..]), (b"Q", query.as_bytes())] {
            let length = i32::try_from(body.len() + 4).expect("a short message");
            let message = [kind, &length.to_be_bytes(), body].concat();
            stream.write_all(&message).expect("it can be said");
        }
        let reader = SlowReader(stream);
        let active = "select count(*) from pg_replication_slots where slot_name = 'standby' and active";
        eventually("the slot has a reader", PATIENCE, async || match scene.database.number(active).await {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?} of {:?}", reader.0)),
        })
        .await;
        reader
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_break_a_promise_in_mariadb_is_found() {
    let scene = at_rest(Kind::MariaDb, &[]).await;
    let name = scene.database.name();
    let user = format!("u{}", &name[name.len() - 8..]);
    for sql in [
        format!("create user '{user}'@'%' identified by 'hush'"),
        format!("grant select on {name}.* to '{user}'@'%'"),
        format!("grant insert, update, delete on {name}.eos_inbox to '{user}'@'%'"),
        format!("grant insert on {name}.eos_position to '{user}'@'%'"),
    ] {
        scene.database.execute(&sql).await;
    }
    let (_, host) = scene.database.url().rsplit_once('@').expect("a user and a host");
    let url = format!("mysql://{user}:hush@{host}");
    let variables = [("EOS_DATABASE_URL", url.as_str()), ("EOS_KAFKA_GROUP", "g")];
    let said = scene.eos_with(EOS, &["check", "--json"], &variables).await;
    scene.database.execute(&format!("drop user '{user}'@'%'")).await;
    assert!(!format!("{said:?}").contains("hush"), "{said:?}");
    let findings = said.json();
    says(&findings, "problem", "rights", &["update eos_position", "delete eos_outbox", "grant"]);
    assert!(!found(&findings, "problem", "rights")[0].contains("eos_inbox"), "{findings:#}");
    assert!(!found(&findings, "problem", "rights")[0].contains("insert eos_position"), "{findings:#}");
    says(&findings, "warning", "transactions", &["grant process"]);

    let mut console = scene.database.mariadb().begin().await.expect("a transaction");
    sqlx::query("select count(*) from eos_position").execute(&mut *console).await.expect("a snapshot");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let said = check(&scene, &["--old", "1s"]).await;
    assert_eq!(said.code(), Some(0), "a warning is no problem");
    says(&said.json(), "warning", "transactions", &["connection", "`kill "]);
    assert_eq!(check(&scene, &["--old", "1s", "--strict"]).await.code(), Some(1));
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_positions_that_do_not_fit_are_found() {
    let odd = [
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "3600000"),
        ("unclean.leader.election.enable", "true"),
        ("max.message.bytes", "900000"),
    ];
    let scene = at_rest(Kind::Postgres, &odd).await;
    let letters = format!("{}-dlt", scene.topic);
    scene.kafka.create_topic(&letters, 1, &[("max.message.bytes", "100000")]).await;
    let letter = format!(
        "insert into eos_dead_letter (group_id, topic, partition, record_offset, listener, attempts, reason, error, publish_to) \
         values ('{}', '{}', 0, 0, 'l', 1, 'poison', 'e', 'event.nowhere')",
        scene.group, scene.topic
    );
    scene.database.execute(&letter).await;
    scene.database.execute("update eos_position set next_offset = 11").await;
    let said = check(&scene, &["--topic", "event.neither"]).await;
    assert_eq!(said.code(), Some(1));
    let findings = said.json();
    let topic = format!("topic {}", scene.topic);
    says(&findings, "problem", &topic, &["unclean.leader.election.enable"]);
    says(&findings, "warning", &topic, &["cleanup.policy"]);
    says(&findings, "warning", &topic, &["retention.ms", "1h"]);
    says(&findings, "warning", &format!("topic {letters}"), &["100000", "900000"]);
    says(&findings, "problem", "topic event.nowhere", &["dead letters wait"]);
    says(&findings, "problem", "topic event.neither", &["there is no such topic"]);
    let group = format!("group {}", scene.group);
    says(&findings, "problem", &group, &["is 11", "ends at 10", "eos positions reset"]);

    scene.kafka.delete_records(&scene.topic, 0, 5).await;
    scene.database.execute("update eos_position set next_offset = 3").await;
    says(&check(&scene, &[]).await.json(), "problem", &group, &["is 3", "begins at 5"]);
    scene.database.execute("update eos_position set next_offset = 10, cluster = 'another'").await;
    says(&check(&scene, &[]).await.json(), "problem", &group, &["`another`", "--other-cluster"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_do_not_answer_are_findings_beside_all_others() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let toml = "[kafka]\ngroup = \"billing\"\nstrat = \"latest\"\n[tenant]\nname = \"a\"\n\
                [databases.default]\nurl = \"postgres://me:hush@127.0.0.1:1/shop\"\n\
                [databases.audit]\nurl = \"mysql://me:hush@127.0.0.1:1/shop\"\n";
    std::fs::write(scene.folder().join("eos.toml"), toml).expect("a file");
    let variables = [("EOS_DATABASE_URL", ""), ("EOS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")];
    let said = scene.eos_with(EOS, &["check", "--json"], &variables).await;
    assert!(!format!("{said:?}").contains("hush"), "{said:?}");
    assert_eq!(said.code(), Some(1));
    let findings = said.json();
    says(&findings, "problem", "settings", &["strat` (eos.toml, line 3)", "`start`"]);
    says(&findings, "warning", "settings", &["tenant"]);
    let away = found(&findings, "problem", "connection");
    assert_eq!(away.len(), 3, "{findings:#}");
    assert!(
        away.iter().all(|says| says.contains("127.0.0.1:1") && says.contains("host and port")),
        "{away:?}"
    );
    std::fs::remove_file(scene.folder().join("eos.toml")).expect("it goes");

    // No tables yet, and no database.
    let findings = check(&scene, &[]).await.json();
    says(&findings, "problem", "tables", &["`eos migrate` makes them"]);
    assert_eq!(found(&findings, "problem", "outbox"), Vec::<&str>::new(), "one cause is one finding");
    let findings = scene.eos_with(EOS, &["check", "--json"], &[("EOS_DATABASE_URL", "")]).await.json();
    says(&findings, "warning", "address", &["none is named"]);
    says(&findings, "ok", "connection", &["answers"]);
}
