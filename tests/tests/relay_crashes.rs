//! A relay that dies at any of its named points, or sleeps there and wakes up: nothing is lost, and to readers that wait
//! for commits nothing that was published exactly once is there twice.

use std::collections::BTreeSet;
use std::time::Duration;

use eos_tests::{Delivery, Events, Kind, PATIENCE, Private, Scene, eventually, servers, stays};

const RELAY: &str = env!("CARGO_BIN_EXE_relay");

const AT_LEAST_ONCE: [&str; 4] =
    ["relay_after_select", "relay_after_acks", "relay_before_delete", "relay_after_delete"];
const EXACTLY_ONCE: [&str; 9] = [
    "relay_after_select",
    "relay_after_init",
    "relay_after_marker",
    "relay_after_acks",
    "relay_before_commit",
    "relay_after_commit",
    "relay_before_delete",
    "relay_after_delete",
    "relay_after_recovery",
];

/// A point that is added to the source is added here, or this fails.
#[test]
fn every_point_of_the_relay_is_crashed_at() {
    let relay = concat!(env!("CARGO_MANIFEST_DIR"), "/../eos-runtime/src/outbox/relay");
    let mut named = BTreeSet::new();
    for entry in std::fs::read_dir(relay).expect("the relay's folder").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("text");
        let points = text.split("fault::point(\"").skip(1);
        named.extend(points.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
    }
    let crashed_at: BTreeSet<String> =
        AT_LEAST_ONCE.iter().chain(&EXACTLY_ONCE).map(|point| (*point).to_owned()).collect();
    assert_eq!(named, crashed_at);
}

async fn write(events: &Events, rounds: usize) {
    for round in 0..rounds {
        let keys = ["a", "b", "c", "d", "e"];
        events.commit(&[keys[round % 5], keys[(round + 2) % 5]]).await;
    }
}

/// A relay is killed at a point, and another goes on; several times, at the first and at later passes.
async fn dies_at_every_point(kind: Kind, delivery: Delivery, points: &[&str]) {
    let events = Events::new(kind, 2, RELAY).await;
    for (number, point) in points.iter().enumerate() {
        for pass in [1, 2] {
            // Recovery needs something to recover: an owner that died after its commit.
            if *point == "relay_after_recovery" {
                if pass == 2 {
                    continue;
                }
                write(&events, 3).await;
                events.relay(delivery).fault("relay_after_commit=kill").start().is_killed().await;
            }
            if pass == 2 && matches!(*point, "relay_after_init" | "relay_after_marker") {
                continue; // one that is not killed passes there once
            }
            write(&events, 5 + number).await;
            let mut dies = events.relay(delivery).fault(&format!("{point}@{pass}=kill")).start();
            let mut killed = false;
            for _ in 0..40 {
                if !dies.runs() {
                    killed = true;
                    break;
                }
                write(&events, 3).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if !killed {
                dies.is_killed().await;
            }
        }
    }
    let mut relay = events.relay(delivery).start();
    let seen = events.all_published().await;
    events.keys_are_in_order(&seen);
    if delivery == Delivery::ExactlyOnce {
        events.nothing_is_there_twice(&seen);
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_any_point_loses_nothing_at_least_once_on_postgres() {
    dies_at_every_point(Kind::Postgres, Delivery::AtLeastOnce, &AT_LEAST_ONCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_any_point_publishes_each_event_once_on_postgres() {
    dies_at_every_point(Kind::Postgres, Delivery::ExactlyOnce, &EXACTLY_ONCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_any_point_publishes_each_event_once_on_mariadb() {
    dies_at_every_point(Kind::MariaDb, Delivery::ExactlyOnce, &["relay_after_acks", "relay_after_commit"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_at_any_point_publishes_each_event_once_on_sqlite() {
    dies_at_every_point(Kind::Sqlite, Delivery::ExactlyOnce, &["relay_after_acks", "relay_after_commit"])
        .await;
}

/// It sleeps with a transaction open, or with one committed and nothing deleted, and another takes its lane.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_fenced_while_it_slept_publishes_nothing_that_is_read() {
    for point in ["relay_after_select@2", "relay_after_acks", "relay_before_commit", "relay_after_commit"] {
        let events = Events::new(Kind::Postgres, 2, RELAY).await;
        write(&events, 20).await;
        let sleeper = events.relay(Delivery::ExactlyOnce).fault(&format!("{point}=stop")).start();
        if point.ends_with("@2") {
            sleeper.has_said("working on a lane").await;
            for _ in 0..10 {
                write(&events, 3).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        sleeper.sleeps().await;
        let mut other = events.relay(Delivery::ExactlyOnce).start();
        let before = events.all_published().await;
        events.nothing_is_there_twice(&before);
        sleeper.wake();
        write(&events, 10).await;
        events.all_published().await;
        stays("the one that woke up publishes nothing twice", Duration::from_secs(3), async || {
            let seen = events.scene.kafka.read(&events.scene.topic).await;
            if seen.len() == events.count() {
                Ok(())
            } else {
                Err(format!("{} of {}", seen.len(), events.count()))
            }
        })
        .await;
        let seen = events.all_published().await;
        events.nothing_is_there_twice(&seen);
        events.keys_are_in_order(&seen);
        other.stop().await;
    }
}

/// Three relays, of which one after the other is killed, while events are written.
#[tokio::test(flavor = "multi_thread")]
async fn relays_killed_at_random_publish_each_event_once() {
    let events = Events::new(Kind::Postgres, 3, RELAY).await;
    let start = || events.relay(Delivery::ExactlyOnce).start();
    let mut relays = [start(), start(), start()];
    let writing = async {
        for round in 0..400 {
            events.commit(&[["a", "b", "c", "d"][round % 4], "e"]).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let killing = async {
        for kill in 0..8 {
            tokio::time::sleep(Duration::from_millis(1_700)).await;
            let victim = &mut relays[kill % 3];
            victim.kill();
            *victim = start();
        }
    };
    tokio::join!(writing, killing);
    let seen = events.all_published().await;
    events.nothing_is_there_twice(&seen);
    events.keys_are_in_order(&seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_for_a_while_loses_nothing_and_marks_nothing() {
    let (patient, impatient) = ("60000", "1000");
    for (delivery, timeout) in [
        (Delivery::AtLeastOnce, patient),
        (Delivery::ExactlyOnce, patient),
        // Transactions are over before the outage is.
        (Delivery::ExactlyOnce, impatient),
    ] {
        let mut broker = Private::start("kafka").await;
        let scene = Scene::on(Kind::Postgres, &servers().postgres, &broker.address(), RELAY).await;
        scene.kafka.create_topic(&scene.topic, 2, &[]).await;
        let events = Events::of(scene).await;
        let setting = "EOS__OUTBOX__PROPERTIES__TRANSACTION_TIMEOUT_MS";
        let mut relay = events.relay(delivery).env(setting, timeout).start();
        write(&events, 10).await;
        events.all_published().await;
        broker.kill();
        events.commit(&["alone"]).await;
        write(&events, 40).await;
        stays("nothing is marked meanwhile", Duration::from_secs(4), async || {
            let marked = "select count(*) from eos_outbox where failed_at is not null or attempts > 0";
            match events.scene.database.number(marked).await.expect("a number") {
                0 => Ok(()),
                marked => Err(format!("{marked} are")),
            }
        })
        .await;
        broker.start_again().await;
        write(&events, 10).await;
        let seen = events.all_published().await;
        events.keys_are_in_order(&seen);
        if delivery == Delivery::ExactlyOnce {
            events.nothing_is_there_twice(&seen);
        }
        relay.stop().await;
    }
}

/// A marker names the batch of its own transaction alone. If an owner died with the batch before it committed and not
/// deleted, nobody would know any more that it was published.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_not_committed_before_the_last_one_is_deleted() {
    let events = Events::new(Kind::Postgres, 1, RELAY).await;
    events.commit(&["a"; 1_000]).await;
    let mut holder = events.scene.database.postgres().begin().await.expect("it begins");
    sqlx::raw_sql("select from eos_outbox for update").execute(&mut *holder).await.expect("it is locked");
    let mut relay = events.relay(Delivery::ExactlyOnce).start();
    let published = async || events.scene.kafka.read(&events.scene.topic).await.len();
    let first = eventually("the first batch is published", PATIENCE, async || match published().await {
        0 => Err("nothing is there".to_owned()),
        there => Ok(there),
    });
    let first = first.await;
    assert!(first < 1_000, "all of it was one batch");
    stays("the second is not", Duration::from_secs(2), async || match published().await {
        there if there == first => Ok(()),
        there => Err(format!("{first} were there, and now {there} are")),
    })
    .await;
    holder.rollback().await.expect("it is let go");
    events.nothing_is_there_twice(&events.all_published().await);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restarted_loses_nothing() {
    let mut server = Private::start("postgres").await;
    let url = format!("postgres://postgres@{}/postgres", server.address());
    let scene = Scene::on(Kind::Postgres, &url, &servers().kafka, RELAY).await;
    scene.kafka.create_topic(&scene.topic, 2, &[]).await;
    let events = Events::of(scene).await;
    let mut relay = events.relay(Delivery::ExactlyOnce).start();
    write(&events, 20).await;
    server.kill();
    server.start_again().await;
    eventually("it can be written again", PATIENCE, async || {
        events.try_commit(&["a"]).await.map_err(|error| error.to_string())
    })
    .await;
    write(&events, 20).await;
    let seen = events.all_published().await;
    events.nothing_is_there_twice(&seen);
    events.keys_are_in_order(&seen);
    relay.stop().await;
}

/// Each on a server of its own, under one name: their lanes have the same slots, and their producers not the same ids.
#[tokio::test(flavor = "multi_thread")]
async fn two_services_with_databases_of_the_same_name_do_not_fence_each_other() {
    let other_server = Private::start("postgres").await;
    let other_url = format!("postgres://postgres@{}/postgres", other_server.address());
    let one = Events::new(Kind::Postgres, 1, RELAY).await;
    let other = Scene::on_of_the_same_name(&one.scene, &other_url).await;
    other.kafka.create_topic(&other.topic, 1, &[]).await;
    let other = Events::of(other).await;
    let mut relays = [one.relay(Delivery::ExactlyOnce).start(), other.relay(Delivery::ExactlyOnce).start()];
    for _ in 0..30 {
        write(&one, 2).await;
        write(&other, 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for events in [&one, &other] {
        let seen = events.all_published().await;
        events.nothing_is_there_twice(&seen);
    }
    for relay in &mut relays {
        assert_eq!(relay.says("cannot be published"), 0, "nobody was fenced");
        relay.stop().await;
    }
}
