//! What is committed is published, in order for each key, and nothing else is.

use std::time::{Duration, Instant};

use eos_runtime::Headers;
use eos_tests::{Delivery, Events, Kind, PATIENCE, eventually, stays};

const RELAY: &str = env!("CARGO_BIN_EXE_relay");
const BOTH: [Delivery; 2] = [Delivery::AtLeastOnce, Delivery::ExactlyOnce];

async fn publishes_in_every_database(kind: Kind) {
    for delivery in BOTH {
        let events = Events::new(kind, 3, RELAY).await;
        events.commit(&["a", "b", "a"]).await;
        let mut relay = events.relay(delivery).start();
        events.all_published().await;
        for _ in 0..30 {
            events.commit(&["a", "b", "c", "d"]).await;
        }
        let seen = events.all_published().await;
        events.nothing_is_there_twice(&seen);
        events.keys_are_in_order(&seen);
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_on_postgres_is_published_once_and_in_order() {
    publishes_in_every_database(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_on_mariadb_is_published_once_and_in_order() {
    publishes_in_every_database(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_on_sqlite_is_published_once_and_in_order() {
    publishes_in_every_database(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_rolled_back_publishes_nothing_and_neither_does_a_savepoint() {
    let events = Events::new(Kind::Postgres, 1, RELAY).await;
    let _relay = events.relay(Delivery::AtLeastOnce).start();
    let pool = events.scene.database.postgres();
    let mut tx = eos_runtime::begin(pool).await.expect("it begins");
    tx.publish_to(&events.scene.topic, "a", "never", Headers::default()).await.expect("published");
    tx.rollback().await.expect("rolled back");
    let mut tx = eos_runtime::begin(pool).await.expect("it begins");
    let mut savepoint = tx.begin().await.expect("a savepoint");
    savepoint.publish_to(&events.scene.topic, "a", "never", Headers::default()).await.expect("published");
    savepoint.rollback().await.expect("rolled back");
    tx.commit().await.expect("committed");
    events.commit(&["a"]).await;
    assert_eq!(events.all_published().await.len(), 1);
}

/// Its number is lower than one that is published already.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_late_is_not_skipped() {
    for delivery in BOTH {
        let events = Events::new(Kind::Postgres, 1, RELAY).await;
        let _relay = events.relay(delivery).start();
        events.commit(&["warm"]).await;
        events.all_published().await;
        let pool = events.scene.database.postgres();
        let mut late = pool.begin().await.expect("it begins");
        let insert = "insert into eos_outbox (aggregatetype, topic, aggregateid, payload) values ('x', $1, 'late', 'late')";
        sqlx::query(insert).bind(&events.scene.topic).execute(&mut *late).await.expect("written");
        for _ in 0..50 {
            events.commit(&["a", "b"]).await;
        }
        events.all_published().await;
        late.commit().await.expect("committed");
        eventually("the late one is published", PATIENCE, async || {
            let seen = events.scene.kafka.read(&events.scene.topic).await;
            let late = seen.iter().filter(|seen| seen.text() == "late").count();
            if late == 1 && seen.len() == events.count() + 1 {
                Ok(())
            } else {
                Err(format!("{} are there", seen.len()))
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others_are_published_with_ours_and_in_order() {
    let events = Events::new(Kind::Postgres, 1, RELAY).await;
    let pool = events.scene.database.postgres();
    let topic = &events.scene.topic;
    events.scene.kafka.create_topic("outbox.event.order-of-others", 1, &[]).await;
    let by_topic = "insert into eos_outbox (id, aggregatetype, aggregateid, type, payload, topic, headers) values \
                    (gen_random_uuid(), 'order', 'k', 'OrderPlaced', convert_to($1, 'UTF8'), $2, '{\"tenant\": \"acme\"}')";
    let mut tx = eos_runtime::begin(pool).await.expect("it begins");
    sqlx::query(by_topic).bind("1").bind(topic).execute(&mut tx).await.expect("written");
    tx.commit().await.expect("committed");
    let mut tx = eos_runtime::begin(pool).await.expect("it begins");
    tx.publish_to(topic, "k", "2", Headers::default()).await.expect("published");
    tx.commit().await.expect("committed");
    let mut tx = eos_runtime::begin(pool).await.expect("it begins");
    sqlx::query(by_topic).bind("3").bind(topic).execute(&mut tx).await.expect("written");
    sqlx::query(
        "insert into eos_outbox (id, aggregatetype, aggregateid, type, payload) \
         values (gen_random_uuid(), 'order-of-others', 'k', 'OrderPlaced', null)",
    )
    .execute(&mut tx)
    .await
    .expect("written");
    tx.commit().await.expect("committed");
    let _relay = events.relay(Delivery::AtLeastOnce).start();
    eventually("the outbox is empty", PATIENCE, async || match events.waiting().await {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
    let seen = events.scene.kafka.read(topic).await;
    assert_eq!(seen.iter().map(eos_tests::Seen::text).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(seen[0].header("type").as_deref(), Some("OrderPlaced"));
    assert_eq!(seen[0].header("tenant").as_deref(), Some("acme"));
    assert_eq!(seen[1].header("type"), None);
    let others = events.scene.kafka.read("outbox.event.order-of-others").await;
    assert_eq!((others.len(), others[0].payload.clone()), (1, None), "a tombstone");
    events.scene.kafka.delete_topic("outbox.event.order-of-others").await;
}

/// The relay looks by itself once a second; who commits elsewhere does not have to wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_another_process_wakes_the_relay() {
    let events = Events::new(Kind::Postgres, 1, RELAY).await;
    let _relay = events.relay(Delivery::AtLeastOnce).start();
    events.commit(&["warm"]).await;
    events.all_published().await;
    let mut waits = Vec::new();
    for round in 0..5 {
        // Its own looks have grown rare by then, and the next is most of a second away.
        tokio::time::sleep(Duration::from_millis(3_300 + 50 * round)).await;
        let began = Instant::now();
        events.commit(&["a"]).await;
        while events.waiting().await > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        waits.push(began.elapsed());
    }
    waits.sort();
    assert!(waits[2] < Duration::from_millis(300), "{waits:?}");
}

/// Four relays come and go while eight services write; each key is written by one of them at a time.
#[tokio::test(flavor = "multi_thread")]
async fn keys_stay_in_order_under_eight_writers_while_lanes_move_between_four_relays() {
    for delivery in BOTH {
        let events = Events::new(Kind::Postgres, 4, RELAY).await;
        let until = Instant::now() + Duration::from_secs(12);
        let writers = futures_util::future::join_all((0..8).map(|writer| {
            let events = &events;
            async move {
                let keys: Vec<String> = (0..5).map(|key| format!("{writer}-{key}")).collect();
                while Instant::now() < until {
                    for key in &keys {
                        events.commit(&[key, key]).await;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }));
        let moving = async {
            let mut relays = vec![events.relay(delivery).start()];
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                relays.push(events.relay(delivery).start());
            }
            tokio::time::sleep(Duration::from_secs(4)).await;
            for mut relay in relays.drain(..2) {
                relay.stop().await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            relays.push(events.relay(delivery).start());
            relays
        };
        let ((), relays) = tokio::join!(async { drop(writers.await) }, moving);
        let seen = events.all_published().await;
        events.keys_are_in_order(&seen);
        // Nobody was lost, so nothing is repeated either.
        events.nothing_is_there_twice(&seen);
        let busy = relays.iter().filter(|relay| relay.says("working on a lane") > 0).count();
        assert!(busy >= 2, "the work was shared: {busy}");
        for mut relay in relays {
            relay.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_published_once_and_goes_in_the_end() {
    let events = Events::new(Kind::Postgres, 1, RELAY).await;
    let _relay = events.relay(Delivery::AtLeastOnce).env("EOS__OUTBOX__KEEP", "4s").start();
    for _ in 0..20 {
        events.commit(&["a"]).await;
    }
    eventually("all are marked", PATIENCE, async || {
        let unmarked = "select count(*) from eos_outbox where published_at is null";
        match events.scene.database.number(unmarked).await.expect("a number") {
            0 => Ok(()),
            left => Err(format!("{left} are not")),
        }
    })
    .await;
    stays("they are kept for a while", Duration::from_secs(2), async || match events.waiting().await {
        20 => Ok(()),
        kept => Err(format!("{kept} are kept")),
    })
    .await;
    let seen = events.all_published().await;
    events.nothing_is_there_twice(&seen);
}
