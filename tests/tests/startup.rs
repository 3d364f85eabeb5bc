//! What start-up says before anything is started: every mistake, with its place and the fix, and never a secret.

#![expect(clippy::unused_async, reason = "handlers that do nothing are async all the same")]

use std::future::{pending, ready};
use std::path::{Path, PathBuf};
use std::time::Duration;

use eos_runtime::prelude::*;
use eos_runtime::{App, Error, app};

#[derive(Clone)]
struct Mailer;

#[kafka_listener(topic = "startup.plain")]
async fn on_plain(_record: &Record) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "startup.${topics.order:order}", group = "${topics.group}")]
async fn on_placeholder(_record: &Record) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "startup.stateful")]
async fn on_stateful(State(_mailer): State<Mailer>, _record: &Record) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "startup.twice")]
async fn on_twice(_record: &Record) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "startup.twice")]
async fn on_twice_too(_record: &Record) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "startup.order", transactional)]
async fn on_order(_tx: &mut PgTx, _record: &Record) -> HandlerResult {
    Ok(())
}

const LEAST: &str = "[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\ngroup = \"startup\"\n";

#[tokio::test]
async fn five_mistakes_in_the_settings_are_five() {
    let text = "[kafka]\nbootstrap_servers = \"a:1\"\ngroup = 7\n[kafka.properties]\nauto.offset.reset = \"latest\"\n\
                [inbox]\nretenton = \"7d\"\n[retry]\nfactor = \"two\"\n\
                [listeners.\"startup::on_plane\"]\nenabled = true\n";
    let said = mistakes("five", text, app().listeners(["startup::on_plain"])).await;
    let expected = [
        "`[kafka] group` (",
        "`[kafka.properties] auto.offset.reset` (",
        "`[inbox] retenton` (",
        "`[retry] factor` (",
        "`[listeners.\"startup::on_plane\"]`: this program has no such listener; did you mean `startup::on_plain`?",
    ];
    assert_eq!(said.len(), 5, "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "`{said}` should begin with `{expected}`");
    }
}

#[tokio::test]
async fn everything_wrong_with_the_listeners_is_said_together() {
    let said = mistakes("listeners", LEAST, app().expect(["startup::gone"])).await;
    let expected = [
        "there is no listener `startup::gone`",
        "`${topics.group}` has no value; set `[topics] group` (`EOS__TOPICS__GROUP`)",
        "listener `startup::on_stateful` takes a state of type `startup::Mailer`",
        "topic `startup.twice` is claimed by `startup::on_twice` and `startup::on_twice_too` in group `startup`",
    ];
    for part in expected {
        assert!(said.iter().any(|mistake| mistake.contains(part)), "{part} is not in {said:#?}");
    }
}

#[tokio::test]
async fn a_transaction_of_another_database_is_a_mistake() {
    let text = format!("{LEAST}[database]\nurl = \"sqlite://orders.db\"\n");
    let said = mistakes("kind", &text, app().listeners(["startup::on_order"])).await;
    assert_eq!(
        said,
        [
            "listener `startup::on_order` takes a PostgreSQL transaction (`&mut PgTx`), but the database `default` \
             is SQLite; change the one or the other"
        ]
    );
}

#[tokio::test]
async fn a_program_with_nothing_to_do_does_not_start() {
    let text = format!("{LEAST}[listeners.\"startup::on_plain\"]\nenabled = false\n");
    let said = mistakes("nothing", &text, app().listeners(["startup::on_plain"])).await;
    assert_eq!(
        said,
        ["there is nothing to do: every listener is left out by `.listeners(…)` or `enabled = false`"]
    );
}

#[tokio::test]
async fn an_error_from_main_is_a_list_that_a_person_can_read() {
    let app =
        app().listeners(["startup::on_stateful"]).settings_from(file("main", "[inbox]\nretention = 7\n"));
    let error = app.run().await.expect_err("mistakes");
    let said = format!("Error: {error:?}");
    assert!(said.starts_with("Error: nothing was started: there are "), "{said}");
    assert!(said.contains("\n  1. ") && said.contains("\n  2. "), "{said}");
}

#[tokio::test]
async fn a_caller_can_stop_it_whether_the_broker_answers_or_not() {
    let app = app().listeners(["startup::on_plain"]).settings_from(file("caller", LEAST));
    let stopped = app.shutdown(ready(())).run();
    let stopped = tokio::time::timeout(Duration::from_secs(30), stopped).await.expect("within the deadline");
    assert!(stopped.is_ok(), "{stopped:?}");
}

#[tokio::test]
async fn an_application_that_is_dropped_stops() {
    let app = app().state(Mailer).listeners(["startup::on_stateful"]).settings_from(file("dropped", LEAST));
    let running = tokio::spawn(app.shutdown(pending()).run());
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.abort();
    assert!(running.await.expect_err("it was dropped").is_cancelled());
}

async fn mistakes(name: &str, settings: &str, app: App) -> Vec<String> {
    match app.settings_from(file(name, settings)).shutdown(ready(())).run().await {
        Err(Error::Setup(mistakes)) => mistakes.iter().map(str::to_owned).collect(),
        other => panic!("it was to find mistakes: {other:?}"),
    }
}

fn file(name: &str, settings: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("startup-{name}.toml"));
    std::fs::write(&path, settings).expect("the settings are written");
    path
}
