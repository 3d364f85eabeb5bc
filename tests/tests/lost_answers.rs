//! What is lost on the way: the answer to COMMIT, COMMIT itself, and the commit of the offset.

use std::time::Duration;

use eos_tests::proxy::{Loss, OFFSET_COMMIT, Proxy};
use eos_tests::{Kind, PATIENCE, Scene, What, eventually, servers};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_commit_on_postgres_leaves_each_order_once() {
    commits_are_lost(Kind::Postgres, Loss::Answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_commit_on_mariadb_leaves_each_order_once() {
    commits_are_lost(Kind::MariaDb, Loss::Answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrives_at_postgres_is_done_again() {
    commits_are_lost(Kind::Postgres, Loss::Request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrives_at_mariadb_is_done_again() {
    commits_are_lost(Kind::MariaDb, Loss::Request).await;
}

/// The client has given the connection up and looks what became of its work, before the server has done it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_arrives_after_its_client_has_gone_is_waited_for_on_postgres() {
    commits_are_lost(Kind::Postgres, Loss::Late(Duration::from_millis(400))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_arrives_after_its_client_has_gone_is_waited_for_on_mariadb() {
    commits_are_lost(Kind::MariaDb, Loss::Late(Duration::from_millis(400))).await;
}

async fn commits_are_lost(kind: Kind, loss: Loss) {
    const LOST: u32 = 12;
    let scene = Scene::new(kind, 2, SINKS).await;
    let orders = scene.produce(What::Insert, 60).await;
    scene.produce_again(&orders[..10]).await;
    scene.produce_without_ids(20).await;
    let proxy = Proxy::sql(&scene.database.server()).await;
    proxy.lose(loss, 4, LOST);

    let url = scene.database.url_at_port(proxy.port);
    let mut service = scene.launch().env("EOS_DATABASE_URL", url).start();
    scene.is_caught_up(PATIENCE).await;
    // Some of the attempts go on alone, and some with the next one's claim in the same message.
    eventually("COMMITs are lost", PATIENCE, async || {
        scene.produce_without_ids(1).await;
        if proxy.lost() == LOST { Ok(()) } else { Err(format!("{} are", proxy.lost())) }
    })
    .await;
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_of_the_offset_runs_no_handler_again() {
    offset_commits_are_lost(Loss::Request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_the_commit_of_the_offset_runs_no_handler_again() {
    offset_commits_are_lost(Loss::Answer).await;
}

async fn offset_commits_are_lost(loss: Loss) {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let proxy = Proxy::kafka(&servers().kafka, OFFSET_COMMIT).await;
    let address = format!("127.0.0.1:{}", proxy.port);
    let mut service = scene.launch().env("EOS_KAFKA_BOOTSTRAP_SERVERS", address).start();
    scene.produce(What::Insert, 10).await;
    scene.every_order_once().await;

    proxy.lose(loss, 1, u32::MAX);
    scene.produce(What::Insert, 30).await;
    scene.is_caught_up(PATIENCE).await;
    eventually("commits of offsets are lost", PATIENCE, async || match proxy.lost() {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    })
    .await;
    service.kill();
    if loss == Loss::Request {
        let committed = scene.kafka.committed(&scene.group, &scene.topic, 1).await;
        assert!(committed[0] < Some(40), "Kafka was not to hear of the last orders: {committed:?}");
    }

    let mut next = scene.launch().start();
    scene.produce(What::Insert, 10).await;
    scene.every_order_once().await;
    next.stop().await;
    scene.assert_every_order_once().await;
    assert_eq!(scene.told().begun(), 50, "no handler ran twice");
}
