//! From Kafka to Kafka: whoever reads committed records sees what each record leaves once, in order, whatever dies.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use eos_tests::{
    Chance, Course, Kind, Launch, Order, PATIENCE, Private, Produced, Protocol, Scene, Seen, Sent, Service,
    What, eventually, servers, stays,
};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

/// A scene with a topic that its orders go on to, and one for those that cannot.
async fn scene(partitions: i32, out: &[(&str, &str)]) -> Scene {
    let scene = Scene::new(Kind::Sqlite, partitions, SINKS).await;
    make_topics(&scene, partitions, out).await;
    scene
}

async fn make_topics(scene: &Scene, partitions: i32, out: &[(&str, &str)]) {
    scene.kafka.create_topic(&format!("{}.out", scene.topic), partitions, out).await;
    scene.kafka.create_topic(&format!("{}-dlt", scene.topic), partitions, &[]).await;
}

fn launch(scene: &Scene, listener: &str) -> Launch {
    scene.launch().env("SINK_LISTENER", listener).env("EOS__RETRY__MAX", "3")
}

async fn send(scene: &Scene, what: What, count: usize) -> Vec<Produced> {
    let order = |number: usize| {
        (Order::of(&format!("customer-{}", number % 7), what), Some(uuid::Uuid::new_v4().to_string()))
    };
    scene.produce_orders(None, (0..count).map(order).collect()).await
}

/// The orders that were passed on, by where they came from; each once, and in order for each customer.
fn passed(scene: &Scene, seen: &[Seen]) -> Vec<(i32, i64)> {
    let ledger = scene.ledger();
    let customers: HashMap<(i32, i64), &str> =
        ledger.iter().map(|sent| ((sent.partition, sent.offset), &*sent.order.customer)).collect();
    let (mut last, mut ids): (HashMap<&str, i64>, HashMap<String, usize>) = Default::default();
    let mut passed = Vec::new();
    for record in seen {
        let payload: serde_json::Value = serde_json::from_str(&record.text()).expect("JSON");
        let from = (
            i32::try_from(payload["part"].as_i64().expect("a number")).expect("a partition"),
            payload["off"].as_i64().expect("a number"),
        );
        let customer = customers[&from];
        let before = last.insert(customer, from.1);
        assert!(before.is_none_or(|before| before < from.1), "{customer}: {from:?} after {before:?}");
        if let Some(id) = record.header("message-id") {
            *ids.entry(id).or_default() += 1;
        }
        passed.push(from);
    }
    assert!(ids.values().all(|times| *times == 1), "an id is there twice");
    passed.sort_unstable();
    let twice = passed.windows(2).find(|two| two[0] == two[1]);
    assert_eq!(twice, None, "passed on twice");
    passed
}

/// Waits until all that can be passed on is there, once, and what cannot is set aside once; and Kafka says how far it is.
async fn each_is_passed_on_once(scene: &Scene) {
    let ledger = scene.ledger();
    let never =
        ledger.iter().filter(|sent| sent.order.what.never_succeeds() || sent.order.what == What::TooLarge);
    let never = never.count();
    let (out, dead) = (format!("{}.out", scene.topic), format!("{}-dlt", scene.topic));
    let all = eventually("every order is passed on or set aside", PATIENCE, async || {
        let (seen, set_aside) = (scene.kafka.read(&out).await, scene.kafka.read(&dead).await);
        let passed = passed(scene, &seen);
        if (passed.len(), set_aside.len()) == (ledger.len() - never, never) {
            return Ok(set_aside);
        }
        Err(format!(
            "{} of {} are, {} of {never} set aside",
            passed.len(),
            ledger.len() - never,
            set_aside.len()
        ))
    })
    .await;
    assert!(all.iter().all(|letter| letter.header("kafka_dlt-exception-message").is_some()));
    let partitions = i32::try_from(scene.kafka.partitions(&scene.topic).await).expect("few");
    let mut ends: Vec<Option<i64>> = vec![None; partitions as usize];
    for sent in &ledger {
        let end = &mut ends[sent.partition as usize];
        *end = (*end).max(Some(sent.offset + 1));
    }
    eventually("the group's offsets are behind the last records", PATIENCE, async || {
        let committed = scene.kafka.committed(&scene.group, &scene.topic, partitions).await;
        let is_there = ends.iter().zip(&committed).all(|(end, committed)| end.is_none() || committed >= end);
        if is_there { Ok(()) } else { Err(format!("{committed:?} of {ends:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_passed_on_once_and_poison_goes_to_its_topic_in_the_same_transaction() {
    let scene = scene(3, &[]).await;
    send(&scene, What::Insert, 500).await;
    for what in [What::FailTwice, What::Fatal, What::FailAlways, What::PanicAlways, What::Panic] {
        send(&scene, what, 2).await;
        send(&scene, What::Insert, 100).await;
    }
    let mut service = launch(&scene, "kafka").start();
    each_is_passed_on_once(&scene).await;
    service.stop().await;
    each_is_passed_on_once(&scene).await;
    let dead = scene.kafka.read(&format!("{}-dlt", scene.topic)).await;
    let mut reasons: Vec<_> =
        dead.iter().filter_map(|dead| dead.header("kafka_dlt-exception-fqcn")).collect();
    reasons.sort();
    assert_eq!(
        reasons,
        ["eos.Failed", "eos.Failed", "eos.Panicked", "eos.Panicked", "eos.Poison", "eos.Poison"]
    );
    let seen = scene.kafka.read(&format!("{}.out", scene.topic)).await;
    assert!(seen.iter().all(|record| record.header("message-id").is_some()), "each has an id");
}

/// Each in a transaction of its own; an order that is filtered out leaves nothing but its offset.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_returned_is_sent_and_nothing_where_nothing_is() {
    let scene = scene(2, &[]).await;
    send(&scene, What::Insert, 40).await;
    let filtered = send(&scene, What::Hold, 5).await;
    send(&scene, What::FailTwice, 3).await;
    let mut service = launch(&scene, "kafka_one_by_one").start();
    scene.forget(|sent| filtered.iter().any(|other| other.order.order_id == sent.order.order_id));
    each_is_passed_on_once(&scene).await;
    service.stop().await;
    let seen = scene.kafka.read(&format!("{}.out", scene.topic)).await;
    assert!(seen.iter().all(|record| record.header("type").as_deref() == Some("Passed")));
    assert!(seen.iter().all(|record| record.header("message-id").is_none()), "the listener wants no ids");
}

/// What an output topic does not take is no reason to send anything else twice, or never.
#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_refused_is_set_aside_with_its_record() {
    let scene = scene(1, &[("max.message.bytes", "100000")]).await;
    // More than the lane takes at once: what was passed before it was refused comes again.
    send(&scene, What::Insert, 1500).await;
    send(&scene, What::TooLarge, 1).await;
    send(&scene, What::Insert, 3000).await;
    send(&scene, What::TooLarge, 2).await;
    let mut service = launch(&scene, "kafka").start();
    each_is_passed_on_once(&scene).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_a_transaction_passes_each_record_on_once() {
    let points = ["after_acks", "before_offsets", "before_commit", "after_commit"];
    join_all(points.map(crash_once)).await;
}

async fn crash_once(point: &str) {
    let scene = scene(2, &[]).await;
    let mut service = launch(&scene, "kafka").fault(&format!("exactly_once_{point}@2=kill")).start();
    while service.runs() {
        send(&scene, What::Insert, 30).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    service.is_killed().await;
    let mut next = launch(&scene, "kafka").start();
    each_is_passed_on_once(&scene).await;
    next.stop().await;
}

/// Readers of committed records do not wait until the brokers notice that somebody died, which takes them ten seconds and
/// more; nor until the group does, which keeps the partition for it.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_the_same_name_ends_at_once_what_one_that_died_has_left_open() {
    let scene = scene(1, &[]).await;
    let out = format!("{}.out", scene.topic);
    let launch = || {
        let launch = launch(&scene, "kafka").env("EOS__KAFKA__INSTANCE", "passer-on-0");
        launch.kafka("session.timeout.ms", "40000")
    };
    let mut dies = launch().fault("exactly_once_before_commit@1=kill").start();
    send(&scene, What::Insert, 100).await;
    dies.is_killed().await;
    let began = Instant::now();
    let next = launch().start();
    let behind = Sent { partition: Some(0), payload: Some(b"behind it".to_vec()), ..Sent::default() };
    scene.kafka.produce(&out, &[behind]).await;
    eventually("what stands behind the open transaction is seen", PATIENCE, async || {
        let seen = scene.kafka.read(&out).await;
        if seen.len() == 1 { Ok(()) } else { Err(format!("{} records are", seen.len())) }
    })
    .await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(9_500), "readers of committed records waited {took:?}");
    drop(next);
}

/// Each fences the other, again and again; nothing is sent twice for that.
#[tokio::test(flavor = "multi_thread")]
async fn two_of_the_same_name_pass_each_record_on_once_and_are_told_why_they_are_slow() {
    let scene = scene(2, &[]).await;
    let launch = || launch(&scene, "kafka").env("EOS__KAFKA__INSTANCE", "passer-on-0");
    let mut services = [launch().start(), launch().start()];
    for _ in 0..10 {
        send(&scene, What::Insert, 30).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eventually("one says what is wrong", PATIENCE, async || {
        let told: usize = services.iter().map(|service| service.says("the same `[kafka] instance`")).sum();
        if told > 0 { Ok(()) } else { Err("nobody does".to_owned()) }
    })
    .await;
    let [one, other] = &mut services;
    one.stop().await;
    each_is_passed_on_once(&scene).await;
    other.stop().await;
}

/// A member that sleeps with a transaction in hand is replaced, and refused when it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_slept_before_its_commit_commits_nothing() {
    let cases = [
        ("after_acks", Protocol::Eager, 1),
        ("before_offsets", Protocol::Eager, 1),
        ("before_commit", Protocol::Eager, 1),
        ("before_offsets", Protocol::Cooperative, 4),
        ("before_commit", Protocol::Cooperative, 4),
        ("before_offsets", Protocol::Consumer, 4),
    ];
    join_all(cases.map(|(point, protocol, partitions)| sleep_once(point, protocol, partitions))).await;
}

async fn sleep_once(point: &str, protocol: Protocol, partitions: i32) {
    let scene = scene(partitions, &[]).await;
    let launch = || launch(&scene, "kafka").by(protocol);
    let mut zombie = launch().fault(&format!("exactly_once_{point}@1=stop")).start();
    send(&scene, What::Insert, 100).await;
    zombie.sleeps().await;
    let mut next = launch().start();
    each_is_passed_on_once(&scene).await;
    zombie.wake();
    send(&scene, What::Insert, 100).await;
    each_is_passed_on_once(&scene).await;
    next.stop().await;
    send(&scene, What::Insert, 100).await;
    each_is_passed_on_once(&scene).await;
    zombie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_move_between_members_pass_each_record_on_once() {
    for protocol in [Protocol::Cooperative, Protocol::Consumer] {
        let scene = scene(4, &[]).await;
        let start = || launch(&scene, "kafka").by(protocol).start();
        let mut members = vec![start()];
        for round in 0..6 {
            send(&scene, What::Insert, 200).await;
            if round % 2 == 0 {
                members.push(start());
            } else {
                members.remove(0).stop().await;
            }
            send(&scene, What::FailTwice, 2).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        each_is_passed_on_once(&scene).await;
        for member in &mut members {
            member.stop().await;
        }
        each_is_passed_on_once(&scene).await;
    }
}

/// What a transaction of somebody else's has written stands in the way until it ends; what it aborts was never there.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_upstream_is_waited_for_also_by_one_that_is_started_again() {
    let scene = scene(1, &[]).await;
    send(&scene, What::Insert, 50).await;
    let dirty = Sent { partition: Some(0), payload: Some(b"no order".to_vec()), ..Sent::default() };
    let open = scene.kafka.open_transaction(&scene.topic, &[dirty]).await;
    send(&scene, What::Insert, 50).await;
    for _ in 0..2 {
        let mut service = launch(&scene, "kafka").start();
        let out = format!("{}.out", scene.topic);
        eventually("what stands before it is passed on", PATIENCE, async || {
            let seen = scene.kafka.read(&out).await.len();
            if seen == 50 { Ok(()) } else { Err(format!("{seen} of 50 are")) }
        })
        .await;
        stays("what stands behind it is not", Duration::from_secs(1), async || {
            let seen = scene.kafka.read(&out).await.len();
            if seen == 50 { Ok(()) } else { Err(format!("{seen} are there")) }
        })
        .await;
        service.stop().await;
    }
    let mut service = launch(&scene, "kafka").start();
    open.end(false).await;
    each_is_passed_on_once(&scene).await;
    service.stop().await;
}

/// Neither the transaction that it has open nor the group can be told: it ends all the same, soon after its deadline.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_down_do_not_hold_up_a_stop_for_long() {
    let mut broker = Private::start("kafka").await;
    let scene = Scene::on(Kind::Postgres, &servers().postgres, &broker.address(), SINKS).await;
    scene.kafka.create_topic(&scene.topic, 2, &[]).await;
    make_topics(&scene, 2, &[]).await;
    send(&scene, What::Insert, 200).await;
    let launch = || launch(&scene, "kafka").env("EOS__SHUTDOWN__DEADLINE", "3s");
    let mut service = launch().start();
    each_is_passed_on_once(&scene).await;
    send(&scene, What::Dawdle, 100).await;
    scene.has_begun(220).await;
    broker.kill();
    service.terminate();
    service.exit(Duration::from_secs(15)).await;
    broker.start_again().await;
    let mut next = launch().start();
    each_is_passed_on_once(&scene).await;
    next.stop().await;
}

/// `EOS_TEST_SECONDS` and `EOS_TEST_RECORDS` make it longer, `EOS_TEST_SEED` repeats its choices.
#[tokio::test(flavor = "multi_thread")]
async fn members_killed_at_random_pass_each_record_on_once() {
    let mut chance = Chance::of_this_run();
    let scene = scene(6, &[]).await;
    let start = || launch(&scene, "kafka").env("EOS__DEAD_LETTERS__BREAKER", "0").start();
    let mut members: Vec<Service> = (0..3).map(|_| start()).collect();
    let course = Course::of_this_run(Duration::from_secs(20));
    let mut kills = 0;
    while course.goes_on(scene.ledger().len()) {
        let count = 50 + chance.below(400) as usize;
        send(&scene, What::Insert, count).await;
        if chance.below(4) == 0 {
            send(&scene, What::FailTwice, 1).await;
            send(&scene, What::Fatal, 1).await;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(700))).await;
        if chance.below(3) == 0 {
            let victim = chance.below(3) as usize;
            members[victim].kill();
            members[victim] = start();
            kills += 1;
        }
    }
    each_is_passed_on_once(&scene).await;
    for member in &mut members {
        member.stop().await;
    }
    each_is_passed_on_once(&scene).await;
    eprintln!("{kills} kills, {} records", scene.ledger().len());
}
