//! The program on the first page, word for word: three variables, two processes, each order once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use eos_tests::{Kind, Scene, What, servers};
use sqlx::Connection as _;

const PROGRAM: &str = env!("CARGO_BIN_EXE_orders_service");
const TEXT: &str = include_str!("../src/bin/orders_service/program.rs");

/// What its topic is called, which no other test uses.
const TOPIC: &str = "event.order";

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_the_program_serve_each_order_once() {
    let _alone = alone().await;
    let mut scene = Scene::on(Kind::Postgres, &servers().postgres, &servers().kafka, PROGRAM).await;
    scene.topic = TOPIC.to_owned();
    if scene.kafka.partitions(TOPIC).await > 0 {
        scene.kafka.delete_topic(TOPIC).await;
    }
    scene.kafka.create_topic(TOPIC, 4, &[]).await;
    scene
        .database
        .execute(
            "drop table applied; create table orders (order_id uuid, customer text, amount_cents bigint); \
             create view applied as select order_id::text as order_id, 0 as part, 0::bigint as off, 0::bigint as pid \
             from orders",
        )
        .await;

    let first = scene.produce(What::Insert, 200).await;
    let mut one = scene.launch_bare().start();
    scene.has_applied(50).await;
    let mut two = scene.launch_bare().start();
    // A producer that was not told of its success sends again; and new orders go on arriving.
    scene.produce_again(&first[..80]).await;
    scene.produce(What::Insert, 200).await;
    scene.every_order_once().await;
    // Both took part, whoever was first at which partition.
    one.has_said("took the partition").await;
    two.has_said("took the partition").await;

    one.stop().await;
    scene.produce(What::Insert, 100).await;
    scene.every_order_once().await;
    two.stop().await;
    scene.assert_every_order_once().await;

    // After a polite end, Kafka's own tools show no lag.
    let committed = scene.kafka.committed(&scene.group, TOPIC, 4).await;
    let positions: Vec<_> =
        scene.positions().await.iter().map(|position| Some(position.next_offset)).collect();
    assert_eq!(committed, positions);
    scene.kafka.delete_topic(TOPIC).await;
}

#[test]
fn the_program_is_the_one_in_the_readme() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(TEXT.trim()), "README.md shows another program than the one under test:\n{TEXT}");
}

/// The topic's name is fixed, so that one run of this test at a time can have it.
async fn alone() -> sqlx::PgConnection {
    let mut connection = sqlx::PgConnection::connect(&servers().postgres).await.unwrap();
    sqlx::query("select pg_advisory_lock(hashtext('eos tests: event.order'))")
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}
