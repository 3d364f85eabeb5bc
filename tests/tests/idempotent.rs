//! `idempotent(redis, …)` and `idempotent(database, …)`: an id has one finished run while it is remembered, but where a process dies,
//! or sleeps past its lease, between a handler's effect and its mark. The promise is the same whatever remembers it.

use std::time::Duration;

use eos_runtime::prelude::*;
use eos_runtime::testing::{DeliverError, Delivered, deliver};
use eos_tests::{
    Course, Kind, Launch, Order, PATIENCE, Redis, Scene, What, eventually, finished, is_done_with_all,
    produce_twins, servers, stays,
};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

/// Long enough for a lease of the listeners here to run out twice.
const TWO_LEASES: Duration = Duration::from_secs(5);

/// What remembers ids.
#[derive(Debug, Clone, Copy)]
enum Medium {
    Redis,
    Database(Kind),
}

impl Medium {
    async fn scene(self, partitions: i32) -> Scene {
        let kind = match self {
            Medium::Redis => Kind::Postgres,
            Medium::Database(kind) => kind,
        };
        Scene::new(kind, partitions, SINKS).await
    }

    fn launch(self, scene: &Scene) -> Launch {
        scene.launch().env("SINK_LISTENER", self.listener())
    }

    fn listener(self) -> &'static str {
        match self {
            Medium::Redis => "idempotent",
            Medium::Database(_) => "remembering",
        }
    }

    /// How many claims stand.
    async fn claims(self, scene: &Scene) -> i64 {
        let Medium::Redis = self else {
            return scene.database.number("select count(*) from eos_claim").await.expect("a number");
        };
        let redis = Redis::at(&servers().redis);
        let mut claims = 0;
        for key in redis.keys(&format!("eos:{}:", scene.group)).await {
            claims += i64::from(redis.ask::<Vec<u8>>(&format!("GET {key}")).await != b"done");
        }
        claims
    }
}

/// Each of these sentences holds whatever remembers ids.
macro_rules! on_each_medium {
    ($($test:ident)*) => { $(
        mod $test {
            use super::{Kind, Medium};

            #[tokio::test(flavor = "multi_thread")]
            async fn on_redis() {
                super::$test(Medium::Redis).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                super::$test(Medium::Database(Kind::Postgres)).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_mariadb() {
                super::$test(Medium::Database(Kind::MariaDb)).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$test(Medium::Database(Kind::Sqlite)).await;
            }
        }
    )* };
}

on_each_medium! {
    a_duplicate_is_not_handled_again_wherever_it_comes_from
    a_record_without_an_id_is_handled_and_counted
    a_crash_leaves_an_order_that_is_handled_twice_only_between_its_effect_and_its_mark
    what_another_has_claimed_is_waited_for_and_its_lease_is_renewed_while_it_runs
    a_handler_that_outlasts_its_lease_is_not_run_in_another_process
    a_claim_of_a_handler_that_failed_is_given_back
    a_twin_of_one_that_runs_and_fails_is_handled_itself
    one_that_slept_before_its_handler_runs_it_no_more
    one_that_slept_past_its_lease_in_its_handler_does_not_come_to_its_end
    partitions_that_move_leave_each_order_once
    a_stop_leaves_no_claim_behind
    kills_at_random_double_no_more_than_they_interrupt
}

fn assert_each_once(scene: &Scene) {
    let wrong: Vec<_> = finished(scene).into_iter().filter(|(_, times)| *times != 1).collect();
    assert!(wrong.is_empty(), "not once: {wrong:?}");
}

async fn a_duplicate_is_not_handled_again_wherever_it_comes_from(medium: Medium) {
    let scene = medium.scene(2).await;
    let orders = scene.produce_to(0, What::Insert, 20).await;
    scene.produce_to(1, What::Insert, 20).await;
    scene.produce_again(&orders).await;
    let elsewhere = orders.iter().map(|sent| (sent.order.clone(), sent.message_id.clone())).collect();
    scene.produce_orders(Some(1), elsewhere).await;
    let mut service = medium.launch(&scene).start();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each_once(&scene);
    assert_eq!(service.says("duplicates=40"), 1);
}

async fn a_record_without_an_id_is_handled_and_counted(medium: Medium) {
    let scene = medium.scene(1).await;
    scene.produce_without_ids(7).await;
    let mut service = medium.launch(&scene).start();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each_once(&scene);
    assert_eq!(service.says("without_message_id=7"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_known_by_what_the_listener_says() {
    for (by, once_in_all) in [("key", true), ("field", true), ("header", true), ("position", false)] {
        let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
        let order = Order::new(What::Insert);
        let twice = vec![(order.clone(), Some("the-same".to_owned())), (order, Some("the-same".to_owned()))];
        scene.produce_orders(Some(0), twice).await;
        let launch = || scene.launch().env("SINK_LISTENER", format!("idempotent_by_{by}"));
        let mut service = launch().start();
        is_done_with_all(&scene).await;
        service.stop().await;
        let times: Vec<_> = finished(&scene).into_values().collect();
        assert_eq!(times, [if once_in_all { 1 } else { 2 }], "by {by}");
        assert_eq!(service.says("without_message_id=0"), 1, "by {by}");
    }
}

/// What kills, which time it is passed, and whether an order may be left that was handled and is not marked.
const POINTS: [(&str, &[u32], bool); 4] = [
    ("dedupe_before_claim", &[1, 7], false),
    ("dedupe_after_claim", &[1, 7], false),
    ("dedupe_after_run", &[1, 7], true),
    ("dedupe_after_mark", &[1, 7], false),
];

async fn a_crash_leaves_an_order_that_is_handled_twice_only_between_its_effect_and_its_mark(medium: Medium) {
    let all = POINTS.iter().flat_map(|(point, times, window)| {
        times.iter().map(move |nth| (format!("{point}@{nth}=kill"), *window))
    });
    futures_util::future::join_all(all.map(|(fault, window)| crash_once(medium, fault, window))).await;
}

async fn crash_once(medium: Medium, fault: String, window: bool) {
    eprintln!("{medium:?}, {fault}");
    let scene = medium.scene(1).await;
    let orders = scene.produce_to(0, What::Insert, 12).await;
    scene.produce_again(&orders[..3]).await;
    scene.produce_to(0, What::FailTwice, 1).await;
    scene.produce_to(0, What::Insert, 3).await;
    let mut crashes = medium.launch(&scene).fault(&fault).start();
    crashes.is_killed().await;
    let mut next = medium.launch(&scene).start();
    is_done_with_all(&scene).await;
    next.stop().await;
    let finished = finished(&scene);
    assert!(finished.values().all(|times| *times >= 1), "lost at {fault}: {finished:?}");
    let twice = finished.values().filter(|times| **times == 2).count();
    assert!(finished.values().all(|times| *times <= 2));
    assert_eq!(twice, usize::from(window), "handled twice at {fault}");
}

async fn what_another_has_claimed_is_waited_for_and_its_lease_is_renewed_while_it_runs(medium: Medium) {
    let scene = medium.scene(2).await;
    scene.close_gate();
    produce_twins(&scene, What::Hold).await;
    scene.produce_to(1, What::Insert, 3).await;
    let mut service = medium.launch(&scene).start();
    scene.has_begun(1).await;
    service.has_said("another has claimed this record's id").await;
    stays("nobody else begins", TWO_LEASES, async || match scene.told().begun() {
        begun if begun <= 4 => Ok(()),
        begun => Err(format!("{begun} were")),
    })
    .await;
    let ended = finished(&scene).values().sum::<usize>();
    scene.open_gate();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert!(ended <= 3, "the twin was not skipped: {ended}");
    assert_each_once(&scene);
}

/// Each of two processes has a partition, and the twin comes to the other one.
async fn a_handler_that_outlasts_its_lease_is_not_run_in_another_process(medium: Medium) {
    let scene = medium.scene(2).await;
    let mut both = [0, 1].map(|_| medium.launch(&scene).start());
    eventually("each has a partition", PATIENCE, async || {
        scene.produce_to(0, What::Insert, 1).await;
        scene.produce_to(1, What::Insert, 1).await;
        is_done_with_all(&scene).await;
        let lines = scene.told().lines();
        let last = |partition| lines.iter().rfind(|line| line.partition == partition).map(|line| line.pid);
        if last(0) == last(1) { Err(format!("{:?} has both", last(0))) } else { Ok(()) }
    })
    .await;
    let before = scene.told().begun();
    scene.close_gate();
    let first = scene.produce_to(0, What::Hold, 1).await;
    scene.has_begun(before + 1).await;
    let twin = first.iter().map(|sent| (sent.order.clone(), sent.message_id.clone())).collect();
    scene.produce_orders(Some(1), twin).await;
    eventually("the other one waits", PATIENCE, async || {
        match both.iter().filter(|one| one.says("another has claimed this record's id") > 0).count() {
            1 => Ok(()),
            others => Err(format!("{others} wait")),
        }
    })
    .await;
    stays("it runs in one of them", TWO_LEASES, async || match scene.told().begun() {
        begun if begun == before + 1 => Ok(()),
        begun => Err(format!("{} were begun", begun - before)),
    })
    .await;
    scene.open_gate();
    is_done_with_all(&scene).await;
    for one in &mut both {
        one.stop().await;
    }
    assert_eq!(scene.told().begun(), before + 1);
    assert_each_once(&scene);
}

/// The twin's partition waits, and the twin runs when the first has failed for good.
async fn a_claim_of_a_handler_that_failed_is_given_back(medium: Medium) {
    let scene = medium.scene(2).await;
    let dead = format!("{}-dlt", scene.topic);
    scene.kafka.create_topic(&dead, 2, &[]).await;
    produce_twins(&scene, What::FailAlways).await;
    scene.produce_to(0, What::FailTwice, 5).await;
    let began = std::time::Instant::now();
    let mut service = medium.launch(&scene).env("EOS__RETRY__MAX", "3").start();
    is_done_with_all(&scene).await;
    let took = began.elapsed();
    service.stop().await;
    let begun = scene.told().begun();
    assert_eq!(begun, 2 * 3 + 5 * 3, "each attempt had its claim, and the twin was not taken for done");
    assert_eq!(scene.kafka.read(&dead).await.len(), 2);
    assert!(took < Duration::from_secs(15), "no attempt waited for a lease: {took:?}");
    scene.kafka.delete_topic(&dead).await;
}

/// Skipping it while the first runs would lose the message, since that one fails.
async fn a_twin_of_one_that_runs_and_fails_is_handled_itself(medium: Medium) {
    let scene = medium.scene(2).await;
    let dead = format!("{}-dlt", scene.topic);
    scene.kafka.create_topic(&dead, 2, &[]).await;
    produce_twins(&scene, What::Oversleep).await;
    let mut service = medium
        .launch(&scene)
        .env("EOS__RETRY__MAX", "1")
        .env(&format!("EOS__LISTENERS__SINKS__{}__DEADLINE", medium.listener().to_uppercase()), "3s")
        .start();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_eq!(scene.told().begun(), 2, "one after the other");
    assert_eq!(scene.kafka.read(&dead).await.len(), 2);
    scene.kafka.delete_topic(&dead).await;
}

async fn one_that_slept_before_its_handler_runs_it_no_more(medium: Medium) {
    let scene = medium.scene(1).await;
    scene.produce(What::Insert, 20).await;
    let sleeper = medium.launch(&scene).fault("dedupe_after_claim@3=stop").start();
    sleeper.sleeps().await;
    let begun = scene.told().begun_by(sleeper.pid());
    let mut other = medium.launch(&scene).start();
    is_done_with_all(&scene).await;
    sleeper.wake();
    stays("the one that woke up runs no handler", Duration::from_secs(3), async || {
        match scene.told().begun_by(sleeper.pid()) {
            now if now == begun => Ok(()),
            now => Err(format!("{now} were begun, and {begun} before")),
        }
    })
    .await;
    other.stop().await;
    assert_each_once(&scene);
}

async fn one_that_slept_past_its_lease_in_its_handler_does_not_come_to_its_end(medium: Medium) {
    let scene = medium.scene(1).await;
    scene.close_gate();
    scene.produce(What::Hold, 1).await;
    scene.produce(What::Insert, 20).await;
    let sleeper = medium.launch(&scene).start();
    scene.has_begun(1).await;
    sleeper.sleep().await;
    scene.open_gate();
    let mut other = medium.launch(&scene).start();
    is_done_with_all(&scene).await;
    sleeper.wake();
    sleeper.has_said("the claim of a record was lost while its handler ran").await;
    stays("it comes to no end", Duration::from_secs(2), async || {
        match scene
            .told()
            .lines()
            .iter()
            .filter(|line| line.what == "end" && line.pid == sleeper.pid())
            .count()
        {
            0 => Ok(()),
            ended => Err(format!("{ended} ended")),
        }
    })
    .await;
    other.stop().await;
    assert_each_once(&scene);
}

async fn partitions_that_move_leave_each_order_once(medium: Medium) {
    let scene = medium.scene(4).await;
    let orders = scene.produce(What::Insert, 400).await;
    let mut one = medium.launch(&scene).start();
    scene.has_begun(20).await;
    let mut other = medium.launch(&scene).start();
    scene.produce_again(&orders[..100]).await;
    scene.produce(What::Insert, 400).await;
    scene.has_begun(500).await;
    one.stop().await;
    scene.produce(What::FailTwice, 20).await;
    is_done_with_all(&scene).await;
    other.stop().await;
    assert_each_once(&scene);
}

/// The claim that was made ahead is given back, so that nobody waits for its lease.
async fn a_stop_leaves_no_claim_behind(medium: Medium) {
    let scene = medium.scene(4).await;
    scene.produce(What::Insert, 4_000).await;
    let mut service = medium.launch(&scene).start();
    scene.has_begun(100).await;
    service.stop().await;
    assert!(scene.told().begun() < 4_000, "it was stopped in mid-work");
    assert_eq!(medium.claims(&scene).await, 0);
}

async fn kills_at_random_double_no_more_than_they_interrupt(medium: Medium) {
    let scene = medium.scene(3).await;
    let course = Course::of_this_run(Duration::from_secs(8));
    let mut kills = 0;
    while course.goes_on(scene.ledger().len()) {
        let orders = scene.produce(What::Insert, 200).await;
        let before = scene.told().begun();
        let mut dies = medium.launch(&scene).start();
        scene.has_begun(before + 40).await;
        scene.produce_again(&orders[..20]).await;
        dies.kill();
        kills += 1;
    }
    let mut last = medium.launch(&scene).start();
    is_done_with_all(&scene).await;
    last.stop().await;
    let finished = finished(&scene);
    assert!(finished.values().all(|times| *times >= 1), "lost");
    let twice: usize = finished.values().map(|times| times - 1).sum();
    // A kill finds one record of each partition between its effect and its mark, at the most.
    assert!(twice <= kills * 3, "{twice} were handled twice, in {kills} kills");
}

#[kafka_listener(topic = "idempotent.delivered", idempotent(database))]
async fn delivered(Json(works): Json<bool>) -> HandlerResult {
    tokio::task::yield_now().await;
    if works { Ok(()) } else { Err("not yet".into()) }
}

/// What users' tests see of it: the same claim and the same mark, in their own database.
#[tokio::test]
async fn a_delivery_is_claimed_and_marked_as_by_a_worker() {
    let scene = Scene::new(Kind::Postgres, 1, "none").await;
    let pool = scene.database.postgres();
    let record = |works: &str| {
        let record = eos_runtime::Record::builder("idempotent.delivered").header("message-id", "mail-17");
        record.payload(works).build()
    };
    let failed = deliver(record("false")).database(pool).await;
    assert!(matches!(failed, Err(DeliverError::Failed(_))), "{failed:?}");
    assert_eq!(deliver(record("true")).database(pool).await.expect("it works"), Delivered::Applied);
    assert_eq!(deliver(record("true")).database(pool).await.expect("it is done"), Delivered::Duplicate);
}
