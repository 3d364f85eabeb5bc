//! As many records in one transaction as are queued: each once, in order, and one that fails alone to blame.

use std::time::Duration;

use eos_tests::{Kind, Launch, PATIENCE, Scene, Sent, What, eventually};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_in_a_group_is_alone_to_blame_on_postgres() {
    is_alone_to_blame(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_in_a_batch_is_alone_to_blame() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let launch = scene.launch().env("SINK_LISTENER", "batches");
    blame(&scene, launch).await;
}

/// Also the record that does not parse, of which the handler sees nothing.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_parse_in_a_batch_is_alone_to_blame() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 120).await;
    let broken = Sent { partition: Some(0), payload: Some(b"{".to_vec()), ..Sent::default() };
    scene.kafka.produce(&scene.topic, &[broken]).await;
    scene.produce_to(0, What::Insert, 120).await;
    let mut service = scene.launch().env("SINK_LISTENER", "batches").start();
    scene.has_applied(240).await;
    service.stop().await;
    assert_eq!(scene.applied().await, 240);
    let letters = scene.dead_letters().await;
    assert_eq!((letters.len(), letters[0].offset, &*letters[0].reason), (1, 120, "poison"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_more_as_long_as_it_may() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 50).await;
    let mut service = scene.launch().env("SINK_LISTENER", "patient_batches").start();
    scene.every_order_once().await;
    for _ in 0..4 {
        scene.produce_to(0, What::Insert, 5).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(scene.applied().await, 50, "it waits");
    scene.every_order_once().await;
    let transactions = "select count(distinct xmin::text) from applied where off >= 50";
    assert_eq!(scene.database.number(transactions).await.expect("a number"), 1);
    // A stop does not wait.
    scene.produce_to(0, What::Insert, 5).await;
    service.stop().await;
    let mut next = scene.launch().start();
    scene.every_order_once().await;
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_in_a_group_is_alone_to_blame_on_mariadb() {
    is_alone_to_blame(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_in_a_group_is_alone_to_blame_on_sqlite() {
    is_alone_to_blame(Kind::Sqlite).await;
}

async fn is_alone_to_blame(kind: Kind) {
    let scene = Scene::new(kind, 2, SINKS).await;
    blame(&scene, scene.launch().in_groups(kind)).await;
}

async fn blame(scene: &Scene, launch: Launch) {
    for partition in 0..2 {
        for what in [What::FailTwice, What::Fatal, What::FailAlways, What::Panic] {
            let orders = scene.produce_to(partition, What::Insert, 60).await;
            // Twice in the same group, and again in a later one.
            scene.produce_again(&orders[50..]).await;
            let one = scene.produce_to(partition, what, 1).await;
            scene.produce_again(&one).await;
            scene.produce_to(partition, What::Insert, 30).await;
        }
        scene.produce_without_ids(30).await;
    }
    let mut service = launch.env("EOS__RETRY__MAX", "3").start();
    scene.every_order_once().await;
    assert!(service.says("its records go by halves") > 0, "there were groups, and some failed");
    service.stop().await;
    scene.assert_every_order_once().await;
    let mut reasons: Vec<_> =
        scene.dead_letters().await.into_iter().map(|letter| (letter.reason, letter.attempts)).collect();
    reasons.sort();
    let expected = [("failed", 3), ("failed", 3), ("poison", 1), ("poison", 1)];
    assert_eq!(reasons, expected.map(|(reason, attempts)| (reason.to_owned(), attempts)));
}

/// The orders of a partition are begun in their order, whatever fails between them.
#[tokio::test(flavor = "multi_thread")]
async fn groups_keep_the_order_and_commit_many_at_once() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 2000).await;
    let mut service = scene.launch().in_groups(Kind::Postgres).start();
    scene.every_order_once().await;
    service.stop().await;
    let offsets: Vec<i64> =
        scene.told().lines().iter().filter(|line| line.what == "begin").map(|line| line.offset).collect();
    assert!(offsets.is_sorted(), "in order");
    let transactions =
        scene.database.number("select count(distinct xmin::text) from applied").await.expect("a number");
    assert!((40..80).contains(&transactions), "fifty each: {transactions} transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_past_its_deadline_goes_one_by_one() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 60).await;
    scene.produce_to(0, What::Oversleep, 1).await;
    scene.produce_to(0, What::Insert, 60).await;
    let mut service = scene
        .launch()
        .in_groups(Kind::Postgres)
        .env("EOS__LISTENERS__SINKS__POSTGRES_IN_GROUPS__DEADLINE", "1s")
        .start();
    scene.every_order_once().await;
    service.stop().await;
    assert!(scene.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kills_the_process_in_a_group_is_set_aside_in_the_end() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 80).await;
    scene.produce_to(0, What::Kill, 1).await;
    scene.produce_to(0, What::Insert, 80).await;
    let launch = || scene.launch().in_groups(Kind::Postgres).env("EOS__RETRY__MAX", "2");
    // In a group, of which nobody knew; in the first group of another process, which was noted; then alone, twice.
    for _ in 0..4 {
        launch().start().dies().await;
    }
    let mut service = launch().start();
    scene.every_order_once().await;
    service.stop().await;
    let letters = scene.dead_letters().await;
    assert_eq!((letters.len(), &*letters[0].reason), (1, "killed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_percent_of_poison_with_kills_is_set_aside_and_the_rest_applied_once_record_by_record() {
    one_percent("postgres").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_percent_of_poison_with_kills_is_set_aside_and_the_rest_applied_once_in_batches() {
    one_percent("batches").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_percent_of_poison_with_kills_is_set_aside_and_the_rest_applied_once_in_groups() {
    one_percent("postgres_in_groups").await;
}

/// 20,000 records, of which 200 are poison, and a SIGKILL every few seconds.
async fn one_percent(listener: &str) {
    let scene = Scene::new(Kind::Postgres, 4, SINKS).await;
    for _ in 0..200 {
        scene.produce(What::Insert, 99).await;
        scene.produce(What::Fatal, 1).await;
    }
    let launch = || scene.launch().env("EOS__DEAD_LETTERS__BREAKER", "0").env("SINK_LISTENER", listener);
    let mut members = [launch().start(), launch().start()];
    let mut kills = 0;
    for round in 0.. {
        let before = scene.applied().await;
        if before + 3000 > 19_800 {
            break;
        }
        eventually("a thousand more are applied", PATIENCE, async || match scene.applied().await {
            now if now >= before + 1000 => Ok(()),
            now => Err(format!("{} more", now - before)),
        })
        .await;
        members[round % 2].kill();
        kills += 1;
        members[round % 2] = launch().start();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    scene.every_order_once().await;
    for member in &mut members {
        member.stop().await;
    }
    scene.assert_every_order_once().await;
    assert_eq!(scene.dead_letters().await.len(), 200);
    assert!(kills >= 2, "{kills} kills");
}
