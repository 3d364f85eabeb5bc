//! What was set aside is handled again when somebody asks for it: once, whatever dies, and however often it is asked for.

use eos_runtime::dead_letters::{DeadLetter, DeadLetters, Selection, State};
use eos_tests::{Kind, Order, PATIENCE, Scene, What, eventually};
use sqlx::Postgres;

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

fn letters(scene: &Scene) -> DeadLetters<Postgres> {
    DeadLetters::in_schema(scene.database.postgres(), "public")
}

fn of(scene: &Scene) -> Selection {
    Selection::all().group(&*scene.group).topic(&*scene.topic)
}

async fn list(scene: &Scene, state: State) -> Vec<DeadLetter> {
    letters(scene).list(&of(scene).state(state)).await.expect("they can be listed")
}

async fn replay(scene: &Scene) -> u64 {
    letters(scene).replay(&of(scene)).await.expect("they can be marked")
}

/// All of the scene's orders are set aside, and the service has stopped.
async fn all_set_aside(scene: &Scene) {
    let launch = scene.launch().env("EOS__RETRY__MAX", "1").env("EOS__DEAD_LETTERS__BREAKER", "0");
    let mut service = launch.start();
    scene.every_order_once().await;
    service.stop().await;
    assert_eq!(scene.applied().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_replayed_twice_with_kills_in_between_are_handled_once() {
    let scene = Scene::new(Kind::Postgres, 3, SINKS).await;
    scene.produce(What::FailAlways, 1000).await;
    all_set_aside(&scene).await;
    assert_eq!(replay(&scene).await, 1000);
    for point in ["replay_after_count@150=kill", "stored_after_handler@150=kill"] {
        let mut dies = scene.launch().env("SINK_FIXED", "yes").fault(point).start();
        dies.is_killed().await;
        assert_eq!(replay(&scene).await, 0, "they are asked for already");
    }
    let mut service = scene.launch().env("SINK_FIXED", "yes").start();
    scene.has_applied(1000).await;
    assert_eq!(replay(&scene).await, 0, "nothing is left to ask for");
    // The partition goes on while it replays, and afterwards.
    scene.produce(What::Insert, 20).await;
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
    assert_eq!(list(&scene, State::Replayed).await.len(), 1000);
    let done = "select count(*) from eos_inbox where outcome = 0";
    assert_eq!(scene.database.number(done).await.expect("a number"), 1020);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_fails_again_is_dead_again() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Fatal, 3).await;
    all_set_aside(&scene).await;
    replay(&scene).await;
    let mut service = scene.launch().start();
    service.has_said_times("was replayed, and failed again", 3).await;
    service.stop().await;
    let dead = list(&scene, State::Dead).await;
    assert_eq!(
        dead.iter().map(|letter| (letter.attempts, &*letter.reason)).collect::<Vec<_>>(),
        [(2, "poison"); 3]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_leaves_a_replay_waiting() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Fatal, 1).await;
    all_set_aside(&scene).await;
    let down = Order::new(What::Outage);
    let letter = list(&scene, State::Dead).await.remove(0);
    let payload = serde_json::to_vec(&down).expect("JSON");
    assert!(letters(&scene).edit(letter.id, Some(&payload)).await.expect("changed"));
    scene.close_gate();
    replay(&scene).await;
    let mut service = scene.launch().env("EOS__RETRY__MAX", "2").start();
    eventually("it was tried more often than it may fail", PATIENCE, async || match scene.told().begun() {
        tries @ 0..6 => Err(format!("{tries} times")),
        _ => Ok(()),
    })
    .await;
    scene.open_gate();
    scene.has_applied(1).await;
    service.stop().await;
    let replayed = list(&scene, State::Replayed).await.remove(0);
    assert!(replayed.edited);
    assert_eq!(replayed.attempts, 2, "one that failed, and the one that did not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_kills_the_process_is_dead_again_in_the_end() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Kill, 1).await;
    let launch = || scene.launch().env("EOS__RETRY__MAX", "2");
    for _ in 0..2 {
        launch().start().dies().await;
    }
    let mut service = launch().start();
    scene.every_order_once().await;
    service.stop().await;
    replay(&scene).await;
    for _ in 0..2 {
        launch().start().dies().await;
    }
    let mut service = launch().start();
    service.has_said("was replayed, and failed again").await;
    service.stop().await;
    assert_eq!(list(&scene, State::Dead).await[0].reason, "killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_never_handled() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::FailAlways, 10).await;
    all_set_aside(&scene).await;
    let first = list(&scene, State::Dead).await.remove(0);
    assert_eq!(letters(&scene).discard(&of(&scene).ids([first.id])).await.expect("marked"), 1);
    assert_eq!(replay(&scene).await, 9);
    let mut service = scene.launch().env("SINK_FIXED", "yes").start();
    scene.has_applied(9).await;
    service.stop().await;
    assert_eq!(scene.applied().await, 9);
    assert_eq!(list(&scene, State::Discarded).await.len(), 1);
}
