//! What is said of records that fail: once each, with all that is needed, and no more than a log can hold.

use eos_tests::{Kind, Order, Scene, What};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_said_once_with_its_place_its_key_hashed_and_what_happens_next() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    for what in [What::Insert, What::FailAlways] {
        let id = Some(uuid::Uuid::new_v4().to_string());
        scene.produce_orders(None, vec![(Order::of("customer-7", what), id)]).await;
    }
    let mut service = scene.launch().env("EOS__RETRY__MAX", "2").start();
    scene.every_order_once().await;
    service.stop().await;
    let log = service.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("never yet")).collect();
    let [first, last] = lines[..] else { panic!("two lines: {lines:#?}") };
    for line in [first, last] {
        for words in [
            "listener=sinks::postgres",
            &format!("topic=\"{}\"", scene.topic),
            "partition=0",
            "offset=1",
            "key=acade5fe58d0",
            "of=2",
            "error=\"the handler failed: never yet\"",
        ] {
            assert!(line.contains(words), "{words} in {line}");
        }
    }
    assert!(first.contains("WARN") && first.contains("attempt=1"), "{first}");
    assert!(first.contains("the partition waits and tries again in"), "{first}");
    assert!(last.contains("ERROR") && last.contains("attempt=2"), "{last}");
    assert!(last.contains("the record is set aside in `eos_dead_letter`"), "{last}");
    assert!(!log.contains("customer-7"), "nothing tells whose order it was");

    let said = scene.launch().env("EOS__RETRY__MAX", "2").env("EOS__LOG__KEYS", "text");
    let id = Some(uuid::Uuid::new_v4().to_string());
    scene.produce_orders(None, vec![(Order::of("customer-7", What::Fatal), id)]).await;
    let mut service = said.start();
    scene.every_order_once().await;
    service.stop().await;
    assert_eq!(service.says("key=customer-7"), 1, "unless it may");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_failures_are_summed_up() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Fatal, 100).await;
    scene.produce(What::Insert, 1).await;
    let launch = || scene.launch().env("EOS__DEAD_LETTERS__BREAKER", "0");
    let mut service = launch().env("EOS__RETRY__STOPPED_LOG_EVERY", "1s").start();
    scene.every_order_once().await;
    service.has_said("80 more records were set aside in `eos_dead_letter`; this is the last of them").await;
    assert_eq!(service.says("the record is set aside in `eos_dead_letter`"), 20);
    service.stop().await;
    // Where the process stops before it is time, it sums up then.
    scene.produce(What::Fatal, 50).await;
    let mut service = launch().start();
    scene.every_order_once().await;
    service.stop().await;
    assert_eq!(service.says("30 more records were set aside"), 1);
}

/// A record that nobody gives up is said ever more rarely.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_tried_for_ever_does_not_fill_the_log() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::FailAlways, 1).await;
    let launch = scene.launch().never_set_aside().env("EOS__RETRY__BACKOFF", "5ms");
    let mut service = launch.env("EOS__RETRY__MAX_BACKOFF", "5ms").start();
    service.has_said("attempt=64").await;
    assert_eq!(service.says("tries again in"), 11, "1 to 8, 16, 32 and 64");
    service.stop().await;
    assert!(service.says("more attempts failed, and are made again") > 0);
}
