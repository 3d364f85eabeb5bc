//! What is down is waited for: no attempt is counted and nothing is set aside, however long it lasts.
//!
//! In all of these a record has one attempt, so that one that was counted would be a dead letter.

use std::time::Duration;

use eos_tests::{Kind, Launch, Private, Scene, What, servers, stays};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

const OUTAGE: &str = "an outage: the listener waits";

fn one_attempt(scene: &Scene) -> Launch {
    scene.launch().env("EOS__RETRY__MAX", "1")
}

async fn nothing_is_applied_for(scene: &Scene, during: Duration) {
    stays("nothing is applied", during, async || match scene.applied().await {
        0 => Ok(()),
        applied => Err(format!("{applied} orders are")),
    })
    .await;
}

async fn nothing_was_counted(scene: &Scene) {
    assert!(scene.dead_letters().await.is_empty(), "{:?}", scene.dead_letters().await);
    let counted = scene.database.number("select sum(attempts) from eos_position").await.expect("a number");
    assert_eq!(counted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_down_for_a_while_costs_no_attempt() {
    let mut postgres = Private::start("postgres").await;
    let url = format!("postgres://postgres@{}/postgres", postgres.address());
    let scene = Scene::on(Kind::Postgres, &url, &servers().kafka, SINKS).await;
    scene.kafka.create_topic(&scene.topic, 4, &[]).await;
    scene.produce(What::Insert, 1000).await;
    let mut service = one_attempt(&scene).start();
    scene.has_applied(200).await;
    postgres.kill();
    scene.produce(What::Insert, 10_000).await;
    service.has_said(OUTAGE).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    postgres.start_again().await;
    scene.every_order_once().await;
    service.stop().await;
    nothing_was_counted(&scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_the_handler_tells_of_pauses_the_listener() {
    let scene = Scene::new(Kind::Postgres, 3, SINKS).await;
    scene.close_gate();
    for partition in 0..3 {
        scene.produce_to(partition, What::Outage, 1).await;
        scene.produce_to(partition, What::Insert, 10).await;
    }
    let mut service = one_attempt(&scene).start();
    service.has_said(OUTAGE).await;
    assert!(service.says("the payment service answers 503") > 0, "its reason is said");
    nothing_is_applied_for(&scene, Duration::from_secs(3)).await;
    let looks = scene.told().begun();
    assert!((3..30).contains(&looks), "partitions look one at a time, ever more rarely: {looks}");
    scene.open_gate();
    scene.every_order_once().await;
    assert!(service.says("the outage is over") > 0);
    service.stop().await;
    nothing_was_counted(&scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_answered_at_once_during_an_outage() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.close_gate();
    scene.produce(What::Outage, 10).await;
    let mut service = one_attempt(&scene).env("EOS__RETRY__MAX_BACKOFF", "1h").start();
    service.has_said(OUTAGE).await;
    nothing_is_applied_for(&scene, Duration::from_secs(1)).await;
    service.stop().await;
    scene.open_gate();
    let mut next = one_attempt(&scene).start();
    scene.every_order_once().await;
    next.stop().await;
    nothing_was_counted(&scene).await;
}

/// 42P01, and 42501 on the way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_ahead_of_its_migration_waits_for_it() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.database.execute("alter table applied rename to applied_before").await;
    scene.produce(What::Insert, 50).await;
    let mut service = one_attempt(&scene).start();
    service.has_said(OUTAGE).await;
    assert!(service.says("does not exist") > 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.database.execute("alter table applied_before rename to applied").await;
    scene.every_order_once().await;
    service.stop().await;
    nothing_was_counted(&scene).await;
}

/// Each process makes an attempt, and none of them counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_outlasts_many_processes_costs_no_attempt() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.database.execute("alter table applied rename to applied_before").await;
    scene.produce(What::Insert, 20).await;
    for _ in 0..3 {
        let mut service = one_attempt(&scene).start();
        service.has_said(OUTAGE).await;
        service.stop().await;
        nothing_was_counted(&scene).await;
    }
    scene.database.execute("alter table applied_before rename to applied").await;
    let mut service = one_attempt(&scene).start();
    scene.every_order_once().await;
    service.stop().await;
    nothing_was_counted(&scene).await;
}

/// 25006, as after a failover to a standby: also the connections that were made meanwhile are of no use afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_can_only_be_read_is_waited_for() {
    let scene = Scene::new(Kind::Postgres, 3, SINKS).await;
    scene.produce(What::Insert, 300).await;
    let mut service = one_attempt(&scene).start();
    scene.has_applied(50).await;
    let read_only = |value: &str| {
        let name = scene.database.name();
        format!(
            "alter database {name} set default_transaction_read_only = {value}; \
             select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = '{name}' and application_name like 'eos%'"
        )
    };
    let on = read_only("on");
    scene.database.execute(&on).await;
    scene.produce(What::Insert, 300).await;
    service.has_said("cannot execute").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let name = scene.database.name();
    scene.database.execute(&format!("set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only")).await;
    scene.every_order_once().await;
    service.stop().await;
    nothing_was_counted(&scene).await;
}
