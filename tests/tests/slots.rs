//! A partition whose keys are split into slots: many at once, each key in order, and each order once, whatever dies, sleeps,
//! moves, or changes the number of slots.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eos_runtime::dead_letters::{DeadLetters, Selection};
use eos_tests::{
    Chance, Course, Kind, Launch, Order, PATIENCE, Scene, Service, What, eventually, is_done_with_all, stays,
};
use futures_util::future::join_all;

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

/// Orders of so many customers, each of whom has several.
async fn produce(scene: &Scene, what: What, customers: usize, each: usize) {
    let orders = (0..customers * each).map(|n| {
        let order = Order::of(&format!("customer-{}", n % customers), what);
        let id = order.order_id.to_string();
        (order, Some(id))
    });
    scene.produce_orders(None, orders.collect()).await;
}

async fn split_into(scene: &Scene, partitions: usize, slots: i32) {
    let found = scene.database.slots(&scene.group, &scene.topic).await.expect("there are tables");
    assert_eq!(found, vec![(slots, i64::from(slots)); partitions]);
}

/// So that pools have a connection for each slot.
fn launch(scene: &Scene, slots: u16) -> Launch {
    scene.launch().key_slots(slots).env("EOS__DATABASE__MAX_CONNECTIONS", "24")
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_a_partition_are_handled_side_by_side_and_each_key_in_its_order() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let scene = Scene::new(kind, 1, SINKS).await;
        scene.close_gate();
        produce(&scene, What::Hold, 100, 2).await;
        let mut service = launch(&scene, 8).start();
        scene.has_begun(8).await;
        stays("no more than one of a slot is begun", Duration::from_millis(500), async || {
            match scene.told().begun() {
                8 => Ok(()),
                begun => Err(format!("{begun} are")),
            }
        })
        .await;
        scene.open_gate();
        produce(&scene, What::Dawdle, 40, 10).await;
        scene.every_order_once().await;
        scene.assert_customers_in_order().await;
        // What Kafka shows follows the lowest slot.
        is_done_with_all(&scene).await;
        service.stop().await;
        scene.assert_every_order_once().await;
        split_into(&scene, 1, 8).await;
        assert_eq!(scene.told().begun(), scene.ledger().len(), "nothing was begun twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_holds_up_its_slot_and_no_other() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.close_gate();
    let fails = Order::of("customer-0", What::FailWhileClosed);
    scene.produce_orders(None, vec![(fails, None)]).await;
    produce(&scene, What::Insert, 100, 3).await;
    let mut service = launch(&scene, 16).never_set_aside().start();
    // About a sixteenth of them wait behind it.
    scene.has_applied(240).await;
    stays("its key waits", Duration::from_millis(500), async || match scene.applied().await {
        300.. => Err("all are applied".to_owned()),
        _ => Ok(()),
    })
    .await;
    let committed = scene.kafka.committed(&scene.group, &scene.topic, 1).await[0];
    assert!(committed.is_none_or(|offset| offset == 0), "what Kafka shows waits with it: {committed:?}");
    scene.open_gate();
    scene.every_order_once().await;
    scene.assert_customers_in_order().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_with_slots_leaves_each_order_once() {
    const POINTS: [(&str, &[u32]); 9] = [
        ("before_take", &[1, 2, 5]),
        ("after_take", &[1, 3]),
        ("slots_before_split", &[1]),
        ("slots_after_split", &[1, 2]),
        ("before_claim", &[3]),
        ("after_claim", &[1, 17]),
        ("after_handler", &[6]),
        ("after_set_aside", &[1]),
        ("after_commit", &[1, 20]),
    ];
    for kind in [Kind::Postgres, Kind::MariaDb, Kind::Sqlite] {
        let all = POINTS
            .iter()
            .flat_map(|(point, times)| times.iter().map(move |nth| format!("{point}@{nth}=kill")));
        join_all(all.map(|fault| crash_once(kind, fault))).await;
    }
}

async fn crash_once(kind: Kind, fault: String) {
    eprintln!("{kind:?}, {fault}");
    let scene = Scene::new(kind, 2, SINKS).await;
    produce(&scene, What::Insert, 12, 4).await;
    produce(&scene, What::Fatal, 2, 1).await;
    scene.produce_without_ids(8).await;
    launch(&scene, 4).fault(&fault).start().is_killed().await;
    // The next one wants another number.
    let mut next = launch(&scene, 3).start();
    scene.every_order_once().await;
    scene.assert_customers_in_order().await;
    next.stop().await;
    scene.assert_every_order_once().await;
    split_into(&scene, 2, 3).await;
    assert_eq!(scene.dead_letters().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_slots_takes_effect_and_nothing_is_lost_or_repeated() {
    for kind in [Kind::Postgres, Kind::MariaDb, Kind::Sqlite] {
        let scene = Scene::new(kind, 2, SINKS).await;
        for slots in [1, 5, 16, 3, 1, 4] {
            let before = scene.applied().await;
            produce(&scene, What::Dawdle, 30, 4).await;
            scene.produce_without_ids(30).await;
            let mut service = launch(&scene, slots).start();
            // Some slots are far ahead of others when it dies.
            scene.has_applied(before + 60).await;
            service.kill();
        }
        let mut service = launch(&scene, 2).start();
        scene.every_order_once().await;
        scene.assert_customers_in_order().await;
        service.stop().await;
        scene.assert_every_order_once().await;
        split_into(&scene, 2, 2).await;
    }
}

/// Its slots are dealt out anew while it sleeps; it has handlers in flight, and records in hand that it never begins.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_while_the_slots_were_dealt_out_anew_writes_nothing() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let scene = Scene::new(kind, 1, SINKS).await;
        scene.close_gate();
        produce(&scene, What::Hold, 40, 1).await;
        scene.produce_without_ids(60).await;
        let launch = |slots| launch(&scene, slots).env("EOS__LISTENERS__SINKS__POSTGRES__DEADLINE", "2s");
        let launch = |slots| launch(slots).env("EOS__LISTENERS__SINKS__MARIADB__DEADLINE", "2s");
        let sleeper = launch(4).start();
        scene.has_begun(4).await;
        sleeper.sleep().await;
        scene.open_gate();

        let mut other = launch(3).start();
        scene.every_order_once().await;
        sleeper.wake();
        stays("the one that woke up runs no handler", Duration::from_secs(3), async || {
            match scene.told().begun_by(sleeper.pid()) {
                4 => Ok(()),
                begun => Err(format!("{begun} were begun, and four were its own")),
            }
        })
        .await;
        scene.assert_every_order_once().await;
        let applied = scene.database.applied().await.expect("effects can be read");
        assert!(applied.iter().all(|row| row.pid != i64::from(sleeper.pid())), "it has written nothing");
        other.stop().await;
        // It is a member like any other now, and wants its own number of slots.
        produce(&scene, What::Insert, 20, 2).await;
        scene.every_order_once().await;
        split_into(&scene, 1, 4).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_between_members_leave_each_order_once() {
    for cooperative in [true, false] {
        let scene = Scene::new(Kind::Postgres, 4, SINKS).await;
        let member = || match cooperative {
            true => launch(&scene, 4).kafka("partition.assignment.strategy", "cooperative-sticky").start(),
            false => launch(&scene, 4).kip_848().start(),
        };
        produce(&scene, What::Dawdle, 200, 4).await;
        let mut one = member();
        scene.has_applied(100).await;
        let mut two = member();
        one.has_said("revok").await;
        produce(&scene, What::Dawdle, 200, 4).await;
        eventually("both take part", PATIENCE, async || {
            let applied = scene.database.applied().await.unwrap_or_default();
            match applied.iter().map(|row| row.pid).collect::<BTreeSet<i64>>().len() {
                2 => Ok(()),
                pids => Err(format!("{pids} do")),
            }
        })
        .await;
        one.stop().await;
        scene.every_order_once().await;
        scene.assert_customers_in_order().await;
        assert_eq!(scene.told().begun(), scene.ledger().len(), "what is in flight is waited for");
        two.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_wait_keep_their_order_when_the_slots_are_dealt_out_anew() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.close_gate();
    produce(&scene, What::FailWhileClosed, 6, 2).await;
    for _ in 0..3 {
        produce(&scene, What::Insert, 30, 3).await;
        produce(&scene, What::FailSome, 10, 2).await;
    }
    let launch = |slots| launch(&scene, slots).parking().env("EOS__RETRY__MAX", "1000");
    let mut service = launch(4).start();
    scene.has_applied(150).await;
    service.kill();
    let mut service = launch(7).start();
    scene.is_caught_up(PATIENCE).await;
    // Both are split anew, which is said, and then taken once more, which is said, too.
    service.has_said_times("slots=7", 4).await;
    let before = scene.positions().await;
    stays("what is parked waits", Duration::from_secs(1), async || {
        match scene.database.parked(&scene.group, &scene.topic).await {
            Ok(0) => Err("nothing is parked".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    assert_eq!(
        before,
        scene.positions().await,
        "each slot knows what is parked of its keys, and nothing is taken again"
    );
    service.kill();
    let mut service = launch(2).start();
    scene.open_gate();
    scene.nothing_is_parked().await;
    scene.every_order_once().await;
    scene.assert_customers_in_order().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_all_slots_are_replayed_once() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    produce(&scene, What::FailAlways, 250, 1).await;
    let launch = || launch(&scene, 4).env("EOS__DEAD_LETTERS__BREAKER", "0");
    let mut service = launch().env("EOS__RETRY__MAX", "1").start();
    scene.every_order_once().await;
    service.stop().await;
    let letters = DeadLetters::in_schema(scene.database.postgres(), "public");
    let all = Selection::all().group(&*scene.group).topic(&*scene.topic);
    assert_eq!(letters.replay(&all).await.expect("they can be marked"), 250);
    launch().env("SINK_FIXED", "yes").fault("stored_after_handler@60=kill").start().is_killed().await;
    let mut service = launch().env("SINK_FIXED", "yes").start();
    scene.has_applied(250).await;
    produce(&scene, What::Insert, 20, 1).await;
    scene.every_order_once().await;
    service.stop().await;
    scene.assert_every_order_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kills_the_process_is_set_aside_whatever_the_other_slots_do() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    produce(&scene, What::Insert, 20, 1).await;
    produce(&scene, What::Kill, 1, 1).await;
    produce(&scene, What::Dawdle, 40, 5).await;
    // The first attempt stands behind one that was committed, and is not counted.
    assert_eq!(deaths_until_all_is_done(&scene, 4).await, 4);
    assert_eq!(scene.dead_letters().await.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [3]);
}

/// How often a service has to be started again, with three attempts for each record.
async fn deaths_until_all_is_done(scene: &Scene, slots: u16) -> usize {
    let mut deaths = 0;
    loop {
        let mut service = launch(scene, slots).env("EOS__RETRY__MAX", "3").start();
        tokio::select! {
            () = scene.is_caught_up(PATIENCE) => {
                service.stop().await;
                scene.assert_every_order_once().await;
                return deaths;
            }
            () = has_ended(&mut service) => deaths += 1,
        }
    }
}

/// The first record of one slot ends the process while those of the others are in hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kills_the_process_takes_none_of_the_other_slots_with_it() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    produce(&scene, What::KillLate, 1, 1).await;
    produce(&scene, What::Slow, 40, 1).await;
    assert_eq!(deaths_until_all_is_done(&scene, 8).await, 3);
    let letters = scene.dead_letters().await;
    assert_eq!(letters.iter().map(|letter| (letter.offset, letter.attempts)).collect::<Vec<_>>(), [(0, 3)]);
}

async fn has_ended(service: &mut Service) {
    while service.runs() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Slots are brought together where another number is wanted; one that cannot come does not keep the others from what is new.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_cannot_come_to_the_others_holds_up_no_other() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.close_gate();
    let fails = Order::of("customer-0", What::FailWhileClosed);
    scene.produce_orders(None, vec![(fails, None)]).await;
    produce(&scene, What::Insert, 100, 1).await;
    let launch = |slots| {
        let launch = launch(&scene, slots).never_set_aside();
        launch.env("EOS__LISTENERS__SINKS__POSTGRES__DEADLINE", "1s")
    };
    let mut service = launch(8).start();
    scene.has_applied(70).await;
    service.stop().await;
    let before = scene.applied().await;
    produce(&scene, What::Insert, 100, 1).await;
    let mut service = launch(3).start();
    scene.has_applied(before + 70).await;
    split_into(&scene, 1, 8).await;
    scene.open_gate();
    scene.every_order_once().await;
    scene.assert_customers_in_order().await;
    eventually("it is split as it is to be", PATIENCE, async || {
        match scene.database.slots(&scene.group, &scene.topic).await {
            Ok(found) if found == [(3, 3)] => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    service.stop().await;
    scene.assert_every_order_once().await;
}

/// Each slot compares the last record that it counts as done, also one that it was only taken on to.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_stops_a_partition_with_slots_loudly() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    produce(&scene, What::Insert, 20, 2).await;
    let mut service = launch(&scene, 4).start();
    scene.every_order_once().await;
    service.stop().await;
    scene.forget(|_| true);
    scene.kafka.delete_topic(&scene.topic).await;
    scene.kafka.create_topic(&scene.topic, 1, &[]).await;
    produce(&scene, What::Insert, 20, 3).await;
    let mut service = launch(&scene, 4).start();
    service.has_said("the partition is stopped").await;
    assert_eq!(scene.applied().await, 40, "nothing of the new log was handled");
    service.stop().await;
}

/// `EOS_TEST_SECONDS` and `EOS_TEST_RECORDS` make it longer, `EOS_TEST_SEED` repeats its choices.
#[tokio::test(flavor = "multi_thread")]
async fn random_kills_of_members_that_want_different_numbers_of_slots_leave_each_order_once() {
    const SLOTS: [u16; 4] = [1, 2, 5, 16];
    let mut chance = Chance::of_this_run();
    let scene = Arc::new(Scene::new(Kind::Postgres, 4, SINKS).await);
    let done = Arc::new(AtomicBool::new(false));
    let producing = tokio::spawn(keep_producing(Arc::clone(&scene), Arc::clone(&done), chance.other()));
    let mut start = {
        let (scene, mut chance) = (Arc::clone(&scene), chance.other());
        move || launch(&scene, SLOTS[chance.below(4) as usize]).start()
    };
    let mut members: Vec<Service> = (0..3).map(|_| start()).collect();
    let course = Course::of_this_run(Duration::from_secs(30));
    let mut kills = 0;
    while course.goes_on(scene.ledger().len()) {
        tokio::time::sleep(Duration::from_millis(200 + chance.below(4800))).await;
        let victim = chance.below(3) as usize;
        members[victim].kill();
        kills += 1;
        members[victim] = start();
    }
    done.store(true, Ordering::Release);
    producing.await.expect("the producer did not panic");
    scene.every_order_once().await;
    scene.assert_customers_in_order().await;
    for member in &mut members {
        member.stop().await;
    }
    scene.assert_every_order_once().await;
    eprintln!("{kills} kills, {} records, {} handlers begun", scene.ledger().len(), scene.told().begun());
}

/// Small bursts of a few customers' orders, some of which take their time or fail at first.
async fn keep_producing(scene: Arc<Scene>, done: Arc<AtomicBool>, mut chance: Chance) {
    while !done.load(Ordering::Acquire) {
        let what = match chance.below(20) {
            0 => What::FailTwice,
            1..=9 => What::Dawdle,
            _ => What::Insert,
        };
        let orders = (0..1 + chance.below(30)).map(|_| {
            let order = Order::of(&format!("customer-{}", chance.below(60)), what);
            let id = order.order_id.to_string();
            (order, Some(id))
        });
        let sent = scene.produce_orders(None, orders.collect()).await;
        if chance.below(5) == 0 {
            scene.produce_again(&sent).await;
        }
        scene.produce_without_ids(chance.below(10) as usize).await;
        tokio::time::sleep(Duration::from_millis(chance.below(100))).await;
    }
}
