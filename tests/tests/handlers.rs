//! Handlers that do what they should not, and partitions that wait or stop for it.

use std::time::{Duration, Instant};

use eos_tests::{Kind, PATIENCE, Scene, What};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

const STOPPED: &str = "the partition is stopped";

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_goes_on_after_an_sql_error_commits_nothing_until_it_succeeds() {
    let scene = surrounded(What::SwallowTwice).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    assert_eq!(scene.told().begun(), 3 * 3 + 3 * 3, "two attempts could not be committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_changes_search_path_misleads_no_claim() {
    let scene = surrounded(What::MoveSearchPath).await;
    // Tables of the same names: a claim that is led there would find a position, and count on it.
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    scene
        .database
        .execute(
            "create schema decoy; \
             create table decoy.eos_position (like public.eos_position including all); \
             insert into decoy.eos_position select * from public.eos_position; \
             create table decoy.eos_inbox (like public.eos_inbox including all); \
             create table decoy.applied (like public.applied)",
        )
        .await;
    scene.produce(What::MoveSearchPath, 5).await;
    scene.produce(What::Insert, 20).await;
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
    assert_eq!(scene.database.number("select count(*) from decoy.eos_inbox").await.expect("a number"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_says_commit_is_refused_and_told_what_to_use() {
    let scene = surrounded(What::CommitOnce).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    assert!(service.says("`tx.begin()`") > 0, "it names the savepoint");
    service.stop().await;
    scene.assert_every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_commits_past_the_guard_stops_its_partition() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.database.execute("create table strays (order_id text)").await;
    scene.produce_to(0, What::Insert, 3).await;
    scene.produce_to(0, What::CommitPastTheGuard, 1).await;
    scene.produce_to(0, What::Insert, 3).await;
    scene.produce_to(1, What::Insert, 10).await;
    let mut service = scene.launch().start();
    service.has_said(STOPPED).await;
    assert!(service.says("the handler ended the transaction that eos opened") > 0);
    // The other partition goes on; this one has the order that committed itself, and none after it.
    scene.has_applied(14).await;
    assert_eq!(scene.applied().await, 14);
    service.stop().await;

    let mut fixed = scene.launch().env("SINK_FIXED", "yes").start();
    scene.every_order_once().await;
    fixed.stop().await;
    assert_eq!(scene.database.number("select count(*) from strays").await.expect("a number"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_rolls_back_past_the_guard_stops_its_partition() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.produce_to(0, What::Insert, 3).await;
    scene.produce_to(0, What::RollbackPastTheGuard, 1).await;
    scene.produce_to(0, What::Insert, 3).await;
    scene.produce_to(1, What::Insert, 10).await;
    let mut service = scene.launch().start();
    service.has_said(STOPPED).await;
    scene.has_applied(13).await;
    assert_eq!(scene.applied().await, 13, "the order that was rolled back is not skipped");
    service.stop().await;

    let mut fixed = scene.launch().env("SINK_FIXED", "yes").start();
    scene.every_order_once().await;
    fixed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_is_tried_again() {
    let scene = surrounded(What::Panic).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    assert!(service.says("the handler panicked: no such customer") > 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_sleeps_past_its_deadline_is_rolled_back_and_tried_again() {
    oversleeps(What::Oversleep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_its_thread_is_named_and_tried_again() {
    let scene = surrounded(What::Block).await;
    let mut service = scene.launch().env("EOS__LISTENERS__SINKS__POSTGRES__DEADLINE", "700ms").start();
    scene.every_order_once().await;
    let named = |line: &&str| {
        line.contains("blocks its thread") && line.contains("offset=2") && line.contains("lasts=")
    };
    assert!(service.log().lines().filter(|line| named(line)).count() >= 1, "it is named");
    assert!(service.says("was not done within its deadline of 700ms") > 0, "and it has failed");
    service.stop().await;
    assert!(scene.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_runs_past_the_deadline_is_ended_and_tried_again() {
    oversleeps(What::OversleepInTheDatabase).await;
}

async fn oversleeps(what: What) {
    let scene = surrounded(what).await;
    let mut service = scene.launch().env("EOS__LISTENERS__SINKS__POSTGRES__DEADLINE", "700ms").start();
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
    let sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep(3600)%' \
                    and datname = current_database() and pid <> pg_backend_pid()";
    assert_eq!(scene.database.number(sleeping).await.expect("a number"), 0, "no statement was left running");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dead_letters_an_order_that_can_never_succeed_stops_only_its_partition() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.produce_to(0, What::Insert, 3).await;
    scene.produce_to(0, What::Fatal, 1).await;
    scene.produce_to(0, What::Insert, 3).await;
    scene.produce_to(1, What::Insert, 10).await;
    let mut service = scene.launch().never_set_aside().env("EOS__RETRY__STOPPED_LOG_EVERY", "1s").start();
    service.has_said_times(STOPPED, 2).await;
    scene.produce_to(1, What::Insert, 10).await;
    scene.has_applied(23).await;
    assert_eq!(scene.applied().await, 23, "nothing is skipped");
    assert!(service.says("this order can never be served") > 0, "the reason is said");
    let began = scene.told().lines().iter().filter(|line| line.what == "begin" && line.offset == 3).count();
    assert!(began <= 2, "it is not tried again: {began}");
    service.stop().await;

    let mut fixed = scene.launch().env("SINK_FIXED", "yes").start();
    scene.every_order_once().await;
    fixed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_answered_at_once_while_a_record_waits_for_its_retry() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::FailAlways, 1).await;
    let mut service =
        scene.launch().env("EOS__RETRY__BACKOFF", "1h").env("EOS__RETRY__MAX_BACKOFF", "1h").start();
    service.has_said("tries again in").await;
    let began = Instant::now();
    service.stop().await;
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());

    let mut fixed = scene.launch().env("SINK_FIXED", "yes").start();
    scene.every_order_once().await;
    fixed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_is_answered_at_once_while_a_record_waits_for_its_retry() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    for partition in 0..2 {
        scene.produce_to(partition, What::FailAlways, 1).await;
        scene.produce_to(partition, What::Insert, 5).await;
    }
    let slow = || scene.launch().env("EOS__RETRY__BACKOFF", "1h").env("EOS__RETRY__MAX_BACKOFF", "1h");
    let mut one = slow().start();
    one.has_said_times("tries again in", 2).await;
    let mut other = scene.launch().env("SINK_FIXED", "yes").start();
    // One of the two partitions moves to the new member, who can serve it.
    scene.has_applied(6).await;
    one.stop().await;
    scene.every_order_once().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_attempt_in_flight() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.close_gate();
    scene.produce(What::Hold, 1).await;
    scene.produce(What::Insert, 5).await;
    let mut service = scene.launch().start();
    eos_tests::eventually("a handler has begun", PATIENCE, async || match scene.told().begun() {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    })
    .await;
    service.terminate();
    service.has_said("stop").await;
    // It is said before the partitions' workers hear of it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.open_gate();
    assert!(service.exit(PATIENCE).await.success());
    assert_eq!(scene.applied().await, 1, "the attempt in flight is finished, and no other begun");
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    assert_eq!(scene.told().begun(), 6, "no handler ran twice");
}

/// Three partitions, each with three such orders between six good ones... in the order good, such, good.
async fn surrounded(what: What) -> Scene {
    let scene = Scene::new(Kind::Postgres, 3, SINKS).await;
    for partition in 0..3 {
        scene.produce_to(partition, What::Insert, 2).await;
        scene.produce_to(partition, what, 1).await;
        scene.produce_to(partition, What::Insert, 1).await;
    }
    scene
}
