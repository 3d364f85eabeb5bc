//! At most once: no record is begun twice, whatever fails, dies or moves; what is lost is what was committed and not begun.

use std::collections::HashMap;
use std::time::Duration;

use eos_tests::{Chance, Course, Kind, Launch, PATIENCE, Scene, Service, What, eventually};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

fn launch(scene: &Scene) -> Launch {
    scene.launch().env("SINK_LISTENER", "hints")
}

/// How often each record was begun, by any process.
fn begun(scene: &Scene) -> HashMap<(i32, i64), usize> {
    let mut begun = HashMap::new();
    for line in scene.told().lines().into_iter().filter(|line| line.what == "begin") {
        *begun.entry((line.partition, line.offset)).or_default() += 1;
    }
    begun
}

fn assert_none_twice(scene: &Scene) {
    let twice: Vec<_> = begun(scene).into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(twice.is_empty(), "begun twice: {twice:?}");
}

/// Waits until Kafka has the offset behind the last record of each partition.
async fn is_caught_up(scene: &Scene) {
    let partitions = i32::try_from(scene.kafka.partitions(&scene.topic).await).expect("few");
    let end = |partition| {
        let of = scene.ledger().into_iter().filter(|sent| sent.partition == partition);
        of.map(|sent| sent.offset + 1).max()
    };
    eventually("every offset is committed", PATIENCE, async || {
        let committed = scene.kafka.committed(&scene.group, &scene.topic, partitions).await;
        let is_there =
            (0..partitions).zip(&committed).all(|(partition, committed)| *committed >= end(partition));
        if is_there { Ok(()) } else { Err(format!("{committed:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_said_and_not_tried_again() {
    let scene = Scene::new(Kind::Sqlite, 2, SINKS).await;
    for what in [What::Insert, What::FailAlways, What::Panic, What::Fatal, What::FailTwice] {
        scene.produce(what, 10).await;
    }
    let mut service = launch(&scene).start();
    eventually("all of them are begun", PATIENCE, async || match begun(&scene).len() {
        50 => Ok(()),
        some => Err(format!("{some} are")),
    })
    .await;
    service.stop().await;
    assert_none_twice(&scene);
    let said = service.says("is not tried again: it is handled at most once");
    let sum = service.says("20 more records failed, whose offsets were committed before");
    assert_eq!((said, sum), (20, 1));
}

/// Those that were committed together with the one in hand, and not begun, are lost; no others.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_behind_the_commit_loses_what_was_in_hand_and_repeats_nothing() {
    let scene = Scene::new(Kind::Sqlite, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 200).await;
    let mut service = launch(&scene).fault("at_most_once_after_commit@4=kill").start();
    service.is_killed().await;
    let mut next = launch(&scene).start();
    is_caught_up(&scene).await;
    next.stop().await;
    assert_none_twice(&scene);
    let lost = 200 - begun(&scene).len();
    assert!((1..=20).contains(&lost), "{lost} are lost");
}

/// A member that slept behind its commit goes through what it has in hand, which nobody else has.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_slept_behind_its_commit_repeats_nothing() {
    let scene = Scene::new(Kind::Sqlite, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 200).await;
    let mut zombie = launch(&scene).fault("at_most_once_after_commit@4=stop").start();
    zombie.sleeps().await;
    let mut next = launch(&scene).start();
    is_caught_up(&scene).await;
    zombie.wake();
    eventually("all of them are begun", PATIENCE, async || match begun(&scene).len() {
        200 => Ok(()),
        some => Err(format!("{some} are")),
    })
    .await;
    next.stop().await;
    zombie.stop().await;
    assert_none_twice(&scene);
}

/// `EOS_TEST_SECONDS` and `EOS_TEST_RECORDS` make it longer, `EOS_TEST_SEED` repeats its choices.
#[tokio::test(flavor = "multi_thread")]
async fn members_killed_at_random_begin_none_twice() {
    let mut chance = Chance::of_this_run();
    let scene = Scene::new(Kind::Sqlite, 4, SINKS).await;
    let mut members: Vec<Service> = (0..3).map(|_| launch(&scene).start()).collect();
    let course = Course::of_this_run(Duration::from_secs(6));
    let mut kills = 0;
    while course.goes_on(scene.ledger().len()) {
        scene.produce(What::Insert, 100).await;
        tokio::time::sleep(Duration::from_millis(chance.below(500))).await;
        if chance.below(2) == 0 {
            let victim = chance.below(3) as usize;
            members[victim].kill();
            members[victim] = launch(&scene).start();
            kills += 1;
        }
    }
    is_caught_up(&scene).await;
    for member in &mut members {
        member.stop().await;
    }
    assert_none_twice(&scene);
    let lost = scene.ledger().len() - begun(&scene).len();
    assert!(lost <= kills * 4 * 20, "{lost} are lost by {kills} kills");
}
