//! Three members, killed at random for a minute while orders arrive: each order once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eos_tests::{Kind, Scene, Service, What};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

/// `EOS_TEST_SEED` repeats a run's choices, `EOS_TEST_SECONDS` makes it longer.
#[tokio::test(flavor = "multi_thread")]
async fn random_kills_of_three_members_leave_each_order_once() {
    let seed = number("EOS_TEST_SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    let during = Duration::from_secs(number("EOS_TEST_SECONDS").unwrap_or(60));
    eprintln!("EOS_TEST_SEED={seed}");
    let mut chance = Chance(seed);

    let scene = Arc::new(Scene::new(Kind::Postgres, 6, SINKS).await);
    let done = Arc::new(AtomicBool::new(false));
    let producing = tokio::spawn(produce(Arc::clone(&scene), Arc::clone(&done), Chance(seed ^ 1)));
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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Numbers that a seed repeats (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
