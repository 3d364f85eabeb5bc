//! A worker with many hands, on a log that lies in memory: who has it comes and goes, and its handlers do as records say.

mod log;

use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use self::log::{Chance, Do, Happened, Log, does};
use crate::consumer::tests::World;
use crate::consumer::{Board, Work, run_plain};
use crate::extract::States;
use crate::listener::resolved::{DeadLetterTopic, DeadLetters};
use crate::listener::retry::RetryPolicy;
use crate::source::{Lease, LetterBox, Requests};

const PATIENCE: Duration = Duration::from_secs(20);

/// A listener on that log.
fn work(log: &Arc<Log>, hands: u16) -> Work {
    let state: Box<dyn Any + Send + Sync> = Box::new(Arc::clone(log));
    Work {
        hands,
        // No handler is ended by it: a test gives up before.
        deadline: 3 * PATIENCE,
        states: States::new(HashMap::from([(TypeId::of::<Arc<Log>>(), state)])),
        dead_letters: DeadLetters::Off,
        retry: RetryPolicy {
            max: 3,
            backoff: Duration::from_millis(2),
            factor: 2.0,
            max_backoff: Duration::from_millis(20),
            jitter: 0.0,
        },
        board: Arc::new(Board::default()),
        ..World::work()
    }
}

/// A worker takes the log's partition up.
fn owns(log: &Arc<Log>, work: &Arc<Work>) -> JoinHandle<()> {
    let (lease, source) = Lease::new("t".into(), 0, 1, Arc::clone(log) as Arc<dyn Requests>);
    *log.source.lock().expect("not poisoned") = Some(source);
    tokio::spawn(run_plain(lease, Arc::clone(work), does))
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn is_given_up(log: &Log, worker: JoinHandle<()>) {
    log.with_source(|source| source.revoked.cancel());
    worker.await.expect("the worker ended");
}

/// What is written to its topic of dead letters is there at once.
fn letters(log: &Arc<Log>) -> LetterBox {
    let (letters, mut requests) = LetterBox::new();
    let log = Arc::clone(log);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            log.set_aside.lock().expect("not poisoned").insert(request.letter.record.offset());
            request.done.send(Ok(())).ok();
        }
    });
    letters
}

/// Hashed into sixteen lanes, two of them would share one, and wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_keys_as_there_are_hands_run_side_by_side() {
    for seed in 0..8 {
        let mut chance = Chance(seed);
        let mut keys = BTreeSet::new();
        while keys.len() < 16 {
            keys.insert(chance.below(256) as u8);
        }
        let records: Vec<_> = keys.into_iter().map(|key| (Some(key), Do::Meet)).collect();
        let log = Log::new(16, &records);
        let worker = owns(&log, &Arc::new(work(&log, 16)));
        eventually("they have met", || log.committed() == 16).await;
        is_given_up(&log, worker).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_a_key_run_one_after_another_and_those_without_one_side_by_side() {
    let one_key = Log::new(2, &[(Some(1), Do::Meet), (Some(1), Do::Meet)]);
    let worker = owns(&one_key, &Arc::new(work(&one_key, 2)));
    eventually("the first has begun", || one_key.count(Happened::Began) == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(one_key.count(Happened::Began), 1);
    worker.abort();

    let no_key = Log::new(2, &[(None, Do::Meet), (None, Do::Meet)]);
    let worker = owns(&no_key, &Arc::new(work(&no_key, 2)));
    eventually("they have met", || no_key.committed() == 2).await;
    is_given_up(&no_key, worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_fails_holds_up_itself_and_the_offset_and_is_seen_all_the_while() {
    let mut records = vec![(Some(0), Do::Wait(0)), (Some(9), Do::FailUntilTold), (Some(9), Do::Wait(0))];
    records.extend((0..200).map(|n| (Some(n % 7), Do::Wait(0))));
    let log = Log::new(2, &records);
    let work = Arc::new(work(&log, 4));
    let worker = owns(&log, &work);
    eventually("the others are done", || log.count(Happened::Ended) == 201).await;
    for _ in 0..20 {
        let seen = format!("{:?}", work.board.seen()[0].state);
        assert!(seen.contains("TryingAgain") && seen.contains("offset: 1,"), "{seen}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        (log.committed(), log.done().contains(&2)),
        (1, false),
        "its next one waits, and so does the offset"
    );
    log.go_on();
    eventually("all are done", || log.committed() == log.end()).await;
    eventually("it is well", || format!("{:?}", work.board.seen()[0].state) == "Running").await;
    is_given_up(&log, worker).await;
    log.assert_keys_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_stops_lets_what_runs_end_and_its_offset_stays() {
    let records = [
        (Some(0), Do::Wait(0)),
        (Some(1), Do::Hold),
        (Some(2), Do::FailUntilTold),
        (Some(3), Do::Fatal),
        (Some(3), Do::Wait(0)),
    ];
    let log = Log::new(2, &records);
    let work = Arc::new(Work {
        retry: RetryPolicy { backoff: PATIENCE, max_backoff: PATIENCE, ..World::work().retry },
        ..work(&log, 4)
    });
    let worker = owns(&log, &work);
    eventually("it has failed for good", || log.count(Happened::Failed) == 2).await;
    let state = || format!("{:?}", work.board.seen()[0].state);
    assert!(!state().contains("Stopped"), "one still runs: {}", state());
    log.go_on();
    eventually("it is stopped", || state().contains("Stopped")).await;
    assert!(state().contains("offset: Some(3)"), "{}", state());
    assert_eq!(
        (log.running.load(Ordering::SeqCst), log.committed()),
        (0, 2),
        "the one that waited is not done"
    );
    assert_eq!(log.done(), BTreeSet::from([0, 1]));
    is_given_up(&log, worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_given_up_lets_what_runs_end_and_begins_no_other() {
    let mut records = vec![(Some(0), Do::Hold), (Some(1), Do::Hold), (Some(2), Do::FailUntilTold)];
    records.extend((0..100).map(|n| (Some(n % 3), Do::Wait(0))));
    let log = Log::new(2, &records);
    let waits = RetryPolicy { backoff: PATIENCE, max_backoff: PATIENCE, ..World::work().retry };
    let worker = owns(&log, &Arc::new(Work { retry: waits, ..work(&log, 3) }));
    eventually("three have begun", || log.count(Happened::Failed) == 1 && log.count(Happened::Began) == 3)
        .await;
    log.with_source(|source| source.revoked.cancel());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!worker.is_finished(), "two still run");
    log.go_on();
    worker.await.expect("the worker ended");
    assert_eq!(log.count(Happened::Began), 3);
    assert_eq!((log.done(), log.committed()), (BTreeSet::from([0, 1]), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_aborted_leaves_no_handler_behind() {
    let log = Log::new(2, &[(Some(0), Do::Hold), (Some(1), Do::Hold)]);
    let worker = owns(&log, &Arc::new(work(&log, 2)));
    eventually("both have begun", || log.running.load(Ordering::SeqCst) == 2).await;
    worker.abort();
    eventually("none runs", || log.running.load(Ordering::SeqCst) == 0).await;
    assert_eq!(log.count(Happened::Ended), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_hand_comes_to_its_end_before_the_log_is_looked_at_again() {
    for is_forgotten in [false, true] {
        let log = Log::new(2, &[(Some(0), Do::Hold), (Some(1), Do::Wait(0)), (Some(2), Do::Hold)]);
        let worker = owns(&log, &Arc::new(work(&log, 3)));
        eventually("they have begun", || log.count(Happened::Began) == 3).await;
        log.with_source(|source| if is_forgotten { source.shared.orphan() } else { source.shared.suspect() });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(log.seeks.load(Ordering::SeqCst), 1, "two still run");
        log.go_on();
        eventually("it was looked at", || log.seeks.load(Ordering::SeqCst) == 2).await;
        assert_eq!(log.running_at_seek.load(Ordering::SeqCst), 0);
        // Nothing was told to Kafka, so all of it comes again.
        eventually("all of it came again", || log.count(Happened::Ended) == 6).await;
        eventually("the offset follows", || log.committed() == 3).await;
        is_given_up(&log, worker).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_that_come_go_and_die_leave_each_record_done_and_each_key_in_order() {
    for seed in 0..12 {
        let mut chance = Chance(seed);
        let (keys, hands) = (1 + chance.below(9), 2 + chance.below(8) as u16);
        let records: Vec<_> = (0..300).map(|_| chance.record(keys)).collect();
        let log = Log::new(hands, &records);
        let work = Arc::new(Work {
            dead_letters: DeadLetters::Topic(DeadLetterTopic::OfEach),
            letters: Some(letters(&log)),
            ..work(&log, hands)
        });
        while log.told.load(Ordering::SeqCst) < log.end() {
            let worker = owns(&log, &work);
            for _ in 0..chance.below(60) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                log.assert_offset_passes_nothing_undone();
                if chance.below(10) == 0 {
                    log.told.store(log.committed().max(log.told.load(Ordering::SeqCst)), Ordering::SeqCst);
                }
            }
            if chance.below(2) == 0 {
                worker.abort();
                drop(worker.await);
                eventually("its hands are gone", || log.running.load(Ordering::SeqCst) == 0).await;
            } else {
                is_given_up(&log, worker).await;
                log.told.store(log.committed().max(log.told.load(Ordering::SeqCst)), Ordering::SeqCst);
            }
            log.assert_offset_passes_nothing_undone();
        }
        let done = log.done();
        assert_eq!((0..log.end()).find(|offset| !done.contains(offset)), None, "seed {seed}");
        log.assert_keys_in_order();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_hands_do_more_than_ten_times_as_much_as_one() {
    // One has nothing to do but wait; it takes a little longer in truth.
    let one = WAITS * Duration::from_millis(5);
    // Sixteen are done so soon that a moment without a processor would decide it; what they can do is their best of five.
    let mut best = Duration::MAX;
    for _ in 0..5 {
        best = best.min(takes(16).await);
        let ratio = one.as_secs_f64() / best.as_secs_f64();
        eprintln!("{one:?}, {best:?}: {ratio:.1} times");
        if ratio > 10.0 {
            return;
        }
    }
    panic!("{one:?} and {best:?}");
}

const WAITS: u32 = 640;

/// How long so many hands take for what takes each of them five milliseconds, so many times.
async fn takes(hands: u16) -> Duration {
    let records: Vec<_> = (0..WAITS).map(|n| (Some((n % 64) as u8), Do::Wait(5))).collect();
    let log = Log::new(1, &records);
    let began = Instant::now();
    let worker = owns(&log, &Arc::new(work(&log, hands)));
    eventually("all are done", || log.committed() == log.end()).await;
    let took = began.elapsed();
    is_given_up(&log, worker).await;
    took
}
