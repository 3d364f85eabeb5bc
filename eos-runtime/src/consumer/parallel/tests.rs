//! A worker with many hands, on a log that lies in memory: who has it comes and goes, and its handlers do as records say.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Barrier, Notify, oneshot};
use tokio::task::JoinHandle;

use crate::consumer::tests::World;
use crate::consumer::{Board, Work, run_plain};
use crate::error::HandlerError;
use crate::extract::{Delivery, States};
use crate::listener::resolved::{DeadLetterTopic, DeadLetters};
use crate::listener::retry::RetryPolicy;
use crate::listener::spec::HandlerFuture;
use crate::record::Record;
use crate::source::{
    CommittedInKafka, Lease, LeaseId, LeaseSource, LetterBox, Requests, SourceError, Watermarks,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a handler does with a record; its payload says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Do {
    /// Takes so many milliseconds.
    Wait(u64),
    /// Fails so often, and then takes a millisecond.
    Fail(u32),
    /// Waits until as many as there are hands do.
    Meet,
    /// Fails until the others are told to go on.
    FailUntilTold,
    /// Waits until it is told to go on.
    Hold,
    Fatal,
}

/// What has happened to a record, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happened {
    Began,
    Ended,
    /// By an error, or dropped.
    Failed,
}

/// A log in memory, where offsets are indexes, and what its handlers have told.
#[derive(Debug)]
struct Log {
    key_of: Vec<Option<u8>>,
    what: Vec<Do>,
    source: Mutex<Option<LeaseSource>>,
    told: AtomicI64,
    seeks: AtomicUsize,
    /// How many ran when the log was looked at.
    running_at_seek: AtomicUsize,
    history: Mutex<Vec<(Happened, i64)>>,
    set_aside: Mutex<BTreeSet<i64>>,
    running: AtomicUsize,
    goes_on: Notify,
    is_told: AtomicUsize,
    meet: Barrier,
}

impl Log {
    fn new(hands: u16, records: &[(Option<u8>, Do)]) -> Arc<Self> {
        Arc::new(Log {
            key_of: records.iter().map(|(key, _)| *key).collect(),
            what: records.iter().map(|(_, what)| *what).collect(),
            source: Mutex::default(),
            told: AtomicI64::new(-1),
            seeks: AtomicUsize::new(0),
            running_at_seek: AtomicUsize::new(0),
            history: Mutex::default(),
            set_aside: Mutex::default(),
            running: AtomicUsize::new(0),
            goes_on: Notify::new(),
            is_told: AtomicUsize::new(0),
            meet: Barrier::new(hands.into()),
        })
    }

    fn record(&self, at: usize) -> Record {
        let record = Record::builder("t").at(0, at as i64).payload(at.to_string());
        match self.key_of[at] {
            Some(key) => record.key([key]).build(),
            None => record.build(),
        }
    }

    fn end(&self) -> i64 {
        self.what.len() as i64
    }

    fn go_on(&self) {
        self.is_told.store(1, Ordering::SeqCst);
        self.goes_on.notify_waiters();
    }

    fn with_source<T>(&self, then: impl FnOnce(&LeaseSource) -> T) -> T {
        then(self.source.lock().expect("not poisoned").as_ref().expect("the lease lives"))
    }

    /// How far the owner's offset is.
    fn committed(&self) -> i64 {
        self.with_source(|source| source.shared.committed().unwrap_or(0))
    }

    fn count(&self, happened: Happened) -> usize {
        self.history.lock().expect("not poisoned").iter().filter(|(what, _)| *what == happened).count()
    }

    fn done(&self) -> BTreeSet<i64> {
        let history = self.history.lock().expect("not poisoned");
        let ended = history.iter().filter(|(what, _)| *what == Happened::Ended).map(|(_, offset)| *offset);
        ended.chain(self.set_aside.lock().expect("not poisoned").iter().copied()).collect()
    }

    /// The offset is read first: what is done only grows.
    fn assert_offset_passes_nothing_undone(&self) {
        let (committed, done) = (self.committed(), self.done());
        let lost = (0..committed).find(|offset| !done.contains(offset));
        assert_eq!(lost, None, "the offset {committed} has passed it");
    }

    /// Of each key one at a time, and none before the one before it was done, by whomever.
    fn assert_keys_in_order(&self) {
        let aside = self.set_aside.lock().expect("not poisoned").clone();
        let mut before: HashMap<i64, Option<i64>> = HashMap::new();
        let mut last: BTreeMap<u8, i64> = BTreeMap::new();
        for (offset, key) in self.key_of.iter().enumerate() {
            let lower = key.and_then(|key| last.insert(key, offset as i64));
            before.insert(offset as i64, lower);
        }
        let (mut open, mut done) = (BTreeMap::new(), BTreeSet::new());
        for (happened, offset) in self.history.lock().expect("not poisoned").iter().copied() {
            let Some(key) = self.key_of[offset as usize] else { continue };
            match happened {
                Happened::Began => {
                    assert_eq!(open.insert(key, offset), None, "two of the key of {offset} run");
                    let lower = before[&offset];
                    let is_done = lower.is_none_or(|lower| done.contains(&lower) || aside.contains(&lower));
                    assert!(is_done, "{offset} has overtaken {lower:?}");
                }
                Happened::Failed => drop(open.remove(&key)),
                Happened::Ended => {
                    open.remove(&key);
                    done.insert(offset);
                }
            }
        }
    }
}

impl Requests for Log {
    fn watermarks(&self, _: &Arc<str>, _: i32, reply: oneshot::Sender<Result<Watermarks, SourceError>>) {
        reply.send(Ok(Watermarks { low: 0, high: self.end() })).ok();
    }

    fn partitions(&self, _: &Arc<str>, reply: oneshot::Sender<Result<i32, SourceError>>) {
        reply.send(Ok(1)).ok();
    }

    fn seek(&self, _: LeaseId, offset: i64, seek: u64, reply: oneshot::Sender<Result<(), SourceError>>) {
        reply.send(Ok(())).ok();
        self.seeks.fetch_add(1, Ordering::SeqCst);
        self.running_at_seek.store(self.running.load(Ordering::SeqCst), Ordering::SeqCst);
        let records: Vec<Record> = (offset as usize..self.what.len()).map(|at| self.record(at)).collect();
        self.with_source(|source| {
            records.chunks(64).for_each(|some| assert!(source.hand_over(seek, some.to_vec(), 0)));
        });
    }

    fn confirm(&self, _: LeaseId, _: i64, reply: oneshot::Sender<Result<bool, SourceError>>) {
        reply.send(Ok(true)).ok();
    }

    fn committed(&self, _: LeaseId, reply: oneshot::Sender<Result<Option<CommittedInKafka>, SourceError>>) {
        let told = self.told.load(Ordering::SeqCst);
        reply.send(Ok((told >= 0).then_some(CommittedInKafka { offset: told, ours: true }))).ok();
    }

    fn wake(&self) {}
}

/// Tells how a handler came to its end, also where it is dropped.
struct Runs<'l> {
    log: &'l Log,
    offset: i64,
    how: Happened,
}

impl<'l> Runs<'l> {
    fn begin(log: &'l Log, offset: i64) -> Self {
        log.running.fetch_add(1, Ordering::SeqCst);
        log.history.lock().expect("not poisoned").push((Happened::Began, offset));
        Runs { log, offset, how: Happened::Failed }
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.log.history.lock().expect("not poisoned").push((self.how, self.offset));
        self.log.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn does<'a>(delivery: &'a Delivery<'a>) -> HandlerFuture<'a> {
    Box::pin(async move {
        let log = delivery.state::<Arc<Log>>().expect("the test gives it");
        let offset = delivery.record().offset();
        let mut runs = Runs::begin(log, offset);
        match log.what[offset as usize] {
            Do::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Do::Fail(times) if delivery.attempt() <= times => return Err(HandlerError::again("not yet")),
            Do::Fail(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Do::Meet => drop(log.meet.wait().await),
            Do::FailUntilTold if log.is_told.load(Ordering::SeqCst) == 0 => {
                return Err(HandlerError::again("not yet"));
            }
            Do::FailUntilTold => {}
            Do::Hold => {
                let told = log.goes_on.notified();
                if log.is_told.load(Ordering::SeqCst) == 0 {
                    told.await;
                }
            }
            Do::Fatal => return Err(HandlerError::fatal("never")),
        }
        runs.how = Happened::Ended;
        Ok(())
    })
}

/// A listener on that log.
fn work(log: &Arc<Log>, hands: u16) -> Work {
    let state: Box<dyn Any + Send + Sync> = Box::new(Arc::clone(log));
    Work {
        hands,
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
    for first in 0..8 {
        let records: Vec<_> = (0..16).map(|key| (Some(first * 16 + key), Do::Meet)).collect();
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

    fn record(&mut self, keys: u64) -> (Option<u8>, Do) {
        let key = (self.below(8) > 0).then(|| self.below(keys) as u8);
        let what = match self.below(20) {
            0..=2 => Do::Fail(self.below(2) as u32 + 1),
            3 => Do::Fatal,
            _ => Do::Wait(self.below(4)),
        };
        (key, what)
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
    let mut took = Vec::new();
    for hands in [1, 16] {
        let records: Vec<_> = (0..640).map(|n| (Some((n % 64) as u8), Do::Wait(5))).collect();
        let log = Log::new(1, &records);
        let began = Instant::now();
        let worker = owns(&log, &Arc::new(work(&log, hands)));
        eventually("all are done", || log.committed() == log.end()).await;
        took.push(began.elapsed());
        is_given_up(&log, worker).await;
    }
    let ratio = took[0].as_secs_f64() / took[1].as_secs_f64();
    eprintln!("{took:?}: {ratio:.1} times");
    assert!(ratio > 10.0, "{took:?}");
}
