//! A process that dies at any named point of an attempt, by a real SIGKILL, in each store: each order once.

use std::collections::BTreeSet;
use std::path::Path;

use eos_tests::{Kind, Scene, What};
use futures_util::future::join_all;

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

/// Every point there is, and which time it is passed that kills: the first, and one in mid-work where there is one.
const POINTS: [(&str, &[u32]); 8] = [
    ("before_take", &[1, 2]),
    ("after_take", &[1, 2]),
    ("after_count", &[1, 2]),
    ("before_claim", &[1, 2]),
    ("after_claim", &[1, 7]),
    ("after_handler", &[1, 7]),
    ("after_set_aside", &[1, 2]),
    ("after_commit", &[1, 7]),
];

/// Those of a group, with those that it shares.
const GROUP_POINTS: [(&str, &[u32]); 4] = [
    ("after_group_count", &[1]),
    ("before_group_claim", &[1, 2]),
    ("after_group", &[1, 2]),
    ("after_commit", &[60, 110]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_a_group_leaves_each_order_once() {
    for kind in [Kind::Postgres, Kind::MariaDb, Kind::Sqlite] {
        let all = GROUP_POINTS
            .iter()
            .flat_map(|(point, times)| times.iter().map(move |nth| format!("{point}@{nth}=kill")));
        join_all(all.map(|fault| crash_in_a_group(kind, fault))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_an_attempt_on_postgres_leaves_each_order_once() {
    crash_everywhere(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_an_attempt_on_mariadb_leaves_each_order_once() {
    crash_everywhere(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_an_attempt_on_sqlite_leaves_each_order_once() {
    crash_everywhere(Kind::Sqlite).await;
}

/// A point that is added to the source is added here, or this fails.
#[test]
fn every_point_that_the_source_names_is_crashed_at() {
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../eos-runtime/src"));
    let crashed_at = POINTS.iter().chain(&GROUP_POINTS);
    let crashed_at: BTreeSet<String> = crashed_at.map(|(point, _)| (*point).to_owned()).collect();
    // The relay's are `relay_crashes.rs`'s, those of rows `replays.rs`'s and `parking.rs`'s, and a dead letter's to its topic
    // `dead_letter_topics.rs`'s, an idempotent listener's `idempotent.rs`'s, those of slots `slots.rs`'s, and that of keys side
    // by side `parallel.rs`'s.
    let mut named = points_named_in(source);
    named.retain(|point| {
        ![
            "relay_",
            "replay_",
            "stored_",
            "unpark_",
            "exactly_once_",
            "at_most_once_",
            "publish_",
            "dedupe_",
            "slots_",
            "parallel_",
        ]
        .iter()
        .any(|other| point.starts_with(other))
    });
    assert_eq!(named, crashed_at);
}

async fn crash_everywhere(kind: Kind) {
    let all =
        POINTS.iter().flat_map(|(point, times)| times.iter().map(move |nth| format!("{point}@{nth}=kill")));
    join_all(all.map(|fault| crash_once(kind, fault))).await;
}

async fn crash_once(kind: Kind, fault: String) {
    eprintln!("{kind:?}, {fault}");
    let scene = Scene::new(kind, 2, SINKS).await;
    for partition in 0..2 {
        let orders = scene.produce_to(partition, What::Insert, 12).await;
        let never = scene.produce_to(partition, What::Fatal, 1).await;
        scene.produce_again(&orders[..3]).await;
        scene.produce_again(&never).await;
        scene.produce_to(partition, What::Insert, 3).await;
    }
    scene.produce_without_ids(8).await;
    let mut crashes = scene.launch().fault(&fault).start();
    crashes.is_killed().await;

    let mut next = scene.launch().start();
    scene.every_order_once().await;
    next.stop().await;
    scene.assert_every_order_once().await;
    assert_eq!(scene.dead_letters().await.len(), 2, "one of each partition, and none for its duplicate");
}

async fn crash_in_a_group(kind: Kind, fault: String) {
    eprintln!("{kind:?}, {fault}");
    let scene = Scene::new(kind, 1, SINKS).await;
    let orders = scene.produce_to(0, What::Insert, 150).await;
    scene.produce_again(&orders[100..]).await;
    let never = scene.produce_to(0, What::Fatal, 1).await;
    scene.produce_again(&never).await;
    scene.produce_without_ids(100).await;
    let mut crashes = scene.launch().in_groups(kind).fault(&fault).start();
    crashes.is_killed().await;
    let mut next = scene.launch().in_groups(kind).start();
    scene.every_order_once().await;
    next.stop().await;
    scene.assert_every_order_once().await;
    assert_eq!(scene.dead_letters().await.len(), 1);
}

fn points_named_in(folder: &Path) -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            points.append(&mut points_named_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let calls = text.split("fault::point(\"").skip(1);
            points.extend(calls.filter_map(|call| call.split('"').next()).map(str::to_owned));
        }
    }
    points
}
