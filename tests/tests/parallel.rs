//! `concurrency_per_partition = 16`: keys of a partition side by side, each in its order, and each record at least once, whatever
//! fails, dies or moves.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eos_tests::{
    Chance, Kind, Launch, Order, PATIENCE, Produced, Protocol, Scene, Service, What, eventually, finished,
    is_done_with_all, stays,
};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");
const HANDS: usize = 16;

/// How long one that woke up is watched. It has noticed within a few heartbeats, and is watched some more.
const WATCH: Duration = Duration::from_secs(3);

async fn scene(partitions: i32) -> Scene {
    Scene::new(Kind::Sqlite, partitions, SINKS).await
}

fn launch(scene: &Scene) -> Launch {
    scene.launch().env("SINK_LISTENER", "parallel")
}

/// One order of each of these customers, with an id of its own.
async fn produce_of(scene: &Scene, partition: i32, what: What, customers: &[&str]) -> Vec<Produced> {
    let orders = customers.iter().map(|customer| Order::of(customer, what));
    let orders = orders.map(|order| (order, Some(uuid::Uuid::new_v4().to_string()))).collect();
    scene.produce_orders(Some(partition), orders).await
}

type At = (i32, i64);

fn ended(scene: &Scene) -> HashSet<At> {
    let ended = scene.told().lines().into_iter().filter(|line| line.what == "end");
    ended.map(|line| (line.partition, line.offset)).collect()
}

async fn has_ended(scene: &Scene, count: usize) {
    eventually(&format!("{count} have ended"), PATIENCE, async || match ended(scene).len() {
        some if some >= count => Ok(()),
        some => Err(format!("{some} have")),
    })
    .await;
}

fn assert_each_at_least_once(scene: &Scene) {
    let ended = ended(scene);
    let lost: Vec<At> = scene
        .ledger()
        .iter()
        .filter(|sent| !sent.order.what.never_succeeds())
        .map(|sent| (sent.partition, sent.offset))
        .filter(|at| !ended.contains(at))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// What is done with a record that comes again and was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Handled,
    LeftOut,
}

/// Whoever has a key's partition begins its records one after another, each when the one before is done (by whomever). Who
/// comes next may begin again with some that were done, and then leaves none out, unless it knows that they are done.
fn assert_keys_in_order(scene: &Scene, again: Again) {
    let mut keys: BTreeMap<(i32, String), Vec<i64>> = BTreeMap::new();
    let mut of: HashMap<At, (String, What)> = HashMap::new();
    for sent in scene.ledger() {
        keys.entry((sent.partition, sent.order.key())).or_default().push(sent.offset);
        of.insert((sent.partition, sent.offset), (sent.order.key(), sent.order.what));
    }
    keys.values_mut().for_each(|offsets| offsets.sort_unstable());
    let mut done: HashSet<At> = HashSet::new();
    // Who has the key, the last of it that was begun there, and whether that one is done.
    let mut at_work: HashMap<(i32, String), (u32, i64, bool)> = HashMap::new();
    for line in scene.told().lines() {
        let at = (line.partition, line.offset);
        let (key, what) = of[&at].clone();
        let of_key = (line.partition, key);
        if line.what == "end" {
            done.insert(at);
            if let Some((pid, last, is_done)) = at_work.get_mut(&of_key)
                && (*pid, *last) == (line.pid, line.offset)
            {
                *is_done = true;
            }
            continue;
        }
        let lower = keys[&of_key].iter().take_while(|offset| **offset < line.offset).last().copied();
        let is_next = lower.is_none_or(|lower| done.contains(&(line.partition, lower)));
        assert!(is_next, "{at:?} of {of_key:?} was begun, and {lower:?} was not done");
        if let Some((pid, last, is_done)) = at_work.get(&of_key)
            && *pid == line.pid
            && *last < line.offset
        {
            assert!(*is_done, "{at:?} of {of_key:?} was begun, and {last} was in hand");
            let leaves_out = again == Again::Handled && Some(*last) != lower;
            assert!(!leaves_out, "{at:?} of {of_key:?} was begun, and {lower:?} was left out behind {last}");
        }
        // What can never succeed is done when it was tried, or is tried again by itself.
        let is_done = what.never_succeeds();
        if is_done {
            done.insert(at);
        }
        at_work.insert(of_key, (line.pid, line.offset, is_done));
    }
}

/// No offset that the group has is beyond a record that is not done.
async fn assert_offsets_pass_nothing_undone(scene: &Scene, partitions: i32) {
    // In this order: what is done only grows.
    let committed = scene.kafka.committed(&scene.group, &scene.topic, partitions).await;
    let ended = ended(scene);
    let passed: Vec<At> = scene
        .ledger()
        .iter()
        .filter(|sent| !sent.order.what.never_succeeds())
        .map(|sent| (sent.partition, sent.offset))
        .filter(|at| committed[at.0 as usize].is_some_and(|offset| at.1 < offset) && !ended.contains(at))
        .collect();
    assert!(passed.is_empty(), "{committed:?} has passed {passed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_keys_run_side_by_side_as_the_attribute_says_and_no_more() {
    let scene = scene(1).await;
    scene.close_gate();
    scene.produce_to(0, What::Hold, HANDS + 4).await;
    let mut service = launch(&scene).start();
    // All of them have keys of their own; where keys shared lanes, some would wait for others.
    scene.has_begun(HANDS).await;
    stays("no more begin", Duration::from_millis(500), async || match scene.told().begun() {
        HANDS => Ok(()),
        begun => Err(format!("{begun} have begun")),
    })
    .await;
    scene.open_gate();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_eq!(finished(&scene).values().filter(|times| **times == 1).count(), HANDS + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_keeps_its_order_however_long_its_records_take() {
    let scene = scene(2).await;
    let customers: Vec<String> = (0..25).map(|n| format!("customer-{}", n % 9)).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    for what in [What::Insert, What::FailSome, What::Insert, What::FailTwice] {
        for partition in 0..2 {
            produce_of(&scene, partition, what, &customers).await;
        }
    }
    let mut service = launch(&scene).env("EOS__RETRY__BACKOFF", "5ms").start();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert!(finished(&scene).values().all(|times| *times == 1), "nobody died, and none is done twice");
    assert_keys_in_order(&scene, Again::Handled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_fails_waits_and_the_others_go_on() {
    let scene = scene(1).await;
    scene.close_gate();
    produce_of(&scene, 0, What::FailWhileClosed, &["ada"]).await;
    let behind = produce_of(&scene, 0, What::Insert, &["ada", "ada"]).await;
    scene.produce_to(0, What::Insert, 200).await;
    let mut service = launch(&scene).env("EOS__RETRY__MAX", "100000").start();
    has_ended(&scene, 200).await;
    assert!(behind.iter().all(|sent| !ended(&scene).contains(&(0, sent.offset))), "they overtook");
    let committed = scene.kafka.committed(&scene.group, &scene.topic, 1).await;
    assert!(matches!(committed[0], None | Some(0)), "the offset waits with the key: {committed:?}");
    scene.open_gate();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_keys_in_order(&scene, Again::Handled);
    assert!(finished(&scene).values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_attempt_can_handle_is_in_its_topic_and_its_key_goes_on() {
    let scene = scene(1).await;
    let dead = format!("{}-dlt", scene.topic);
    scene.kafka.create_topic(&dead, 1, &[]).await;
    for what in [What::Insert, What::FailAlways, What::Insert, What::Fatal, What::PanicAlways, What::Insert] {
        produce_of(&scene, 0, what, &["ada", "bob", "eve"]).await;
    }
    let mut service = launch(&scene).env("EOS__RETRY__MAX", "3").start();
    is_done_with_all(&scene).await;
    service.stop().await;
    let mut letters: Vec<i64> = Vec::new();
    for seen in scene.kafka.read(&dead).await {
        let offset = seen.headers.iter().find(|(name, _)| name == "kafka_dlt-original-offset");
        let offset = offset.and_then(|(_, value)| value.as_deref()).expect("its place");
        letters.push(i64::from_be_bytes(offset.try_into().expect("eight bytes")));
    }
    letters.sort_unstable();
    assert_eq!(letters, [3, 4, 5, 9, 10, 11, 12, 13, 14]);
    assert_each_at_least_once(&scene);
    assert_keys_in_order(&scene, Again::Handled);
    let tried = |offset| {
        scene.told().lines().iter().filter(|line| (&*line.what, line.offset) == ("begin", offset)).count()
    };
    assert_eq!((tried(3), tried(9), tried(12)), (3, 1, 3), "each has its own attempts");
    scene.kafka.delete_topic(&dead).await;
}

/// With one attempt, anything that counted would be set aside.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_for_by_all_hands() {
    let scene = scene(1).await;
    scene.close_gate();
    scene.produce_to(0, What::Outage, 100).await;
    let mut service = launch(&scene).env("EOS__RETRY__MAX", "1").start();
    scene.has_begun(HANDS + 5).await;
    let begun: BTreeSet<i64> = scene.told().lines().iter().map(|line| line.offset).collect();
    assert_eq!(begun, (0..HANDS as i64).collect(), "each hand waits with its record");
    scene.open_gate();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert!(finished(&scene).values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_dead_letters_stops_behind_what_is_done() {
    let scene = scene(1).await;
    produce_of(&scene, 0, What::Insert, &["ada", "bob"]).await;
    produce_of(&scene, 0, What::Fatal, &["eve"]).await;
    produce_of(&scene, 0, What::Insert, &["eve", "ada", "bob"]).await;
    let mut service = launch(&scene).env("EOS__LISTENERS__SINKS__PARALLEL__DEAD_LETTER", "off").start();
    service.has_said("the partition is stopped").await;
    eventually("the offset is told", PATIENCE, async || {
        match scene.kafka.committed(&scene.group, &scene.topic, 1).await[0] {
            Some(2) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    service.stop().await;
    assert!(!ended(&scene).contains(&(0, 3)), "none overtakes one of its key");
    let mut fixed = launch(&scene).env("SINK_FIXED", "yes").start();
    is_done_with_all(&scene).await;
    fixed.stop().await;
    assert_keys_in_order(&scene, Again::Handled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_moves_takes_along_what_is_in_hand() {
    moves_with_records_in_hand(Protocol::Eager).await;
    moves_with_records_in_hand(Protocol::Cooperative).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_moves_under_kip_848_takes_along_what_is_in_hand() {
    moves_with_records_in_hand(Protocol::Consumer).await;
}

/// Those in hand are waited for and not done again; what was done above the lowest that was not is.
async fn moves_with_records_in_hand(protocol: Protocol) {
    let scene = scene(2).await;
    scene.close_gate();
    let mut held = Vec::new();
    for partition in 0..2 {
        held.extend(produce_of(&scene, partition, What::Hold, &["ada", "bob"]).await);
        produce_of(&scene, partition, What::Insert, &["ada", "bob", "eve", "ada"]).await;
        scene.produce_to(partition, What::Insert, 60).await;
    }
    let launch = || launch(&scene).by(protocol);
    let mut one = launch().start();
    has_ended(&scene, 2 * 61).await;
    let mut two = launch().start();
    one.has_said("revok").await;
    assert_offsets_pass_nothing_undone(&scene, 2).await;
    scene.open_gate();
    is_done_with_all(&scene).await;
    one.stop().await;
    two.stop().await;
    assert_each_at_least_once(&scene);
    assert_keys_in_order(&scene, Again::Handled);
    for (what, sent) in
        ["begin", "end"].into_iter().flat_map(|what| held.iter().map(move |sent| (what, sent)))
    {
        let at = (what, sent.partition, sent.offset);
        let lines = scene.told().lines();
        let times = lines.iter().filter(|line| (&*line.what, line.partition, line.offset) == at).count();
        assert_eq!(times, 1, "{protocol:?}: what was in hand came to its end there: {at:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_in_mid_work_passes_nothing_undone_and_keeps_each_key_in_order() {
    sleeps_in_mid_work(Protocol::Eager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_in_mid_work_under_kip_848_passes_nothing_undone_and_keeps_each_key_in_order() {
    sleeps_in_mid_work(Protocol::Consumer).await;
}

/// It has one record in hand, the lowest, which nobody can end while the gate is closed; and it has done others, of which nobody
/// was told, when it falls asleep. Who comes next begins with the lowest, and has done all but its key when the sleeper wakes up
/// and goes on with what it had.
async fn sleeps_in_mid_work(protocol: Protocol) {
    let scene = scene(1).await;
    scene.close_gate();
    produce_of(&scene, 0, What::Hold, &["customer-0"]).await;
    let customers: Vec<String> = (0..400).map(|n| format!("customer-{}", n % 23)).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    produce_of(&scene, 0, What::Insert, &customers).await;
    let in_nobodys_way = customers.iter().filter(|customer| **customer != "customer-0").count();
    let launch = || launch(&scene).by(protocol);
    let mut sleeper = launch().fault("parallel_after_done@100=stop").start();
    sleeper.sleeps().await;

    let mut other = launch().start();
    let ended_by = |pid| scene.told().lines().iter().filter(|l| l.what == "end" && l.pid == pid).count();
    eventually("the other one has done what it can", PATIENCE, async || match ended_by(other.pid()) {
        some if some >= in_nobodys_way => Ok(()),
        some => Err(format!("{some} of {in_nobodys_way}")),
    })
    .await;
    let nothing_is_passed = async || match scene.kafka.committed(&scene.group, &scene.topic, 1).await[0] {
        None | Some(0) => Ok(()),
        passed => Err(format!("{passed:?}, and the first is in hand")),
    };
    nothing_is_passed().await.expect("the other one knows of nothing else");
    sleeper.wake();
    stays("no offset passes the first record", WATCH, nothing_is_passed).await;
    scene.open_gate();
    is_done_with_all(&scene).await;
    // Who takes the partition back begins behind what the other one has done.
    assert_each_at_least_once(&scene);
    assert_keys_in_order(&scene, Again::LeftOut);

    // It is a member like any other now.
    other.stop().await;
    produce_of(&scene, 0, What::Insert, &customers).await;
    is_done_with_all(&scene).await;
    sleeper.stop().await;
    assert_each_at_least_once(&scene);
    assert_keys_in_order(&scene, Again::LeftOut);
}

/// The last of them dies when Kafka has been told of offsets.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_behind_a_record_that_is_done_repeats_some_and_loses_none() {
    let crashes = [1, 7, 280].map(|nth| async move {
        let scene = scene(1).await;
        scene.close_gate();
        let customers: Vec<String> = (0..300).map(|n| format!("customer-{}", n % 41)).collect();
        let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
        produce_of(&scene, 0, What::Insert, &customers[..5]).await;
        produce_of(&scene, 0, What::FailWhileClosed, &["ada"]).await;
        produce_of(&scene, 0, What::Insert, &customers).await;
        let fault = format!("parallel_after_done@{nth}=kill");
        let mut crashes = launch(&scene).env("EOS__RETRY__MAX", "100000").fault(&fault).start();
        crashes.is_killed().await;
        scene.open_gate();
        let mut next = launch(&scene).start();
        is_done_with_all(&scene).await;
        next.stop().await;
        assert_each_at_least_once(&scene);
        assert_keys_in_order(&scene, Again::Handled);
    });
    futures_util::future::join_all(crashes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_killed_at_random_lose_none_and_keep_each_key_in_order() {
    killed_at_random("parallel", Protocol::Eager, Again::Handled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_under_kip_848_killed_at_random_lose_none_and_keep_each_key_in_order() {
    killed_at_random("parallel", Protocol::Consumer, Again::Handled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_members_killed_at_random_lose_none_and_keep_each_key_in_order() {
    let (scene, kills) = killed_at_random("parallel_idempotent", Protocol::Eager, Again::LeftOut).await;
    let twice: usize = finished(&scene).values().map(|times| times.saturating_sub(1)).sum();
    // A kill finds each hand of its partitions between an effect and its mark, at the most.
    assert!(twice <= kills * 4 * HANDS, "{twice} were handled twice, in {kills} kills");
}

async fn killed_at_random(listener: &'static str, protocol: Protocol, again: Again) -> (Arc<Scene>, usize) {
    const PARTITIONS: i32 = 4;
    let mut chance = Chance::of_this_run();
    let scene = Arc::new(scene(PARTITIONS).await);
    let dead = format!("{}-dlt", scene.topic);
    scene.kafka.create_topic(&dead, PARTITIONS, &[]).await;
    let launch = || {
        let launch = scene.launch().by(protocol).env("SINK_LISTENER", listener);
        launch
            .env("EOS__RETRY__BACKOFF", "5ms")
            .env("EOS__RETRY__MAX", "5")
            .env("EOS__DEAD_LETTERS__BREAKER", "0")
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn({
        let (scene, is_over) = (Arc::clone(&scene), Arc::clone(&is_over));
        async move {
            while !is_over.load(Ordering::Acquire) {
                assert_offsets_pass_nothing_undone(&scene, PARTITIONS).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let mut members: Vec<Service> = (0..3).map(|_| launch().start()).collect();
    let mut kills = 0;
    for _ in 0..20 {
        let orders = (0..60).map(|_| {
            let what = match chance.below(20) {
                0 => What::FailTwice,
                1 => What::FailSome,
                2 => What::Fatal,
                _ => What::Insert,
            };
            let order = Order::of(&format!("customer-{}", chance.below(30)), what);
            (order, Some(uuid::Uuid::new_v4().to_string()))
        });
        scene.produce_orders(None, orders.collect()).await;
        tokio::time::sleep(Duration::from_millis(chance.below(500))).await;
        let victim = chance.below(3) as usize;
        match chance.below(4) {
            0 | 1 => {
                members[victim].kill();
                members[victim] = launch().start();
                kills += 1;
            }
            2 => {
                // Before that, a signal finds nobody who listens to it.
                members[victim].has_said("listening").await;
                members[victim].stop().await;
                members[victim] = launch().start();
            }
            _ => {}
        }
    }
    is_done_with_all(&scene).await;
    is_over.store(true, Ordering::Release);
    looking.await.expect("no offset passed anything undone");
    for member in &mut members {
        member.has_said("listening").await;
        member.stop().await;
    }
    assert_each_at_least_once(&scene);
    assert_keys_in_order(&scene, again);
    let aside: HashSet<Vec<u8>> =
        scene.kafka.read(&dead).await.into_iter().filter_map(|seen| seen.payload).collect();
    let never = scene.ledger().iter().filter(|sent| sent.order.what.never_succeeds()).count();
    assert_eq!(aside.len(), never, "what can never succeed is set aside");
    scene.kafka.delete_topic(&dead).await;
    let begun = scene.told().begun();
    eprintln!("{kills} kills, {} records, {begun} handlers begun", scene.ledger().len());
    (scene, kills)
}

/// The second waits for the claim of the first in a hand of its own, and neither for the other's hand.
#[tokio::test(flavor = "multi_thread")]
async fn twins_of_different_keys_wait_for_each_other_by_their_claim() {
    let scene = scene(1).await;
    scene.close_gate();
    for n in 0..HANDS {
        let id = Some(format!("twins-{n}"));
        let twins = ["one", "other"].map(|name| (Order::of(&format!("{name}-{n}"), What::Hold), id.clone()));
        scene.produce_orders(Some(0), twins.into()).await;
    }
    let mut service = scene.launch().env("SINK_LISTENER", "parallel_idempotent").start();
    service.has_said("another has claimed this record's id").await;
    scene.has_begun(HANDS / 2).await;
    scene.open_gate();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_eq!(finished(&scene).values().sum::<usize>(), HANDS, "one of each two");
    assert_eq!(service.says(&format!("duplicates={HANDS}")), 1);
}
