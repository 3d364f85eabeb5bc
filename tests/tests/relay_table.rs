//! A table that events only pass through, while somebody holds an old snapshot of the database: its dead rows cannot be
//! removed then, and must not make the relay slower and slower.
//!
//! `EOS_TEST_SECONDS` says for how long (20 unless set; `scripts/soak` takes minutes), half of it under the snapshot.

use std::time::{Duration, Instant};

use eos_tests::{Delivery, Events, Kind, PATIENCE, eventually};

const RELAY: &str = env!("CARGO_BIN_EXE_relay");

#[tokio::test(flavor = "multi_thread")]
async fn a_held_snapshot_does_not_hold_up_the_relay() {
    let seconds: u64 =
        std::env::var("EOS_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let events = Events::new(Kind::Postgres, 2, RELAY).await;
    let pool = events.scene.database.postgres();
    let mut relay = events.relay(Delivery::AtLeastOnce).start();
    events.commit(&["warm"]).await;
    events.all_published().await;

    let mut snapshot = pool.begin_with("begin isolation level repeatable read").await.expect("it begins");
    sqlx::query("select count(*) from eos_outbox").execute(&mut *snapshot).await.expect("a snapshot");
    let mut held = pump(&events, Duration::from_secs(seconds / 4)).await;
    // It finds dead rows alone, and PostgreSQL plans every statement anew for a table that it takes for empty.
    drained(&events).await;
    events.scene.database.execute("vacuum eos_outbox").await;
    held += pump(&events, Duration::from_secs(seconds / 4)).await;
    let behind = drained(&events).await;
    report(&events, "with a snapshot held", held, behind).await;
    assert!(behind < Duration::from_secs(5), "the relay fell behind: {behind:?}");
    snapshot.rollback().await.expect("released");

    let free = pump(&events, Duration::from_secs(seconds / 2)).await;
    let behind = drained(&events).await;
    report(&events, "without", free, behind).await;
    let seen = events.all_published().await;
    events.nothing_is_there_twice(&seen);
    relay.stop().await;
}

/// Two writers, each with its keys; how many events they have committed.
async fn pump(events: &Events, during: Duration) -> usize {
    let (before, until) = (events.count(), Instant::now() + during);
    let writer = async |writer: usize| {
        let keys: Vec<String> = (0..20).map(|key| format!("{writer}-{key}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        while Instant::now() < until {
            events.commit(&keys).await;
        }
    };
    tokio::join!(writer(0), writer(1));
    events.count() - before
}

/// How long the relay takes to come to an end.
async fn drained(events: &Events) -> Duration {
    let began = Instant::now();
    eventually("the outbox is empty", PATIENCE, async || match events.waiting().await {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
    began.elapsed()
}

async fn report(events: &Events, how: &str, count: usize, behind: Duration) {
    let number = async |sql: &str| events.scene.database.number(sql).await.expect("a number");
    let size = number("select pg_total_relation_size('eos_outbox')").await / 1024;
    let dead = number("select n_dead_tup from pg_stat_user_tables where relname = 'eos_outbox'").await;
    let vacuums =
        number("select autovacuum_count from pg_stat_user_tables where relname = 'eos_outbox'").await;
    eprintln!(
        "{how}: {count} events; the table has {size} kB and {dead} dead rows after {vacuums} automatic vacuums; \
         empty after {behind:.1?}"
    );
}
