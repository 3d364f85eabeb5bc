//! Entries that Kafka refuses: they are marked alone and said, their keys wait, and everything else goes on.

use std::time::Duration;

use eos_runtime::outbox;
use eos_tests::{Delivery, Events, Kind, PATIENCE, Raw, Scene, Seen, eventually, stays};

const RELAY: &str = env!("CARGO_BIN_EXE_relay");
const BOTH: [Delivery; 2] = [Delivery::AtLeastOnce, Delivery::ExactlyOnce];

async fn publish(events: &Events, topic: &str, key: &str, payload: &str) {
    events.publish(&[Raw::new(topic, Some(key), Some(payload.as_bytes()))]).await;
}

async fn refused_are(events: &Events, count: usize) -> Vec<outbox::Refused> {
    eventually("entries are refused", PATIENCE, async || {
        let refused =
            outbox::refused(events.scene.database.postgres()).await.map_err(|error| error.to_string())?;
        if refused.len() == count { Ok(refused) } else { Err(format!("{} are", refused.len())) }
    })
    .await
}

async fn texts_are(events: &Events, topic: &str, wanted: &[&str]) {
    eventually("these are published", PATIENCE, async || {
        let mut texts: Vec<String> = events.scene.kafka.read(topic).await.iter().map(Seen::text).collect();
        texts.sort();
        let short: Vec<_> = texts.iter().map(|text| &text[..text.len().min(12)]).collect();
        if short == wanted { Ok(()) } else { Err(format!("{short:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_larger_than_the_topic_allows_holds_its_key_and_no_other() {
    for delivery in BOTH {
        let small = [("max.message.bytes", "20000")];
        let scene = Scene::with_topic(Kind::Postgres, 1, &small, RELAY).await;
        let events = Events::of(scene).await;
        let topic = events.scene.topic.clone();
        publish(&events, &topic, "a", "a1").await;
        publish(&events, &topic, "b", &"b2-too-large".repeat(5_000)).await;
        publish(&events, &topic, "b", "b3").await;
        publish(&events, &topic, "c", "c4").await;
        let mut relay = events.relay(delivery).start();
        let refused = refused_are(&events, 1).await;
        assert_eq!((refused[0].key.as_deref(), refused[0].attempts), (Some("b"), 1));
        assert!(
            refused[0].error.contains("size") || refused[0].error.contains("large"),
            "{}",
            refused[0].error
        );
        texts_are(&events, &topic, &["a1", "c4"]).await;
        publish(&events, &topic, "b", "b5").await;
        publish(&events, &topic, "a", "a6").await;
        texts_are(&events, &topic, &["a1", "a6", "c4"]).await;
        assert_eq!(relay.says("was refused"), 1, "it is said once");

        outbox::discard(events.scene.database.postgres(), &[refused[0].seq]).await.expect("discarded");
        texts_are(&events, &topic, &["a1", "a6", "b3", "b5", "c4"]).await;
        relay.stop().await;
    }
}

/// The limit is on batches: five hundred small entries are more than the topic takes at once, and none of them is at fault.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_entries_are_not_refused_together() {
    for delivery in BOTH {
        let small = [("max.message.bytes", "6000")];
        let scene = Scene::with_topic(Kind::Postgres, 1, &small, RELAY).await;
        let events = Events::of(scene).await;
        for round in 0..100 {
            events.commit(&["a", "b", "c", "d", ["e", "f"][round % 2]]).await;
        }
        let mut relay = events.relay(delivery).start();
        let seen = events.all_published().await;
        events.nothing_is_there_twice(&seen);
        events.keys_are_in_order(&seen);
        assert_eq!(relay.says("was refused"), 0);
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_for_a_topic_that_is_missing_waits_for_it_with_its_key_and_goes_when_it_is_there() {
    for delivery in BOTH {
        let events = Events::new(Kind::Postgres, 1, RELAY).await;
        let (topic, missing) = (events.scene.topic.clone(), format!("{}.missing", events.scene.topic));
        publish(&events, &topic, "a", "a1").await;
        publish(&events, &missing, "a", "a2").await;
        publish(&events, &topic, "a", "a3").await;
        publish(&events, &topic, "b", "b4").await;
        publish(&events, "no topic/at all", "d", "d5").await;
        let mut relay = events.relay(delivery).start();
        let refused = refused_are(&events, 2).await;
        assert!(refused[0].error.contains(&format!("`{missing}`")), "{}", refused[0].error);
        assert!(refused[1].error.contains("no topic/at all"), "{}", refused[1].error);
        texts_are(&events, &topic, &["a1", "b4"]).await;

        events.scene.kafka.create_topic(&missing, 1, &[]).await;
        texts_are(&events, &topic, &["a1", "a3", "b4"]).await;
        texts_are(&events, &missing, &["a2"]).await;
        let refused = refused_are(&events, 1).await;
        let pool = events.scene.database.postgres();
        assert_eq!(outbox::retry(pool, &[refused[0].seq]).await.expect("retried"), 1);
        eventually("it is refused once more", PATIENCE, async || {
            match outbox::refused(pool).await.map_err(|error| error.to_string())?.first() {
                Some(refused) if refused.attempts == 2 => Ok(()),
                refused => Err(format!("{refused:?}")),
            }
        })
        .await;
        events.scene.kafka.delete_topic(&missing).await;
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn later_entries_pass_where_that_is_set() {
    let events = Events::new(Kind::Postgres, 1, RELAY).await;
    let topic = events.scene.topic.clone();
    publish(&events, &format!("{topic}.missing"), "a", "a1").await;
    publish(&events, &topic, "a", "a2").await;
    let _relay = events.relay(Delivery::AtLeastOnce).env("EOS__OUTBOX__ON_UNDELIVERABLE", "skip").start();
    refused_are(&events, 1).await;
    texts_are(&events, &topic, &["a2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_no_headers_are_refused_alone() {
    let events = Events::new(Kind::Postgres, 1, RELAY).await;
    let topic = events.scene.topic.clone();
    let pool = events.scene.database.postgres();
    sqlx::query("insert into eos_outbox (aggregatetype, topic, aggregateid, headers) values ('x', $1, 'a', 'tenant=acme')")
        .bind(&topic)
        .execute(pool)
        .await
        .expect("written");
    publish(&events, &topic, "b", "b1").await;
    let _relay = events.relay(Delivery::AtLeastOnce).start();
    let refused = refused_are(&events, 1).await;
    assert!(refused[0].error.contains("`headers`"), "{}", refused[0].error);
    texts_are(&events, &topic, &["b1"]).await;
    stays("it is not tried again and again", Duration::from_secs(2), async || {
        match outbox::refused(pool).await.map_err(|error| error.to_string())?[0].attempts {
            1 => Ok(()),
            attempts => Err(format!("{attempts} attempts")),
        }
    })
    .await;
}

/// One that librdkafka does not accept would be refused at each try, and nothing would ever be published.
#[tokio::test(flavor = "multi_thread")]
async fn a_property_that_is_wrong_ends_the_relay_with_its_name() {
    let own = "EOS__OUTBOX__PROPERTIES__";
    for (delivery, variable, value, said) in [
        (Delivery::AtLeastOnce, format!("{own}LINGER_MSS"), "5", "`outbox.properties.linger.mss`"),
        (Delivery::AtLeastOnce, format!("{own}LINGER_MS"), "soon", "`outbox.properties.linger.ms`"),
        // Each is fine alone; librdkafka refuses them together with what the relay needs.
        (Delivery::AtLeastOnce, format!("{own}MAX_IN_FLIGHT"), "10", "`[kafka]` and `[outbox.properties]`"),
        (
            Delivery::ExactlyOnce,
            format!("{own}SOCKET_TIMEOUT_MS"),
            "90000",
            "`[kafka]` and `[outbox.properties]`",
        ),
    ] {
        let events = Events::new(Kind::Postgres, 1, RELAY).await;
        let mut relay = events.relay(delivery).env(&variable, value).start();
        assert_eq!(relay.exit(PATIENCE).await.code(), Some(1), "{variable}");
        assert!(relay.log().contains("the relay cannot publish"), "{}", relay.log());
        assert!(relay.log().contains(said), "{}", relay.log());
    }
}
