//! A handler that fails after its writes: they are rolled back with its position, and it is tried again in order.

use std::collections::HashMap;

use eos_tests::{Kind, Scene, What};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_after_its_writes_on_postgres_leaves_each_order_once() {
    fails_after_its_writes(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_after_its_writes_on_mariadb_leaves_each_order_once() {
    fails_after_its_writes(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_after_its_writes_on_sqlite_leaves_each_order_once() {
    fails_after_its_writes(Kind::Sqlite).await;
}

async fn fails_after_its_writes(kind: Kind) {
    let scene = Scene::new(kind, 3, SINKS).await;
    for partition in 0..3 {
        for _ in 0..4 {
            scene.produce_to(partition, What::Insert, 2).await;
            let fails = scene.produce_to(partition, What::FailTwice, 1).await;
            scene.produce_again(&fails).await;
        }
    }
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;

    let lines = scene.told().lines();
    let begun: Vec<_> = lines.iter().filter(|line| line.what == "begin").collect();
    assert_eq!(
        begun.len(),
        3 * 4 * (2 + 3),
        "each good order once, each failing one three times, no duplicate"
    );
    let mut reached: HashMap<i32, i64> = HashMap::new();
    for line in begun {
        let before = reached.insert(line.partition, line.offset).unwrap_or(0);
        assert!(before <= line.offset, "a partition waits for its failing record: {line:?} after {before}");
    }
}
