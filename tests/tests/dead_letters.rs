//! What no attempt can handle is set aside, once, and nothing else is; its partition goes on.

use std::time::Duration;

use eos_tests::{Kind, PATIENCE, Scene, Sent, SetAside, What, eventually, stays};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[tokio::test(flavor = "multi_thread")]
async fn what_no_attempt_can_handle_is_set_aside_once_on_postgres() {
    is_set_aside_once(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_attempt_can_handle_is_set_aside_once_on_mariadb() {
    is_set_aside_once(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_attempt_can_handle_is_set_aside_once_on_sqlite() {
    is_set_aside_once(Kind::Sqlite).await;
}

async fn is_set_aside_once(kind: Kind) {
    let scene = Scene::new(kind, 2, SINKS).await;
    let mut expected = Vec::new();
    for partition in 0..2 {
        for (what, reason, attempts) in
            [(What::Fatal, "poison", 1), (What::FailAlways, "failed", 3), (What::PanicAlways, "panicked", 3)]
        {
            scene.produce_to(partition, What::Insert, 3).await;
            let never = scene.produce_to(partition, what, 1).await;
            scene.produce_again(&never).await;
            expected.push((partition, never[0].offset, attempts, reason));
        }
        scene.produce_to(partition, What::Insert, 3).await;
    }
    let mut service = scene.launch().env("EOS__RETRY__MAX", "3").start();
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;

    let mut found = scene.dead_letters().await;
    found.sort_by_key(|letter| (letter.partition, letter.offset));
    let said: Vec<_> = found.iter().map(short).collect();
    assert_eq!(said, expected);
    assert!(found[0].error.contains("this order can never be served"), "{}", found[0].error);
    assert!(found[2].error.contains("no such customer, ever"), "{}", found[2].error);
    let begun = scene.told().begun();
    assert_eq!(begun, 2 * (12 + 1 + 3 + 3), "no attempt more, and none for a duplicate");
    assert!(service.says("is set aside in `eos_dead_letter`") == 6, "each is said once");
}

fn short(letter: &SetAside) -> (i32, i64, i32, &str) {
    (letter.partition, letter.offset, letter.attempts, letter.reason.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_parse_is_set_aside_as_it_is() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 2).await;
    let bytes = vec![0xff, 0x00, b'{'];
    let broken = Sent {
        partition: Some(0),
        key: Some(bytes.clone()),
        payload: Some(bytes.clone()),
        headers: vec![("x".to_owned(), Some(bytes.clone())), ("x".to_owned(), None)],
    };
    scene.kafka.produce(&scene.topic, &[broken]).await;
    scene.produce_to(0, What::Insert, 2).await;
    let mut service = scene.launch().start();
    scene.has_applied(4).await;
    service.stop().await;
    let kept = "select count(*) from eos_dead_letter where key = '\\xff007b' and payload = '\\xff007b' \
                and headers = '[[\"x\",{\"base64\":\"/wB7\"}],[\"x\",null]]' and message_id is null \
                and record_time > 1700000000000 and reason = 'poison' and attempts = 1";
    assert_eq!(scene.database.number(kept).await.expect("a number"), 1);
}

/// The first death is not counted, because records before it had gone well; five are, and then it is not tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kills_the_process_is_set_aside_in_the_end() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce_to(0, What::Insert, 3).await;
    let kills = scene.produce_to(0, What::Kill, 1).await[0].clone();
    scene.produce_to(0, What::Insert, 3).await;
    for _ in 0..6 {
        let mut service = scene.launch().start();
        service.dies().await;
        assert_eq!(scene.applied().await, 3);
        assert!(scene.dead_letters().await.is_empty());
    }
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    assert_eq!(
        scene.dead_letters().await.iter().map(short).collect::<Vec<_>>(),
        [(0, kills.offset, 5, "killed")]
    );
    let tried = scene
        .told()
        .lines()
        .iter()
        .filter(|line| line.what == "begin" && line.offset == kills.offset)
        .count();
    assert_eq!(tried, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_counted_across_restarts() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let fails = scene.produce_to(0, What::FailAlways, 1).await[0].clone();
    scene.produce_to(0, What::Insert, 3).await;
    // Each process tries once, and then waits for an hour.
    for _ in 0..4 {
        let mut service =
            scene.launch().env("EOS__RETRY__BACKOFF", "1h").env("EOS__RETRY__MAX_BACKOFF", "1h").start();
        service.has_said("tries again in").await;
        service.stop().await;
    }
    let mut service =
        scene.launch().env("EOS__RETRY__BACKOFF", "1h").env("EOS__RETRY__MAX_BACKOFF", "1h").start();
    scene.every_order_once().await;
    service.stop().await;
    assert_eq!(
        scene.dead_letters().await.iter().map(short).collect::<Vec<_>>(),
        [(0, fails.offset, 5, "failed")]
    );
    assert_eq!(scene.told().begun(), 5 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_fails_at_every_record_does_not_empty_the_topic() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.produce(What::FailAlways, 100).await;
    let bad = |pace: &str| {
        let launch = scene.launch().env("EOS__RETRY__MAX", "1").env("EOS__DEAD_LETTERS__BREAKER", "5");
        launch.env("EOS__DEAD_LETTERS__BREAKER_PACE", pace)
    };
    let mut service = bad("1h").start();
    service.has_said("is it the program?").await;
    stays("no more than five are set aside", Duration::from_secs(2), async || {
        match scene.dead_letters().await.len() {
            ..=5 => Ok(()),
            more => Err(format!("{more} are")),
        }
    })
    .await;
    assert_eq!(scene.dead_letters().await.len(), 5);
    service.stop().await;
    // At its pace it goes on, so that nothing is blocked for ever.
    let mut service = bad("200ms").start();
    eventually("some more are set aside", PATIENCE, async || match scene.dead_letters().await.len() {
        12.. => Ok(()),
        few => Err(format!("{few} are")),
    })
    .await;
    service.stop().await;
    let aside = scene.dead_letters().await.len();
    assert!(aside < 50, "{aside} of 100 were set aside");
    // A better program gets those that waited as if nobody had tried them.
    let mut mended = scene.launch().env("EOS__RETRY__MAX", "1").env("SINK_FIXED", "yes").start();
    scene.every_order_once().await;
    mended.stop().await;
    assert_eq!(scene.dead_letters().await.len(), aside);
}
