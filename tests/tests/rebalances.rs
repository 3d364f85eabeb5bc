//! A rebalance in mid-attempt, under each of Kafka's protocols: the attempt ends, one way or the other, and each order
//! is there once.

use eos_tests::{Kind, PATIENCE, Protocol, Scene, What};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[tokio::test(flavor = "multi_thread")]
async fn an_eager_rebalance_in_mid_attempt_leaves_each_order_once() {
    members_come_and_go(Protocol::Eager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cooperative_rebalance_in_mid_attempt_leaves_each_order_once() {
    members_come_and_go(Protocol::Cooperative).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_of_kip_848_in_mid_attempt_leaves_each_order_once() {
    members_come_and_go(Protocol::Consumer).await;
}

/// Every partition has an attempt in flight when the second member joins, and again when the first one leaves.
async fn members_come_and_go(protocol: Protocol) {
    let scene = Scene::new(Kind::Postgres, 4, SINKS).await;
    held_orders(&scene).await;
    let mut one = scene.launch().by(protocol).start();
    scene.has_begun(4).await;

    let mut two = scene.launch().by(protocol).start();
    one.has_said("revok").await;
    scene.open_gate();
    scene.every_order_once().await;
    partitions_were_taken_by(&scene, 2).await;
    let begun = scene.told().begun();
    assert_eq!(begun, scene.ledger().len(), "an attempt in flight is waited for, and not done again");

    held_orders(&scene).await;
    scene.has_begun(begun + 4).await;
    one.terminate();
    one.has_said("stop").await;
    scene.open_gate();
    assert!(one.exit(PATIENCE).await.success());
    scene.every_order_once().await;
    two.stop().await;
    scene.assert_every_order_once().await;
}

/// An order that is held, and more behind it, in each partition.
async fn held_orders(scene: &Scene) {
    scene.close_gate();
    for partition in 0..4 {
        scene.produce_to(partition, What::Hold, 1).await;
        scene.produce_to(partition, What::Insert, 15).await;
    }
}

async fn partitions_were_taken_by(scene: &Scene, members: usize) {
    let applied = scene.database.applied().await.expect("effects can be read");
    let pids: std::collections::BTreeSet<i64> = applied.iter().map(|row| row.pid).collect();
    assert_eq!(pids.len(), members, "each member takes part");
}
