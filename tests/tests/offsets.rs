//! Logs that are not a plain row of records: gaps, a topic made anew, retention, new partitions, and offsets and
//! positions that somebody has set.

use std::time::Duration;

use eos_tests::{Kind, Launch, Order, PATIENCE, Scene, What, eventually, kafka_tool, stays};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

const STOPPED: &str = "the partition is stopped";

#[tokio::test(flavor = "multi_thread")]
async fn gaps_of_transaction_markers_and_aborted_records_are_no_trouble() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let mut service = scene.launch().start();
    for _ in 0..3 {
        scene.produce_to(0, What::Insert, 3).await;
        scene.produce_in_transaction(0, 4, true).await;
        scene.produce_in_transaction(0, 4, false).await;
    }
    scene.produce_to(0, What::Insert, 2).await;
    scene.every_order_once().await;
    service.stop().await;

    // A position that stands before a marker is a position like any other.
    scene.produce_in_transaction(0, 4, true).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    let mut service = scene.launch().start();
    scene.produce_to(0, What::Insert, 2).await;
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_of_compaction_are_no_trouble() {
    let compacts = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "100"),
        ("max.compaction.lag.ms", "200"),
    ];
    let scene = Scene::with_topic(Kind::Postgres, 1, &compacts, SINKS).await;
    // Each order three times over, under the same key and the same message id: all but the last copy will go.
    let orders = scene.produce(What::Insert, 10).await;
    scene.produce_again(&orders).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    scene.produce_again(&orders).await;
    scene.produce(What::Insert, 5).await;
    eventually("the topic is compacted", PATIENCE, async || {
        // The newest segment is never compacted, so that one more record has to follow, and to be old enough.
        scene.produce_again(&orders[..1]).await;
        match scene.kafka.visible_offsets(&scene.topic, 0).await {
            left if left.first() > Some(&9) => Ok(()),
            left => Err(format!("{left:?} are left")),
        }
    })
    .await;

    // The record before the position is gone, and so are some behind it.
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_shorter_stops_its_partition_loudly() {
    made_anew(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_longer_stops_its_partition_loudly() {
    made_anew(30).await;
}

async fn made_anew(count: usize) {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;

    scene.kafka.delete_topic(&scene.topic).await;
    scene.kafka.create_topic(&scene.topic, 1, &[]).await;
    scene.produce(What::Insert, count).await;
    let service = scene.launch().start();
    service.has_said(STOPPED).await;
    let applied = scene.applied().await;
    assert_eq!(applied, 10, "nothing of the new topic is done, as nobody knows whether it was before");
    assert!(service.says("the topic was made anew") > 0, "it says why");
    drop(service);

    // A person decides to begin anew: nothing was skipped.
    let forget = format!("delete from eos_position where group_id = '{}'", scene.group);
    scene.database.execute(&forget).await;
    let mut service = scene.launch().start();
    scene.has_applied(10 + count).await;
    service.stop().await;
    assert_eq!(scene.applied().await, 10 + count);
}

/// The service runs while it happens.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_under_a_running_service_stops_its_partition_loudly() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let service = watches_topics(scene.launch()).start();
    scene.every_order_once().await;
    scene.kafka.delete_topic(&scene.topic).await;
    scene.kafka.create_topic(&scene.topic, 1, &[]).await;
    scene.produce(What::Insert, 5).await;
    service.has_said(STOPPED).await;
    scene.produce(What::Insert, 30).await;
    stays("nothing of the new topic is done", Duration::from_secs(2), async || match scene.applied().await {
        10 => Ok(()),
        applied => Err(format!("{applied} are applied")),
    })
    .await;
}

/// Filled beyond the position before the service has read again: nothing of what librdkafka says differs.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_refilled_under_a_running_service_stops_its_partition_loudly() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let launch = || watches_topics(scene.launch()).env("EOS__KAFKA__COMMIT_INTERVAL", "1s");
    let mut service = launch().start();
    scene.every_order_once().await;
    is_committed(&scene, 10).await;
    scene.kafka.delete_topic(&scene.topic).await;
    scene.kafka.create_topic(&scene.topic, 1, &[]).await;
    scene.produce(What::Insert, 30).await;
    service.has_said(STOPPED).await;
    scene.produce(What::Insert, 10).await;
    let before = scene.applied().await;
    stays("nothing more of the new topic is done", Duration::from_secs(2), async || {
        match scene.applied().await {
            applied if applied == before => Ok(()),
            applied => Err(format!("{before} were applied, and now {applied}")),
        }
    })
    .await;
    service.stop().await;
    // Whoever takes the partition next finds it so, too.
    let mut service = launch().start();
    service.has_said(STOPPED).await;
    service.stop().await;
    assert_eq!(scene.applied().await, before);

    // Begun anew, it finds what was jumped over, and what it had done already leaves no trace.
    let forget = format!("delete from eos_position where group_id = '{}'", scene.group);
    scene.database.execute(&forget).await;
    let mut service = launch().start();
    scene.every_order_once().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_refilled_is_read_from_its_beginning_by_a_plain_listener() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let launch = || {
        watches_topics(scene.launch()).env("EOS__KAFKA__COMMIT_INTERVAL", "1s").env("SINK_LISTENER", "plain")
    };
    let mut service = launch().start();
    is_committed(&scene, 10).await;
    scene.kafka.delete_topic(&scene.topic).await;
    scene.kafka.create_topic(&scene.topic, 1, &[]).await;
    scene.produce(What::Insert, 30).await;
    service.has_said("reading the topic from its beginning").await;
    is_committed(&scene, 30).await;
    let lines = scene.told().lines();
    let begun = lines.iter().filter(|line| line.what == "begin" && line.offset < 10).count();
    assert_eq!(begun, 20, "ten of the old topic, ten of the new one");
    // Once is enough: it is not begun anew at every commit.
    scene.produce(What::Insert, 10).await;
    is_committed(&scene, 40).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(service.says("reading the topic from its beginning"), 1);
    service.stop().await;
}

/// Waits until Kafka has been told this offset of the first partition.
async fn is_committed(scene: &Scene, offset: i64) {
    eventually("Kafka is told", PATIENCE, async || {
        match scene.kafka.committed(&scene.group, &scene.topic, 1).await[0] {
            Some(committed) if committed == offset => Ok(()),
            other => Err(format!("{other:?} is committed, not {offset}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_that_starts_at_the_end_does_so_in_every_partition() {
    let scene = Scene::new(Kind::Postgres, 8, SINKS).await;
    scene.produce(What::Insert, 80).await;
    let mut service = scene.launch().env("EOS__KAFKA__START", "latest").start();
    eventually("all partitions are taken", PATIENCE, async || match service.says("took the partition") {
        8 => Ok(()),
        taken => Err(format!("{taken} are taken")),
    })
    .await;
    scene.forget(|_| true);
    for partition in 0..8 {
        scene.produce_to(partition, What::Insert, 5).await;
    }
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
    assert_eq!(scene.applied().await, 40, "nothing from before the group began");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_overran_the_position_stops_the_partition_loudly() {
    let scene = overrun().await;
    let service = scene.launch().start();
    service.has_said(STOPPED).await;
    assert!(service.says("on_retention_gap") > 0, "it names the setting that goes on");
    assert_eq!(scene.applied().await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_overran_the_position_goes_on_where_the_setting_says_so() {
    let scene = overrun().await;
    let mut service = scene.launch().env("EOS__KAFKA__ON_RETENTION_GAP", "continue").start();
    scene.forget(|produced| (10..15).contains(&produced.offset));
    scene.every_order_once().await;
    assert!(service.says("retention deleted records before they were read") > 0, "it says what was lost");
    service.stop().await;
}

/// Ten orders are done with; of the next ten, retention has taken five.
async fn overrun() -> Scene {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    scene.produce(What::Insert, 10).await;
    scene.kafka.delete_records(&scene.topic, 0, 15).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_added_is_read_from_its_beginning() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    let start = || watches_topics(scene.launch()).env("EOS__KAFKA__START", "latest");
    // A group that starts at the end still reads a partition that is added later from its beginning.
    let mut service = start().start();
    service.has_said("took the partition").await;
    scene.forget(|_| true);
    scene.produce(What::Insert, 10).await;
    scene.kafka.grow_topic(&scene.topic, 3).await;
    for partition in 0..3 {
        scene.produce_to(partition, What::Insert, 10).await;
    }
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_reset_by_kafkas_own_tool_are_named_and_not_followed() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 20).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;

    for (to, produced) in [("--to-earliest", 5), ("--to-latest", 5)] {
        scene.produce(What::Insert, produced).await;
        let words = ["--reset-offsets", "--group", &scene.group, "--topic", &scene.topic, to, "--execute"];
        kafka_tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &words).await;
        let mut service = scene.launch().start();
        scene.every_order_once().await;
        assert!(service.says("was set by another tool") > 0, "{to} is named");
        service.stop().await;
    }
    assert_eq!(scene.told().begun(), 30, "no handler ran twice, and none was skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_set_back_by_hand_is_gone_back_to_with_work_waiting() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 20).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    // Asleep before its next claim, with more in its hands.
    scene.produce(What::Insert, 20).await;
    let mut service = scene.launch().fault("before_claim=stop").start();
    service.sleeps().await;
    set_back(&scene).await;
    service.wake();
    is_done_again(&scene).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_set_back_by_hand_is_gone_back_to_when_idle() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 20).await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    set_back(&scene).await;
    // Nothing arrives that would make it look: it looks by itself.
    is_done_again(&scene).await;
    service.stop().await;
}

/// As a database does that has lost its last commits: of the last ten orders, five have lost effects and inbox row
/// together, and the other five only their position.
async fn set_back(scene: &Scene) {
    let lost: Vec<_> =
        scene.ledger().into_iter().filter(|produced| (10..15).contains(&produced.offset)).collect();
    for produced in &lost {
        let id = produced.message_id.clone().expect("it has one");
        scene
            .database
            .execute(&format!(
                "delete from applied where order_id = '{}'; delete from eos_inbox where message_id = '{id}'",
                produced.order.order_id
            ))
            .await;
    }
    let back = format!(
        "update eos_position set next_offset = 10, last_offset = null, last_timestamp = null, last_checksum = null \
         where group_id = '{}'",
        scene.group
    );
    assert_eq!(scene.database.try_execute(&back).await.expect("a position"), 1);
}

async fn is_done_again(scene: &Scene) {
    let all = scene.ledger().len();
    eventually("what was lost is done again", PATIENCE, async || match scene.applied().await {
        applied if applied >= all => Ok(()),
        applied => Err(format!("{applied} of {all}")),
    })
    .await;
    scene.every_order_once().await;
    stays("each order once", Duration::from_secs(1), async || match scene.applied().await {
        applied if applied == all => Ok(()),
        applied => Err(format!("{applied} of {all}")),
    })
    .await;
    assert_eq!(scene.told().begun(), all + 5, "the inbox knows the five that were not lost");
}

/// A client that notices new partitions and topics soon.
fn watches_topics(launch: Launch) -> Launch {
    launch.kafka("topic.metadata.refresh.interval.ms", "500").kafka("metadata.max.age.ms", "2000")
}

/// A topic that does not exist is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_comes_later_is_waited_for() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.kafka.delete_topic(&scene.topic).await;
    let mut service = watches_topics(scene.launch()).start();
    service.has_said("there is no topic").await;
    scene.kafka.create_topic(&scene.topic, 2, &[]).await;
    scene.produce(What::Insert, 10).await;
    scene.every_order_once().await;
    assert_eq!(service.says("there is no topic"), 1, "it says so once");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_message_id_is_deduped_by_its_position() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let orders = (0..10).map(|_| (Order::new(What::Insert), None)).collect();
    scene.produce_orders(Some(0), orders).await;
    let mut crashes = scene.launch().fault("after_commit@5=kill").start();
    crashes.is_killed().await;
    let mut service = scene.launch().start();
    scene.every_order_once().await;
    service.stop().await;
    assert_eq!(scene.told().begun(), 10);
}
