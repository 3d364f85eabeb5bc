//! What a service says of itself over HTTP, and what can be changed there.

use std::time::Duration;

use eos_tests::{Admin, Kind, Launch, PATIENCE, Scene, Service, What, eventually, stays};
use serde_json::Value;

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");
const TOKEN: &str = "hush-of-the-admin-server";

fn launch(scene: &Scene) -> Launch {
    scene.launch().env("EOS__ADMIN__LISTEN", "127.0.0.1:0")
}

async fn start(launch: Launch) -> (Service, Admin) {
    let service = launch.start();
    let admin = Admin::of(&service).await;
    (service, admin)
}

/// A partition of the only listener, once it looks like this.
async fn partition(admin: &Admin, number: usize, is_wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("the partition is as it should be", PATIENCE, async || {
        let listeners = admin.listeners().await;
        let partition = listeners["listeners"][0]["partitions"][number].clone();
        if is_wanted(&partition) { Ok(partition) } else { Err(listeners.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stopped_is_seen_with_what_to_do_while_others_go_on() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let (mut service, admin) = start(launch(&scene).never_set_aside()).await;
    scene.produce_to(1, What::Insert, 3).await;
    scene.has_applied(3).await;
    admin.readiness(200, &["ok"]).await;

    scene.produce_to(1, What::Fatal, 1).await;
    scene.produce_to(1, What::Insert, 4).await;
    scene.produce_to(0, What::Insert, 5).await;
    let words = [
        "listener `sinks::postgres`",
        &scene.topic,
        "[1] is stopped at offset 3",
        "can never be served",
        "restart",
    ];
    let answer = admin.readiness(503, &words).await;
    assert_eq!(answer.text.lines().count(), 1, "{answer:?}");
    assert_eq!(admin.get("/livez").await.expect("it answers").status, 200, "a restart would not help");

    let stopped = partition(&admin, 1, |partition| partition["lag"] == 5).await;
    assert_eq!(stopped["state"], "stopped");
    assert_eq!(
        (&stopped["offset"], &stopped["position"], &stopped["end"]),
        (&3.into(), &3.into(), &8.into())
    );
    let fine = partition(&admin, 0, |partition| partition["position"] == 5 && partition["lag"] == 0).await;
    assert_eq!(fine["state"], "running");
    let listeners = admin.listeners().await;
    let listener = &listeners["listeners"][0];
    assert_eq!(listener["id"], "sinks::postgres");
    assert_eq!(
        (&listener["dead_letter"], &listener["retry"]["max_backoff"]),
        (&"off".into(), &"500ms".into())
    );

    eventually("the metrics show it, too", PATIENCE, async || {
        let text = admin.get("/metrics").await?.text;
        let line = "eos_partitions_stopped{listener=\"sinks::postgres\"} 1";
        let histogram = "eos_handler_seconds_bucket{listener=\"sinks::postgres\",le=\"0.001\"}";
        if text.contains(line) && text.contains(histogram) { Ok(()) } else { Err(text) }
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_tried_again_and_again_counts_as_stuck_after_a_while() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let (mut service, admin) =
        start(launch(&scene).never_set_aside().env("EOS__ADMIN__STUCK_AFTER", "4s")).await;
    scene.produce(What::Insert, 2).await;
    scene.produce(What::FailAlways, 1).await;
    let again = partition(&admin, 0, |partition| partition["attempt"].as_i64() >= Some(3)).await;
    assert_eq!((&again["state"], &again["offset"]), (&"trying again".into(), &2.into()));
    assert_eq!(admin.get("/readyz").await.expect("it answers").status, 200, "not yet");
    admin.readiness(503, &["[0] is stuck at offset 2", "next by attempt", "never yet"]).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_seen_while_it_lasts() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.close_gate();
    let (mut service, admin) = start(launch(&scene)).await;
    scene.produce(What::Outage, 1).await;
    admin.readiness(503, &["listener `sinks::postgres`: an outage", "the payment service answers 503"]).await;
    assert_eq!(admin.listeners().await["listeners"][0]["state"], "waiting for an outage");
    scene.open_gate();
    admin.readiness(200, &["ok"]).await;
    assert_eq!(admin.listeners().await["listeners"][0]["state"], "running");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_ready_neither_before_it_has_started_nor_while_it_stops() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let nobody = "postgres://postgres@127.0.0.1:1/nobody";
    let (mut service, admin) = start(launch(&scene).env("EOS_DATABASE_URL", nobody)).await;
    admin.readiness(503, &["starting"]).await;
    assert_eq!(admin.get("/livez").await.expect("it answers").status, 200);
    assert_eq!(admin.listeners().await["process"], "starting");
    service.stop().await;

    scene.close_gate();
    scene.produce(What::Hold, 1).await;
    let (mut service, admin) = start(launch(&scene)).await;
    admin.readiness(200, &["ok"]).await;
    eventually("the handler runs", PATIENCE, async || match scene.told().begun() {
        0 => Err("it does not".to_owned()),
        _ => Ok(()),
    })
    .await;
    service.terminate();
    admin.readiness(503, &["stopping"]).await;
    let still = async || admin.get("/readyz").await.map(drop);
    stays("it says so until the end", Duration::from_millis(500), still).await;
    scene.open_gate();
    assert!(service.exit(PATIENCE).await.success());
    assert!(admin.get("/livez").await.is_err(), "nobody answers any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_changed_without_a_token() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Fatal, 1).await;
    let (mut service, admin) = start(launch(&scene)).await;
    scene.is_caught_up(PATIENCE).await;
    for token in [None, Some("anything")] {
        let answer = admin.post("/dead-letters/1/replay", token).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.text.contains("`[admin] token`"), "{answer:?}");
    }
    assert_eq!(admin.get("/dead-letters/1/replay").await.expect("it answers").status, 405);
    let dead = "select count(*) from eos_dead_letter where state = 0";
    assert_eq!(scene.database.number(dead).await.expect("a number"), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_token_replays_a_dead_letter_once_and_discards_another() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Fatal, 2).await;
    let mut first = launch(&scene).start();
    scene.is_caught_up(PATIENCE).await;
    first.stop().await;

    let (mut service, admin) =
        start(launch(&scene).env("EOS__ADMIN__TOKEN", TOKEN).env("SINK_FIXED", "1")).await;
    admin.readiness(200, &["ok"]).await;
    for wrong in [None, Some(""), Some("hush-of-the-admin-serve"), Some("hush-of-the-admin-server!")] {
        let answer = admin.post("/dead-letters/1/replay", wrong).await;
        assert_eq!(answer.status, 401, "{wrong:?}: {answer:?}");
    }
    assert_eq!(scene.applied().await, 0);

    let replayed = admin.post("/dead-letters/1/replay", Some(TOKEN)).await;
    assert_eq!((replayed.status, replayed.text.contains("wanted")), (200, true), "{replayed:?}");
    scene.has_applied(1).await;
    assert_eq!(admin.post("/dead-letters/1/replay", Some(TOKEN)).await.status, 404, "it is done");
    let discarded = admin.post("/databases/default/dead-letters/2/discard", Some(TOKEN)).await;
    assert_eq!(discarded.status, 200, "{discarded:?}");
    for (path, status) in [
        ("/dead-letters/2/replay", 404),
        ("/dead-letters/99/discard", 404),
        ("/dead-letters/1/delete", 404),
        ("/dead-letters/one/replay", 400),
        ("/databases/audit/dead-letters/1/replay", 404),
    ] {
        let answer = admin.post(path, Some(TOKEN)).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.applied().await, 1, "once, and the discarded one never");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_answer_nor_in_the_log() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::FailAlways, 1).await;
    scene.produce(What::Insert, 3).await;
    let url = scene.database.url().replace("postgres@", "postgres:hush-of-the-database@");
    assert!(url.contains("hush"), "{url}");
    let launch = launch(&scene)
        .env("EOS_DATABASE_URL", url)
        .env("EOS__ADMIN__TOKEN", TOKEN)
        .kafka("sasl.password", "hush-of-the-login")
        .never_set_aside();
    let (mut service, admin) = start(launch).await;
    partition(&admin, 0, |partition| partition["state"] == "trying again").await;
    let mut answers = vec![
        admin.post("/dead-letters/1/replay", None).await,
        admin.post("/dead-letters/1/replay", Some(TOKEN)).await,
        admin.post("/databases/nobody/dead-letters/1/replay", Some(TOKEN)).await,
    ];
    for path in ["/livez", "/readyz", "/metrics", "/listeners", "/", "/nowhere"] {
        answers.push(admin.get(path).await.expect("it answers"));
    }
    service.stop().await;
    for answer in answers {
        assert!(!answer.text.contains("hush"), "{answer:?}");
    }
    assert!(!service.log().contains("hush"), "the log shows one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_said_at_start_with_the_other_mistakes() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let (mut service, admin) = start(launch(&scene)).await;
    let second = scene.launch().env("EOS__ADMIN__LISTEN", admin.address()).env("EOS__RETRY__FACTOR", "0.5");
    let mut second = second.start();
    assert!(!second.exit(PATIENCE).await.success());
    let log = second.log();
    assert!(log.contains("there are 2 mistakes to mend"), "{log}");
    assert!(log.contains("`[admin] listen`") && log.contains(admin.address()), "{log}");
    assert_eq!(admin.get("/livez").await.expect("the first goes on").status, 200);
    service.stop().await;
}
