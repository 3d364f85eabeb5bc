//! A process that sleeps (SIGSTOP), loses its partition meanwhile, and wakes up: it writes nothing, and no handler of
//! its runs on a record that is not its own.

use std::time::Duration;

use eos_tests::{Kind, Launch, PATIENCE, Scene, What, stays};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

/// How long one that woke up is watched. It has noticed within a few heartbeats, and is watched some more.
const WATCH: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_in_mid_attempt_writes_nothing_on_postgres() {
    sleeps_in_mid_attempt(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_in_mid_attempt_writes_nothing_on_mariadb() {
    sleeps_in_mid_attempt(Kind::MariaDb).await;
}

/// A stopped writer holds the whole file, so the taker ends it past its deadline.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_sleeps_in_mid_attempt_is_ended_by_the_taker_on_sqlite() {
    let scene = Scene::new(Kind::Sqlite, 1, SINKS).await;
    scene.close_gate();
    scene.produce(What::Hold, 1).await;
    scene.produce(What::Insert, 20).await;
    let mut sleeper = short_deadline(&scene).start();
    scene.has_begun(1).await;
    sleeper.sleep().await;
    scene.open_gate();

    let mut other = short_deadline(&scene).start();
    scene.every_order_once().await;
    sleeper.is_killed().await;
    assert_eq!(scene.told().begun_by(sleeper.pid()), 1);
    other.stop().await;
    scene.assert_every_order_once().await;
}

async fn sleeps_in_mid_attempt(kind: Kind) {
    let scene = Scene::new(kind, 1, SINKS).await;
    scene.close_gate();
    scene.produce(What::Hold, 1).await;
    // These it has read already when it falls asleep, and no id would tell them from new ones.
    scene.produce_without_ids(20).await;
    let sleeper = short_deadline(&scene).start();
    scene.has_begun(1).await;
    sleeper.sleep().await;
    scene.open_gate();

    let mut other = short_deadline(&scene).start();
    scene.every_order_once().await;
    sleeper.wake();
    stays("the one that woke up runs no handler", WATCH, async || {
        match scene.told().begun_by(sleeper.pid()) {
            1 => Ok(()),
            begun => Err(format!("{begun} were begun, and one was its own")),
        }
    })
    .await;
    scene.assert_every_order_once().await;
    assert_written_by_none(&scene, sleeper.pid()).await;

    // It is a member like any other now.
    other.stop().await;
    scene.produce(What::Insert, 10).await;
    scene.every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_between_two_attempts_begins_no_other_on_postgres() {
    sleeps_before_a_claim(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_between_two_attempts_begins_no_other_on_mariadb() {
    sleeps_before_a_claim(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_between_two_attempts_begins_no_other_on_sqlite() {
    sleeps_before_a_claim(Kind::Sqlite).await;
}

/// The other one has taken the partition and not yet claimed anything, so the position is where the sleeper left it:
/// only the owner's token tells them apart.
async fn sleeps_before_a_claim(kind: Kind) {
    let scene = Scene::new(kind, 1, SINKS).await;
    scene.produce(What::Insert, 20).await;
    let sleeper = scene.launch().fault("before_claim=stop").start();
    sleeper.sleeps().await;
    // It stays a member while it sleeps, so that the partition stays its own.
    let long = scene.launch().kafka("session.timeout.ms", "30000");
    let mut other = long.fault("before_claim=stop").start();
    other.sleeps().await;

    sleeper.wake();
    stays("the one that woke up runs no handler", WATCH, async || {
        match scene.told().begun_by(sleeper.pid()) {
            0 => Ok(()),
            begun => Err(format!("{begun} were begun")),
        }
    })
    .await;
    assert_written_by_none(&scene, sleeper.pid()).await;
    other.wake();
    scene.every_order_once().await;
    other.stop().await;
    scene.assert_every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_between_assignment_and_take_runs_nothing_on_postgres() {
    sleeps_before_its_take(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_between_assignment_and_take_runs_nothing_on_mariadb() {
    sleeps_before_its_take(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_between_assignment_and_take_runs_nothing_on_sqlite() {
    sleeps_before_its_take(Kind::Sqlite).await;
}

/// Its late take fences the one that has the partition, who asks the group and takes it back.
async fn sleeps_before_its_take(kind: Kind) {
    let scene = Scene::new(kind, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let sleeper = scene.launch().fault("before_take=stop").start();
    sleeper.sleeps().await;
    let mut other = scene.launch().start();
    scene.every_order_once().await;
    // The next records are there to be read by whoever believes that the partition is its own.
    scene.close_gate();
    scene.produce(What::Hold, 1).await;
    scene.produce(What::Insert, 10).await;
    scene.has_begun(11).await;

    sleeper.wake();
    scene.open_gate();
    scene.is_caught_up(PATIENCE).await;
    assert_eq!(scene.told().begun_by(sleeper.pid()), 0, "no handler of the one that woke up");
    scene.assert_every_order_once().await;
    other.stop().await;
    scene.produce(What::Insert, 10).await;
    scene.every_order_once().await;
}

fn short_deadline(scene: &Scene) -> Launch {
    ["POSTGRES", "MARIADB", "SQLITE"].iter().fold(scene.launch(), |launch, listener| {
        launch.env(&format!("EOS__LISTENERS__SINKS__{listener}__DEADLINE"), "2s")
    })
}

async fn assert_written_by_none(scene: &Scene, pid: u32) {
    let applied = scene.database.applied().await.expect("effects can be read");
    let by: Vec<_> = applied.iter().filter(|row| row.pid == i64::from(pid)).collect();
    assert!(by.is_empty(), "process {pid} was asleep and has written {by:?}");
}
