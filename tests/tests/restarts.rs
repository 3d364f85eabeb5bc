//! The servers themselves are restarted, politely or by SIGKILL, while orders are being served: each order once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eos_tests::{Kind, Private, Scene, What, servers};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_restarts_in_mid_work_loses_no_order() {
    let mut postgres = Private::start("postgres").await;
    let url = format!("postgres://postgres@{}/postgres", postgres.address());
    let scene = Arc::new(Scene::on(Kind::Postgres, &url, &servers().kafka, SINKS).await);
    scene.kafka.create_topic(&scene.topic, 3, &[]).await;
    let mut service = scene.launch().start();
    let orders = Orders::arrive(&scene);

    scene.has_applied(100).await;
    postgres.stop().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    postgres.start_again().await;
    scene.has_applied(scene.ledger().len() + 50).await;
    postgres.kill();
    postgres.start_again().await;
    scene.has_applied(scene.ledger().len() + 50).await;

    orders.end().await;
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_restarts_in_mid_work_loses_no_order() {
    let mut kafka = Private::start("kafka").await;
    let scene = Arc::new(Scene::on(Kind::Postgres, &servers().postgres, &kafka.address(), SINKS).await);
    scene.kafka.create_topic(&scene.topic, 3, &[]).await;
    let mut service = scene.launch().start();
    let orders = Orders::arrive(&scene);

    scene.has_applied(100).await;
    kafka.stop().await;
    kafka.start_again().await;
    scene.has_applied(scene.ledger().len() + 50).await;
    kafka.kill();
    kafka.start_again().await;
    scene.has_applied(scene.ledger().len() + 50).await;

    orders.end().await;
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
}

/// Orders that keep arriving until the test has seen enough.
struct Orders {
    done: Arc<AtomicBool>,
    producing: tokio::task::JoinHandle<()>,
}

impl Orders {
    fn arrive(scene: &Arc<Scene>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (scene, until) = (Arc::clone(scene), Arc::clone(&done));
        let producing = tokio::spawn(async move {
            while !until.load(Ordering::Acquire) {
                scene.produce(What::Insert, 5).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Orders { done, producing }
    }

    async fn end(self) {
        self.done.store(true, Ordering::Release);
        self.producing.await.expect("the producer did not panic");
    }
}
