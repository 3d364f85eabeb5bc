//! What a listener that remembers ids in a database does when that is down, hangs, forgets, or refuses: nothing is skipped, and
//! what was forgotten is the one thing that is handled again.

use std::time::Duration;

use eos_tests::proxy::{Loss, Proxy};
use eos_tests::{
    Kind, Launch, PATIENCE, Private, Scene, What, eventually, finished, is_done_with_all, servers, stays,
};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");
const WATCH: Duration = Duration::from_secs(2);
const OUTAGE: &str = "an outage: the listener waits";

/// A PostgreSQL of the test's own.
async fn world(partitions: i32) -> (Scene, Private) {
    let postgres = Private::start("postgres").await;
    let url = format!("postgres://postgres@{}/postgres", postgres.address());
    let scene = Scene::on(Kind::Postgres, &url, &servers().kafka, SINKS).await;
    scene.kafka.create_topic(&scene.topic, partitions, &[]).await;
    (scene, postgres)
}

fn launch(scene: &Scene, listener: &str) -> Launch {
    scene
        .launch()
        .env("SINK_LISTENER", listener)
        // An outage that counted an attempt would set a record aside, and there is no topic for it.
        .env("EOS__RETRY__MAX", "1")
}

/// By way of a proxy in front of its database.
fn launch_by(scene: &Scene, proxy: &Proxy, listener: &str) -> Launch {
    launch(scene, listener).env("EOS_DATABASE_URL", scene.database.url_at_port(proxy.port))
}

fn assert_each(scene: &Scene, times: usize) {
    let wrong: Vec<_> = finished(scene).into_iter().filter(|(_, found)| *found != times).collect();
    assert!(wrong.is_empty(), "not {times} times: {wrong:?}");
}

/// Since so many had begun: none without its claim.
async fn nothing_begins(scene: &Scene, before: usize) {
    stays("no handler begins", WATCH, async || match scene.told().begun() {
        begun if begun == before => Ok(()),
        begun => Err(format!("{begun}, and {before} before")),
    })
    .await;
}

async fn inbox(scene: &Scene) -> usize {
    scene.database.inbox(&scene.group, &scene.topic).await.expect("it can be read").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_is_waited_for_and_nothing_is_skipped() {
    let (scene, mut postgres) = world(2).await;
    scene.produce(What::Insert, 10).await;
    let mut service = launch(&scene, "remembering").start();
    is_done_with_all(&scene).await;
    postgres.stop().await;
    scene.produce(What::Insert, 20).await;
    service.has_said(OUTAGE).await;
    assert!(
        service.says("the database `default` cannot be used (see `[database] url` (`EOS_DATABASE_URL`))") > 0
    );
    nothing_begins(&scene, 10).await;
    postgres.start_again().await;
    is_done_with_all(&scene).await;
    service.has_said("the outage is over").await;
    service.stop().await;
    assert_each(&scene, 1);
    assert_eq!(service.says("failed_attempts=0"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handled_while_the_database_went_down_is_marked_and_not_handled_again() {
    let (scene, mut postgres) = world(1).await;
    scene.close_gate();
    scene.produce(What::Hold, 1).await;
    scene.produce(What::Insert, 5).await;
    let mut service = launch(&scene, "remembering").start();
    scene.has_begun(1).await;
    postgres.stop().await;
    scene.open_gate();
    service.has_said(OUTAGE).await;
    nothing_begins(&scene, 1).await;
    postgres.start_again().await;
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each(&scene, 1);
    assert_eq!(inbox(&scene).await, 6);
    assert_eq!(service.says("had forgotten its claim"), 0, "a database keeps what it has committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_to_go_on_without_its_database_does() {
    let (scene, mut postgres) = world(2).await;
    scene.produce(What::Insert, 10).await;
    let mut service = launch(&scene, "remembering_always").start();
    is_done_with_all(&scene).await;
    postgres.stop().await;
    scene.produce(What::Insert, 20).await;
    is_done_with_all(&scene).await;
    postgres.start_again().await;
    // It dedupes again as soon as it can.
    eventually("marks are made again", PATIENCE, async || {
        scene.produce(What::Insert, 1).await;
        if inbox(&scene).await > 10 { Ok(()) } else { Err("none is".to_owned()) }
    })
    .await;
    is_done_with_all(&scene).await;
    let again = scene.produce(What::Insert, 5).await;
    scene.produce_again(&again).await;
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each(&scene, 1);
}

/// Whoever meets the first of them has the others closed: otherwise each of them would cost some record its claim.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_broke_together_are_no_outage_each() {
    const MANY: i64 = 6;
    let scene = Scene::new(Kind::Postgres, 8, SINKS).await;
    let mut service = launch(&scene, "remembering_always").start();
    let name = scene.database.name();
    let ours = format!("from pg_stat_activity where datname = '{name}' and application_name like 'eos%'");
    eventually("there are many connections", PATIENCE, async || {
        scene.produce(What::Insert, 200).await;
        is_done_with_all(&scene).await;
        match scene.database.number(&format!("select count(*) {ours}")).await {
            Ok(some) if some >= MANY => Ok(()),
            some => Err(format!("{some:?}")),
        }
    })
    .await;
    scene.database.execute(&format!("select pg_terminate_backend(pid) {ours}")).await;
    let without = service.says("the listener goes on without it");
    for _ in 0..MANY {
        scene.produce(What::Insert, 1).await;
        is_done_with_all(&scene).await;
    }
    service.stop().await;
    let without = service.says("the listener goes on without it") - without;
    assert!((1..=2).contains(&without), "{without} claims or marks went without");
    assert_each(&scene, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_an_outage_until_it_answers() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let proxy = Proxy::sql(&scene.database.server()).await;
    scene.produce(What::Insert, 10).await;
    let mut service = launch_by(&scene, &proxy, "remembering").start();
    is_done_with_all(&scene).await;
    proxy.freeze();
    scene.produce(What::Insert, 20).await;
    service.has_said(OUTAGE).await;
    assert!(service.says("no answer within 10s") > 0);
    nothing_begins(&scene, 10).await;
    proxy.thaw();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each(&scene, 1);
}

/// A mark that was carried out, and could not say so, is made again: what it finds then is its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_whose_answer_was_lost_accuses_nobody() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let proxy = Proxy::sql_about(&scene.database.server(), "execute eos_mark_id").await;
    proxy.lose(Loss::Answer, 3, 10);
    let orders = scene.produce(What::Insert, 40).await;
    scene.produce_again(&orders[..10]).await;
    let mut service = launch_by(&scene, &proxy, "remembering").start();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_eq!(proxy.lost(), 10);
    assert_each(&scene, 1);
    assert_eq!((inbox(&scene).await, service.says("has handled it as well")), (40, 0));
}

/// A claim that was made, and could not say so, is its owner's all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_was_lost_is_not_waited_for() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let proxy = Proxy::sql_about(&scene.database.server(), "execute eos_claim_id").await;
    proxy.lose(Loss::Answer, 3, 10);
    scene.produce(What::Insert, 40).await;
    let mut service = launch_by(&scene, &proxy, "remembering").start();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_eq!(proxy.lost(), 10);
    assert_each(&scene, 1);
    assert_eq!(service.says("another has claimed this record's id"), 0);
}

/// 25006, as after a failover to a standby: also the connections that were made meanwhile are of no use afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_can_only_be_read_is_waited_for() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let mut service = launch(&scene, "remembering").start();
    is_done_with_all(&scene).await;
    let name = scene.database.name();
    scene
        .database
        .execute(&format!(
            "alter database {name} set default_transaction_read_only = on; \
             select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = '{name}' and application_name like 'eos%'"
        ))
        .await;
    scene.produce(What::Insert, 20).await;
    service.has_said("cannot execute INSERT in a read-only transaction").await;
    nothing_begins(&scene, 10).await;
    scene
        .database
        .execute(&format!(
            "set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only"
        ))
        .await;
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each(&scene, 1);
}

/// A column that has no value is nobody's outage: also who is to go on in one does not go on, and it is said as an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_meddled_with_stops_all_and_is_said_loudly() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let mut service = launch(&scene, "remembering_always").start();
    is_done_with_all(&scene).await;
    scene
        .database
        .execute(
            "alter table eos_claim add column meddled integer not null default 0; \
             alter table eos_claim alter column meddled drop default",
        )
        .await;
    scene.produce(What::Insert, 20).await;
    service.has_said("an id can neither be claimed nor marked").await;
    assert!(service.says("the database `default` refuses what eos asks of it, which is no outage") > 0);
    nothing_begins(&scene, 10).await;
    scene.database.execute("alter table eos_claim drop column meddled").await;
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each(&scene, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_inbox_forgot_is_handled_again_when_it_comes_again_and_nothing_else() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let orders = scene.produce(What::Insert, 10).await;
    let mut service = launch(&scene, "remembering").start();
    is_done_with_all(&scene).await;
    assert_each(&scene, 1);
    scene.database.execute("delete from eos_inbox").await;
    scene.produce_again(&orders).await;
    is_done_with_all(&scene).await;
    scene.produce_again(&orders).await;
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each(&scene, 2);
}

/// Under the same group and topic: what was done by the one is done for the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_becomes_transactional_knows_what_it_has_done() {
    for kind in [Kind::Postgres, Kind::MariaDb, Kind::Sqlite] {
        let scene = Scene::new(kind, 2, SINKS).await;
        let orders = scene.produce(What::Insert, 20).await;
        let mut before = launch(&scene, "remembering").start();
        is_done_with_all(&scene).await;
        before.stop().await;
        scene.produce_again(&orders).await;
        scene.produce(What::Insert, 5).await;
        let mut after = scene.launch().start();
        scene.is_caught_up(PATIENCE).await;
        after.stop().await;
        assert_eq!(scene.applied().await, 5, "on {kind:?}");
        assert_eq!(after.says("duplicates=40"), 1, "on {kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_a_database_is_a_mistake_that_is_said_before_anything_starts() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let mut service = launch(&scene, "remembering").without("EOS_DATABASE_URL").start();
    assert!(!service.exit(PATIENCE).await.success());
    assert!(service.says("is `idempotent(database)`, and there is no database; set `[database] url`") > 0);
}
