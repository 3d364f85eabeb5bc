//! Dead letters in Kafka: a plain listener's, before its offset moves, and those of a table, which are published from there.

use eos_tests::{Kind, PATIENCE, Scene, Seen, Sent, What, eventually};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

async fn dead(scene: &Scene, topic: &str, count: usize) -> Vec<Seen> {
    eventually(&format!("{count} dead letters are there"), PATIENCE, async || {
        match scene.kafka.read(topic).await {
            seen if seen.len() >= count => Ok(()),
            seen => Err(format!("{} are", seen.len())),
        }
    })
    .await;
    scene.kafka.read(topic).await
}

fn bytes<'s>(seen: &'s Seen, name: &str) -> &'s [u8] {
    let header = seen.headers.iter().find(|(header, _)| header == name);
    header.and_then(|(_, value)| value.as_deref()).unwrap_or_else(|| panic!("no `{name}` in {seen:?}"))
}

async fn committed(scene: &Scene, partitions: i32, end: i64) {
    eventually("its offsets are committed", PATIENCE, async || {
        let committed = scene.kafka.committed(&scene.group, &scene.topic, partitions).await;
        let sum: i64 = committed.iter().flatten().sum();
        if sum == end { Ok(()) } else { Err(format!("{committed:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_listeners_record_is_in_its_topic_before_the_offset_moves() {
    let scene = Scene::new(Kind::Postgres, 3, SINKS).await;
    let topic = format!("{}-dlt", scene.topic);
    scene.kafka.create_topic(&topic, 3, &[]).await;
    scene.produce_to(1, What::Insert, 3).await;
    let fatal = scene.produce_to(1, What::Fatal, 1).await[0].clone();
    let fails = scene.produce_to(2, What::FailAlways, 1).await[0].clone();
    scene.produce_to(1, What::Insert, 3).await;
    let mut service = scene.launch().env("SINK_LISTENER", "plain_orders").env("EOS__RETRY__MAX", "3").start();
    let mut seen = dead(&scene, &topic, 2).await;
    committed(&scene, 3, 7 + 1).await;
    service.stop().await;
    seen.sort_by_key(|seen| seen.partition);
    for (seen, sent, reason) in [(&seen[0], &fatal, "eos.Poison"), (&seen[1], &fails, "eos.Failed")] {
        assert_eq!(seen.partition, sent.partition, "in the partition of the same number");
        assert_eq!(seen.key_text(), sent.order.order_id.to_string());
        assert_eq!(seen.payload, Some(serde_json::to_vec(&sent.order).expect("JSON")));
        assert_eq!(Some(seen.id()), sent.message_id, "its own headers come first");
        assert_eq!(bytes(seen, "kafka_dlt-original-topic"), scene.topic.as_bytes());
        assert_eq!(bytes(seen, "kafka_dlt-original-partition"), sent.partition.to_be_bytes());
        assert_eq!(bytes(seen, "kafka_dlt-original-offset"), sent.offset.to_be_bytes());
        assert_eq!(bytes(seen, "kafka_dlt-original-consumer-group"), scene.group.as_bytes());
        assert_eq!(bytes(seen, "kafka_dlt-exception-fqcn"), reason.as_bytes());
    }
    let error = String::from_utf8_lossy(bytes(&seen[0], "kafka_dlt-exception-message")).into_owned();
    assert!(error.contains("this order can never be served"), "{error}");
    let tried =
        scene.told().lines().iter().filter(|line| line.what == "begin" && line.partition == 2).count();
    assert_eq!(tried, 3);
    scene.kafka.delete_topic(&topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_listener_waits_for_a_topic_that_is_missing_and_says_so() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let topic = format!("{}-dlt", scene.topic);
    scene.produce_to(0, What::Fatal, 1).await;
    scene.produce_to(0, What::Insert, 2).await;
    scene.produce_to(1, What::Insert, 5).await;
    let mut service = scene.launch().env("SINK_LISTENER", "plain_orders").start();
    service.has_said(&format!("the topic `{topic}` does not exist")).await;
    committed(&scene, 2, 5).await;
    scene.kafka.create_topic(&topic, 1, &[]).await;
    committed(&scene, 2, 8).await;
    service.stop().await;
    assert_eq!(dead(&scene, &topic, 1).await.len(), 1);
    scene.kafka.delete_topic(&topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_too_large_for_its_topic_goes_without_its_payload() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let topic = format!("{}-dlt", scene.topic);
    scene.kafka.create_topic(&topic, 1, &[("max.message.bytes", "20000")]).await;
    let large = Sent { partition: Some(0), payload: Some(vec![b'{'; 30_000]), ..Sent::default() };
    let middle = Sent { partition: Some(0), payload: Some(vec![b'{'; 15_000]), ..Sent::default() };
    scene.kafka.produce(&scene.topic, &[large, middle]).await;
    let mut service = scene.launch().env("SINK_LISTENER", "plain_orders").start();
    let seen = dead(&scene, &topic, 2).await;
    service.stop().await;
    let sizes: Vec<_> = seen.iter().map(|seen| seen.payload.as_ref().map(Vec::len)).collect();
    assert_eq!(sizes, [None, Some(15_000)]);
    assert_eq!(bytes(&seen[0], "kafka_dlt-original-offset"), 0i64.to_be_bytes());
    scene.kafka.delete_topic(&topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tables_dead_letters_are_published_whatever_dies() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let topic = format!("{}-dead", scene.topic);
    scene.kafka.create_topic(&topic, 2, &[]).await;
    for partition in 0..2 {
        scene.produce_to(partition, What::Insert, 3).await;
        scene.produce_to(partition, What::Fatal, 3).await;
        scene.produce_to(partition, What::Insert, 3).await;
    }
    let launch = || scene.launch().env("SINK_LISTENER", "told_twice");
    let mut dies = launch().fault("publish_after_send@2=kill").start();
    dies.is_killed().await;
    // The row that it had reserved is free again after half a minute.
    let mut service = launch().start();
    scene.every_order_once().await;
    let waiting = "select count(*) from eos_dead_letter where publish_to is not null";
    eventually("all are published", PATIENCE, async || match scene.database.number(waiting).await {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    service.stop().await;
    let seen = scene.kafka.read(&topic).await;
    assert!((6..=7).contains(&seen.len()), "each, and the one in doubt perhaps twice: {}", seen.len());
    let mut ids: Vec<_> = seen.iter().map(|seen| bytes(seen, "eos-dead-letter").to_vec()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    assert_eq!(scene.dead_letters().await.len(), 6, "and they are in the table all the same");
    scene.kafka.delete_topic(&topic).await;
}
