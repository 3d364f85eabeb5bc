//! Three members, killed at random for a minute while orders arrive: each order once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eos_tests::{Chance, Kind, Scene, Service, What, number};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

/// `EOS_TEST_SEED` repeats a run's choices, `EOS_TEST_SECONDS` makes it longer.
#[tokio::test(flavor = "multi_thread")]
async fn random_kills_of_three_members_leave_each_order_once() {
    let mut chance = Chance::of_this_run();
    let during = Duration::from_secs(number("EOS_TEST_SECONDS").unwrap_or(60));

    let scene = Arc::new(Scene::new(Kind::Postgres, 6, SINKS).await);
    let done = Arc::new(AtomicBool::new(false));
    let producing = tokio::spawn(produce(Arc::clone(&scene), Arc::clone(&done), chance.other()));
    let mut members: Vec<Service> = (0..3).map(|_| scene.launch().start()).collect();
    let mut kills = 0;
    let began = Instant::now();
    while began.elapsed() < during {
        tokio::time::sleep(Duration::from_millis(200 + chance.below(4800))).await;
        let victim = chance.below(3) as usize;
        members[victim].kill();
        kills += 1;
        members[victim] = scene.launch().start();
    }
    done.store(true, Ordering::Release);
    producing.await.expect("the producer did not panic");

    scene.every_order_once().await;
    for member in &mut members {
        member.stop().await;
    }
    scene.assert_every_order_once().await;
    eprintln!("{kills} kills, {} records, {} handlers begun", scene.ledger().len(), scene.told().begun());
}

/// Small bursts, some of which are sent twice, some without ids, and now and then an order that fails at first.
async fn produce(scene: Arc<Scene>, done: Arc<AtomicBool>, mut chance: Chance) {
    while !done.load(Ordering::Acquire) {
        let what = if chance.below(20) == 0 { What::FailTwice } else { What::Insert };
        let count = 1 + chance.below(20) as usize;
        let sent = scene.produce(what, count).await;
        if chance.below(5) == 0 {
            scene.produce_again(&sent).await;
        }
        scene.produce_without_ids(chance.below(10) as usize).await;
        tokio::time::sleep(Duration::from_millis(chance.below(200))).await;
    }
}
