//! A group that is stopped and sent elsewhere, or renamed, by the command line tool, and goes on there; one that runs is
//! left alone, and one that was asleep is fenced.

use std::time::{Duration, SystemTime};

use eos_tests::{Kind, PATIENCE, Scene, What, eventually};
use serde_json::json;

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");
const EOS: &str = env!("CARGO_BIN_EXE_tool");

/// Runs the group until it has done all there is, and stops it.
async fn run(scene: &Scene) {
    let mut service = scene.launch().start();
    service.has_said("took the partition").await;
    scene.is_caught_up(PATIENCE).await;
    service.stop().await;
}

/// `eos positions reset` of this scene's group.
async fn reset(scene: &Scene, more: &[&str]) -> eos_tests::Said {
    let fixed = ["positions", "reset", "--group", &scene.group, "--topic", &scene.topic];
    scene.eos(EOS, &[&fixed, more].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_sent_back_does_again_what_has_no_id_on_postgres() {
    is_sent_back(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_sent_back_does_again_what_has_no_id_on_mariadb() {
    is_sent_back(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_sent_back_does_again_what_has_no_id_on_sqlite() {
    is_sent_back(Kind::Sqlite).await;
}

/// And with `--forget-inbox`, all of it.
async fn is_sent_back(kind: Kind) {
    let scene = Scene::new(kind, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    scene.produce_without_ids(5).await;
    run(&scene).await;
    scene.assert_every_order_once().await;

    let said = reset(&scene, &["--to", "5"]).await.succeeds();
    assert!(said.contains("-10") && said.contains("where the inbox still has its message id"), "{said}");
    run(&scene).await;
    assert_eq!(scene.applied().await, 15 + 5, "those without an id are done again");

    let said = reset(&scene, &["--to", "beginning", "--forget-inbox", "--json"]).await;
    let partition = json!({ "topic": scene.topic, "partition": 0, "from": 15, "to": 0 });
    let expected = json!({
        "group": scene.group, "changed": true, "partitions": [partition], "forgotten_ids": 10
    });
    assert_eq!(said.json(), expected);
    run(&scene).await;
    assert_eq!(scene.applied().await, 20 + 15, "all of them are done again");

    let said = reset(&scene, &["--to", "end"]).await.succeeds();
    assert!(said.contains("+0") && !said.contains("jumped over"), "{said}");
    reset(&scene, &["--to", "3"]).await.succeeds();
    let said = reset(&scene, &["--to", "end"]).await.succeeds();
    assert!(said.contains("+12") && said.contains("records that are jumped over are not handled"), "{said}");
    run(&scene).await;
    assert_eq!(scene.applied().await, 35, "nothing is done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_runs_is_not_moved() {
    is_not_moved_while_it_runs(|launch| launch).await;
}

/// Whose members are not in the list that librdkafka can ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_kip_848_that_runs_is_not_moved() {
    is_not_moved_while_it_runs(eos_tests::Launch::kip_848).await;
}

async fn is_not_moved_while_it_runs(protocol: impl Fn(eos_tests::Launch) -> eos_tests::Launch) {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.produce_to(0, What::Insert, 10).await;
    scene.produce_to(1, What::Insert, 10).await;
    let mut service = protocol(scene.launch()).start();
    scene.every_order_once().await;
    service.has_said("took the partition").await;
    let before = scene.positions().await;

    let said = reset(&scene, &["--to", "beginning", "--forget-inbox"]).await.fails_with(1);
    assert!(said.contains(" runs: ") && said.contains("nothing was changed"), "{said}");
    let name = scene.group.as_str();
    for (from, to) in [(name, "other"), ("other", name)] {
        if from == "other" {
            let other = "insert into eos_position (group_id, topic, partition, epoch, owner, next_offset) \
                         values ('other', 'elsewhere', 0, 1, gen_random_uuid(), 0)";
            scene.database.execute(other).await;
        }
        let copy = ["positions", "copy", "--from-group", from, "--to-group", to];
        let said = scene.eos(EOS, &copy).await.fails_with(1);
        assert!(said.contains(&format!("`{name}` runs")), "{said}");
    }
    assert_eq!(scene.positions().await, before, "not even a take");

    service.stop().await;
    reset(&scene, &["--to", "beginning", "--forget-inbox"]).await.succeeds();
    run(&scene).await;
    assert_eq!(scene.applied().await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_through_a_reset_is_fenced_when_it_wakes_on_postgres() {
    is_fenced_when_it_wakes(Kind::Postgres).await;
}

/// Whose claims find a row that was moved, so that the token alone fences.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_through_a_reset_is_fenced_when_it_wakes_on_mariadb() {
    is_fenced_when_it_wakes(Kind::MariaDb).await;
}

async fn is_fenced_when_it_wakes(kind: Kind) {
    let scene = Scene::new(kind, 1, SINKS).await;
    // No id would tell a second time from the first.
    scene.produce_without_ids(20).await;
    let mut sleeper = scene.launch().fault("before_claim=stop").start();
    sleeper.sleeps().await;
    let asleep_at = scene.positions().await[0].next_offset;
    // To where it is: its own memory agrees with the row, but for the token.
    let to = asleep_at.to_string();
    eventually("Kafka has given it up", PATIENCE, async || {
        let said = reset(&scene, &["--to", &to]).await;
        if said.code() == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    let fenced = scene.positions().await;
    assert_eq!(fenced[0].epoch, 2, "by the reset");
    sleeper.wake();
    scene.every_order_once().await;
    // It is alone, so that it is given the partition again; but nothing was done before it had taken it anew.
    sleeper.has_said(&format!("position={asleep_at} epoch=3")).await;
    sleeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_never_ran_begins_where_it_is_sent() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.eos(EOS, &["migrate"]).await.succeeds();
    for partition in [0, 1] {
        scene.produce_to(partition, What::Insert, 6).await;
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let time = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    scene.produce_to(0, What::Insert, 4).await;
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let midnight = seconds - seconds % 86_400;
    let clock = seconds - midnight;
    let (days, clock) = (midnight / 86_400, (clock / 3600, clock / 60 % 60, clock % 60));
    let time = format!("{}T{:02}:{:02}:{:02}Z", date(days), clock.0, clock.1, clock.2);

    let said = scene.eos(EOS, &["positions", "reset", "--group", &scene.group, "--to", "end"]).await;
    assert!(said.fails_with(1).contains("`--topic` names the topic"));
    let said = reset(&scene, &["--to", &time, "--dry-run", "--json"]).await.json();
    assert_eq!((&said["changed"], &said["partitions"][0]["to"]), (&json!(false), &json!(6)));
    assert!(scene.positions().await.is_empty(), "a dry run changes nothing");
    // Partition 1 has nothing of that time or later, and goes to its end.
    reset(&scene, &["--to", &time]).await.succeeds();
    let at: Vec<_> = scene.positions().await.iter().map(|position| position.next_offset).collect();
    assert_eq!(at, [6, 6]);
    run(&scene).await;
    assert_eq!(scene.applied().await, 4);
}

/// A date by its day since 1970, without a library for it.
fn date(days: u64) -> String {
    let (mut days, mut year) = (days, 1970);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_in_a_sentence_and_changes_nothing() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::Insert, 10).await;
    run(&scene).await;
    let before = scene.positions().await;
    scene.kafka.delete_records(&scene.topic, 0, 4).await;
    for offset in ["3", "11"] {
        let said = reset(&scene, &["--to", offset]).await.fails_with(2);
        assert!(said.contains("begins at 4 and ends at 10"), "{said}");
    }
    let said = reset(&scene, &["--to", "end", "--partition", "1"]).await.fails_with(1);
    assert!(said.contains("there is no partition 1") && said.contains("1 partition"), "{said}");
    let nowhere =
        scene.eos(EOS, &["positions", "reset", "--group", "g", "--topic", "nowhere", "--to", "end"]).await;
    assert!(nowhere.fails_with(1).contains("there is no topic `nowhere`"));
    let away = reset(&scene, &["--to", "end", "--kafka", "127.0.0.1:1"]).await.fails_with(2);
    assert!(away.contains("Kafka at 127.0.0.1:1 does not answer") && away.contains("refused"), "{away}");
    scene.database.execute("update eos_position set cluster = 'another'").await;
    let said = reset(&scene, &["--to", "end"]).await.fails_with(1);
    assert!(said.contains("`another`") && said.contains("`--other-cluster`"), "{said}");
    assert_eq!(scene.positions().await, before);
    reset(&scene, &["--to", "beginning", "--other-cluster"]).await.succeeds();
    assert_eq!(scene.positions().await[0].next_offset, 4);
    run(&scene).await;
    assert_eq!(scene.applied().await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_group_does_nothing_twice() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let first = scene.produce(What::Insert, 20).await;
    scene.produce_without_ids(10).await;
    run(&scene).await;
    let name = format!("{}-renamed", scene.group);
    let copy = ["positions", "copy", "--from-group", &scene.group, "--to-group", &name];
    let said = scene.eos(EOS, &[&copy[..], &["--dry-run"]].concat()).await.succeeds();
    assert!(said.contains("would go on there") && said.contains("nothing was changed"), "{said}");
    assert!(scene.database.positions(&name, &scene.topic).await.expect("read").is_empty());
    let said = scene.eos(EOS, &copy).await.succeeds();
    assert!(said.contains("20 message ids copied"), "{said}");

    // The producers' own duplicates are for the new group, too.
    scene.produce_again(&first).await;
    scene.produce(What::Insert, 5).await;
    let mut service = scene.launch().env("EOS_KAFKA_GROUP", &name).start();
    scene.has_applied(35).await;
    eventually("all is read", PATIENCE, async || {
        let positions = scene.database.positions(&name, &scene.topic).await.expect("read");
        let read: i64 = positions.iter().map(|position| position.next_offset).sum();
        if read == 55 { Ok(()) } else { Err(format!("{read} are")) }
    })
    .await;
    service.stop().await;
    assert_eq!(scene.applied().await, 35);
    assert_eq!(service.says("the topic was made anew"), 0);

    let said = scene.eos(EOS, &copy).await.fails_with(1);
    assert!(said.contains("has positions of its own") && said.contains("`--replace`"), "{said}");
    scene.eos(EOS, &[&copy[..], &["--replace"]].concat()).await.succeeds();
    let said = scene.eos(EOS, &["positions", "copy", "--from-group", "nobody", "--to-group", "b"]).await;
    assert!(said.fails_with(1).contains("group `nobody` has no positions"));
}
