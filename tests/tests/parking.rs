//! A record that fails is parked with the later ones of its key, and other keys go on: nothing is lost, nothing is done
//! twice, and no record overtakes one of its key.

use std::time::Duration;

use eos_tests::{Chance, Kind, Launch, Order, PATIENCE, Produced, Scene, Service, What, eventually, stays};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_fails_waits_and_the_others_go_on_on_postgres() {
    other_keys_go_on(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_fails_waits_and_the_others_go_on_on_mariadb() {
    other_keys_go_on(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_fails_waits_and_the_others_go_on_on_sqlite() {
    other_keys_go_on(Kind::Sqlite).await;
}

/// The one that fails waits for an hour; somebody wants it tried now.
async fn other_keys_go_on(kind: Kind) {
    let scene = Scene::new(kind, 1, SINKS).await;
    scene.close_gate();
    for what in [What::Insert, What::FailTwice, What::Insert, What::Insert] {
        send(&scene, "Grace", what).await;
        send(&scene, "Edsger", What::Insert).await;
    }
    let slow =
        || scene.launch().parking().env("EOS__RETRY__BACKOFF", "1h").env("EOS__RETRY__MAX_BACKOFF", "1h");
    let mut service = slow().start();
    scene.is_caught_up(PATIENCE).await;
    assert_eq!(scene.applied().await, 5, "Grace's first, and all of Edsger's");
    assert_eq!(scene.database.parked(&scene.group, &scene.topic).await.expect("a number"), 3);
    assert_eq!(scene.told().begun(), 6, "those behind it are not even tried");
    // Whoever comes next knows, and goes on waiting.
    service.stop().await;
    let mut service = slow().start();
    send(&scene, "Grace", What::Insert).await;
    send(&scene, "Edsger", What::Insert).await;
    scene.is_caught_up(PATIENCE).await;
    assert_eq!((scene.applied().await, scene.told().begun()), (6, 7));

    let urge = "update eos_dead_letter set state = 5 where state = 1";
    scene.database.execute(urge).await;
    service.has_said("a parked record failed again").await;
    scene.database.execute(urge).await;
    scene.nothing_is_parked().await;
    scene.every_order_once().await;
    scene.assert_customers_in_order().await;
    // And Grace's flow again.
    send(&scene, "Grace", What::Insert).await;
    scene.every_order_once().await;
    service.stop().await;
    assert!(service.says("its records flow again") > 0);
    assert!(scene.dead_letters().await.is_empty());
}

/// Waits until nothing is left of the topic and of what was parked: each order once, and each customer's in order.
async fn all_is_done_in_order(scene: &Scene) {
    scene.is_caught_up(PATIENCE).await;
    scene.nothing_is_parked().await;
    scene.assert_every_order_once().await;
    scene.assert_customers_in_order().await;
}

async fn send(scene: &Scene, customer: &str, what: What) -> Produced {
    let id = Some(uuid::Uuid::new_v4().to_string());
    scene.produce_orders(None, vec![(Order::of(customer, what), id)]).await.remove(0)
}

/// It is set aside when it has had its attempts, wherever it stood in its line, and the next of its key goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_attempt_can_handle_leaves_its_line_as_a_dead_letter() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let all = [What::FailAlways, What::Insert, What::Fatal, What::FailTwice, What::PanicAlways, What::Insert];
    for what in all {
        let sent = send(&scene, "Grace", what).await;
        scene.produce_again(&[sent]).await;
        send(&scene, "Edsger", What::Insert).await;
    }
    let mut service = scene.launch().parking().env("EOS__RETRY__MAX", "3").start();
    all_is_done_in_order(&scene).await;
    service.stop().await;
    let mut letters: Vec<_> =
        scene.dead_letters().await.into_iter().map(|letter| (letter.reason, letter.attempts)).collect();
    letters.sort();
    let expected = [("failed", 3), ("panicked", 3), ("poison", 1)];
    assert_eq!(letters, expected.map(|(reason, attempts)| (reason.to_owned(), attempts)));
}

/// A parked record that ends its process is found out, though it is never the first in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_record_that_kills_the_process_is_set_aside_in_the_end() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    for what in [What::FailTwice, What::Kill, What::Insert] {
        send(&scene, "Grace", what).await;
    }
    for _ in 0..20 {
        send(&scene, "Edsger", What::Insert).await;
    }
    let launch = || scene.launch().parking().env("EOS__RETRY__MAX", "3");
    // The first death is not counted: the record was parked by this very process.
    for _ in 0..4 {
        launch().start().dies().await;
    }
    let mut service = launch().start();
    all_is_done_in_order(&scene).await;
    service.stop().await;
    let letters = scene.dead_letters().await;
    assert_eq!((letters.len(), &*letters[0].reason, letters[0].attempts), (1, "killed", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_a_record_is_parked_or_tried_again_leaves_each_order_once_and_in_order() {
    for fault in [
        "after_set_aside@2=kill",
        "after_commit@3=kill",
        "unpark_after_count@1=kill",
        "stored_before_claim@2=kill",
        "stored_after_handler@2=kill",
        "stored_after_commit@1=kill",
        "stored_after_commit@2=kill",
    ] {
        let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
        for what in [What::Insert, What::FailTwice, What::Insert, What::FailTwice, What::Insert] {
            send(&scene, "Grace", what).await;
            send(&scene, "Edsger", What::Insert).await;
        }
        // What is counted is what was parked before.
        if fault.starts_with("unpark_after_count") {
            let mut before = scene.launch().parking().env("EOS__RETRY__BACKOFF", "400ms").start();
            scene.is_caught_up(PATIENCE).await;
            before.kill();
        }
        let mut service = scene.launch().parking().fault(fault).start();
        service.is_killed().await;
        let mut next = scene.launch().parking().start();
        all_is_done_in_order(&scene).await;
        next.stop().await;
        assert!(scene.dead_letters().await.is_empty(), "{fault}");
    }
}

/// An owner that slept while another took the partition says nothing of what is parked, and tries nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_slept_before_it_tried_a_parked_record_does_nothing() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    for what in [What::FailTwice, What::Insert] {
        send(&scene, "Grace", what).await;
    }
    let zombie = scene.launch().parking().fault("stored_before_claim@1=stop").start();
    zombie.sleeps().await;
    let mut next = scene.launch().parking().start();
    scene.is_caught_up(PATIENCE).await;
    scene.nothing_is_parked().await;
    let begun = scene.told().begun_by(zombie.pid());
    zombie.wake();
    send(&scene, "Grace", What::Insert).await;
    scene.every_order_once().await;
    assert_eq!(scene.told().begun_by(zombie.pid()), begun, "it ran no handler");
    scene.assert_customers_in_order().await;
    next.stop().await;
}

/// A partition of which so many records are parked waits, as one does that never parks.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_with_many_parked_records_waits() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    send(&scene, "Grace", What::FailTwice).await;
    for _ in 0..10 {
        send(&scene, "Grace", What::Insert).await;
    }
    send(&scene, "Edsger", What::Insert).await;
    let launch = |backoff: &str| {
        let launch = scene.launch().parking().env("EOS__DEAD_LETTERS__PARKED_AT_MOST", "5");
        launch.env("EOS__RETRY__BACKOFF", backoff).env("EOS__RETRY__MAX_BACKOFF", backoff)
    };
    let mut service = launch("1h").start();
    service.has_said("so many records are parked that the whole partition waits").await;
    stays("the whole partition waits", Duration::from_millis(500), async || {
        match (scene.applied().await, scene.positions().await[0].next_offset) {
            (0, 5) => Ok(()),
            (applied, next) => Err(format!("{applied} are applied, and {next} is next")),
        }
    })
    .await;
    service.stop().await;
    let mut service = launch("50ms").start();
    all_is_done_in_order(&scene).await;
    service.stop().await;
}

/// A program that fails at everything does not fill the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_fails_at_every_record_does_not_park_the_topic() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.produce(What::FailAlways, 100).await;
    let mut service = scene
        .launch()
        .parking()
        .env("EOS__DEAD_LETTERS__BREAKER", "5")
        .env("EOS__DEAD_LETTERS__BREAKER_PACE", "1h")
        .start();
    service.has_said("is it the program?").await;
    let parked_and_dead = async || {
        let parked = scene.database.parked(&scene.group, &scene.topic).await.expect("a number");
        (parked, scene.dead_letters().await.len())
    };
    stays("no more than five are parked", Duration::from_secs(2), async || match parked_and_dead().await {
        (..=5, 0) => Ok(()),
        found => Err(format!("{found:?}")),
    })
    .await;
    assert_eq!(parked_and_dead().await, (5, 0));
    service.stop().await;
    let mut mended = scene.launch().parking().env("SINK_FIXED", "yes").start();
    scene.is_caught_up(PATIENCE).await;
    scene.nothing_is_parked().await;
    mended.stop().await;
    assert_eq!(scene.applied().await, 100);
}

/// What is parked when the listener stops parking drains, in order, and is not overtaken.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_drains_when_the_listener_parks_no_more() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    for what in [What::FailTwice, What::Insert, What::Insert] {
        send(&scene, "Grace", what).await;
    }
    let hour = |launch: Launch| launch.env("EOS__RETRY__BACKOFF", "1h").env("EOS__RETRY__MAX_BACKOFF", "1h");
    let mut service = hour(scene.launch().parking()).start();
    scene.is_caught_up(PATIENCE).await;
    service.stop().await;
    send(&scene, "Grace", What::Insert).await;
    let mut service = scene.launch().start();
    all_is_done_in_order(&scene).await;
    service.stop().await;
}

/// A record without a key waits alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_key_is_parked_alone() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let order = |what| serde_json::to_vec(&Order::new(what)).expect("JSON");
    let records: Vec<_> = [What::FailTwice, What::Insert, What::Insert]
        .into_iter()
        .map(|what| eos_tests::Sent { partition: Some(0), payload: Some(order(what)), ..Default::default() })
        .collect();
    scene.kafka.produce(&scene.topic, &records).await;
    let mut service = scene.launch().parking().start();
    scene.has_applied(3).await;
    service.stop().await;
    let offsets: Vec<i64> =
        scene.database.applied_in_order().await.expect("rows").iter().map(|row| row.off).collect();
    assert_eq!(offsets, [1, 2, 0]);
    assert_eq!(scene.database.parked(&scene.group, &scene.topic).await.expect("a number"), 0);
}

/// The breaker holds back what is parked already, and a better program gets it as if nobody had tried.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_bad_program_has_parked_is_tried_by_a_better_one() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    for customer in ["Ada L.", "Barbara", "Grace"] {
        send(&scene, customer, What::FailAlways).await;
        send(&scene, customer, What::FailAlways).await;
    }
    let launch = || {
        let launch = scene.launch().parking().env("EOS__DEAD_LETTERS__BREAKER", "3");
        launch.env("EOS__DEAD_LETTERS__BREAKER_PACE", "1h").env("EOS__RETRY__MAX", "3")
    };
    let mut bad = launch().start();
    bad.has_said("is it the program?").await;
    eventually("the first of each have had their attempts", PATIENCE, async || {
        match scene.dead_letters().await.len() {
            3.. => Ok(()),
            few => Err(format!("{few} have")),
        }
    })
    .await;
    stays("those behind them are held back", Duration::from_secs(2), async || {
        match scene.dead_letters().await {
            dead if dead.len() == 3 => Ok(()),
            dead => Err(format!("{dead:?}")),
        }
    })
    .await;
    bad.stop().await;
    let dead = scene.dead_letters().await;
    assert_eq!(dead.len(), 3, "{dead:?}");
    assert!(dead.iter().all(|letter| letter.reason == "failed" && letter.attempts == 3), "{dead:?}");
    let mut mended = launch().env("SINK_FIXED", "yes").start();
    scene.nothing_is_parked().await;
    mended.stop().await;
    assert_eq!((scene.dead_letters().await.len(), scene.applied().await), (3, 3));
}

/// Ten times at once, and then like any other failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_record_that_always_meets_another_is_given_up_in_the_end() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.close_gate();
    send(&scene, "Grace", What::MeetWhileClosed).await;
    send(&scene, "Grace", What::Insert).await;
    let mut service = scene.launch().parking().env("EOS__RETRY__MAX", "3").start();
    scene.has_applied(1).await;
    service.stop().await;
    let dead = scene.dead_letters().await;
    assert_eq!((dead.len(), &*dead[0].reason, dead[0].attempts), (1, "failed", 3));
    assert!((30..40).contains(&scene.told().begun()), "{} attempts", scene.told().begun());
}

/// An attempt whose COMMIT had no answer has not failed, however often that is so.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_give_no_parked_record_up() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.close_gate();
    send(&scene, "Grace", What::DoubtWhileClosed).await;
    let mut service = scene.launch().parking().env("EOS__RETRY__MAX", "3").start();
    service.has_said_times("the answer to COMMIT was lost", 6).await;
    scene.open_gate();
    scene.nothing_is_parked().await;
    scene.every_order_once().await;
    service.stop().await;
    assert!(scene.dead_letters().await.is_empty());
}

/// Somebody looks at the table, and holds a row of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_held_by_somebody_holds_up_no_other_key_and_no_stop() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene.close_gate();
    send(&scene, "Grace", What::FailWhileClosed).await;
    let mut service = scene.launch().parking().env("EOS__RETRY__MAX", "1000").start();
    scene.is_caught_up(PATIENCE).await;
    let mut holder = scene.database.postgres().begin().await.expect("a transaction");
    sqlx::query("select * from eos_dead_letter for update")
        .fetch_all(&mut *holder)
        .await
        .expect("it is held");
    tokio::time::sleep(Duration::from_secs(1)).await;
    send(&scene, "Edsger", What::Insert).await;
    let before = std::time::Instant::now();
    scene.has_applied(1).await;
    assert!(before.elapsed() < Duration::from_secs(15), "it waited {:?}", before.elapsed());
    service.stop().await;
    holder.rollback().await.expect("it is let go");
    scene.open_gate();
    let mut service = scene.launch().parking().start();
    scene.nothing_is_parked().await;
    scene.every_order_once().await;
    service.stop().await;
}

/// One failure of a key that has many records parks those that come while it waits, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_moves_on_is_not_joined_for_ever() {
    for listener in ["postgres", "postgres_in_groups"] {
        let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
        let order = |what| (Order::of("Grace", what), Some(uuid::Uuid::new_v4().to_string()));
        let orders = std::iter::once(order(What::Panic)).chain((0..3000).map(|_| order(What::Insert)));
        scene.produce_orders(None, orders.collect()).await;
        let launch = scene.launch().parking().env("SINK_LISTENER", listener).env("RUST_LOG", "info");
        let mut service = launch.env("EOS__RETRY__BACKOFF", "20ms").start();
        all_is_done_in_order(&scene).await;
        service.stop().await;
        let parked = scene.database.number("select last_value from eos_dead_letter_id_seq").await;
        let parked = parked.expect("a number");
        assert!(parked < 500, "{parked} of 3,001 were parked in {listener}");
    }
}

/// A database that lost its last commits has rows again that an owner saw leave: it looks again before it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tail_of_parked_records_is_not_overtaken() {
    let scene = Scene::new(Kind::MariaDb, 1, SINKS).await;
    let hour = || {
        let launch = scene.launch().parking().env("EOS__RETRY__BACKOFF", "1h");
        launch.env("EOS__RETRY__MAX_BACKOFF", "1h").start()
    };
    send(&scene, "Grace", What::Panic).await;
    let mut service = hour();
    scene.is_caught_up(PATIENCE).await;
    scene.database.execute("create table keep as select * from eos_dead_letter").await;
    scene.database.execute("update eos_dead_letter set state = 5 where state = 1").await;
    scene.nothing_is_parked().await;
    // What the last commit did is gone, all of it.
    scene.database.execute("delete from applied").await;
    scene.database.execute("insert into eos_dead_letter select * from keep").await;
    scene.database.execute("update eos_inbox set outcome = 1").await;
    service.has_said_times("took the partition", 2).await;
    send(&scene, "Grace", What::Insert).await;
    scene.is_caught_up(PATIENCE).await;
    assert_eq!(scene.applied().await, 0, "the second stands behind the first");
    scene.database.execute("update eos_dead_letter set state = 5 where state = 1").await;
    scene.nothing_is_parked().await;
    scene.every_order_once().await;
    scene.assert_customers_in_order().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_whatever_fails_and_dies_record_by_record() {
    against_the_model("postgres").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_whatever_fails_and_dies_in_groups() {
    against_the_model("postgres_in_groups").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_whatever_fails_and_dies_in_batches() {
    against_the_model("batches").await;
}

/// Random orders of a dozen customers, of which many fail, with members killed, joined and stopped at random. The model is
/// the log: what each customer's orders leave behind is in its order, each once or set aside.
async fn against_the_model(listener: &str) {
    let mut chance = Chance::of_this_run();
    let scene = Scene::new(Kind::Postgres, 3, SINKS).await;
    let launch = || {
        let launch = scene.launch().parking().env("SINK_LISTENER", listener).env("EOS__RETRY__MAX", "8");
        launch.env("EOS__DEAD_LETTERS__BREAKER", "0").env("EOS__RETRY__MAX_BACKOFF", "100ms").start()
    };
    let mut members: Vec<Service> = (0..2).map(|_| launch()).collect();
    let mut kills = 0;
    for round in 0..12 {
        let orders = (0..60).map(|_| random_order(&mut chance)).collect();
        let sent = scene.produce_orders(None, orders).await;
        if chance.below(2) == 0 {
            scene.produce_again(&sent[..10]).await;
        }
        tokio::time::sleep(Duration::from_millis(200 + chance.below(600))).await;
        let victim = chance.below(members.len() as u64) as usize;
        match chance.below(4) {
            0 | 1 => {
                members[victim].kill();
                members[victim] = launch();
                kills += 1;
            }
            2 => {
                members[victim].stop().await;
                members[victim] = launch();
            }
            _ if members.len() < 4 => members.push(launch()),
            _ => members.remove(victim).stop().await,
        }
        eprintln!("round {round}: {} members, {kills} kills", members.len());
    }
    scene.is_caught_up(PATIENCE).await;
    scene.nothing_is_parked().await;
    for member in &mut members {
        member.stop().await;
    }
    scene.assert_every_order_once().await;
    scene.assert_customers_in_order().await;
    eventually("somebody's records were parked", PATIENCE, async || {
        let parked: usize = members.iter().map(|member| member.says("are parked, and it is tried")).sum();
        if parked > 0 { Ok(()) } else { Err("nobody's".to_owned()) }
    })
    .await;
}

fn random_order(chance: &mut Chance) -> (Order, Option<String>) {
    let what = match chance.below(20) {
        0..3 => What::FailSome,
        3 => What::FailAlways,
        4 => What::Fatal,
        5 => What::Panic,
        _ => What::Insert,
    };
    let customer = format!("customer-{}", chance.below(12));
    (Order::of(&customer, what), Some(uuid::Uuid::new_v4().to_string()))
}
