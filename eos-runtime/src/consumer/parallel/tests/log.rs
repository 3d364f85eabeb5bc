//! A log in memory, whose records say what their handlers do, and what has happened to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Barrier, Notify, oneshot};

use crate::error::HandlerError;
use crate::extract::Delivery;
use crate::listener::spec::HandlerFuture;
use crate::record::Record;
use crate::source::{CommittedInKafka, LeaseId, LeaseSource, Requests, SourceError, Watermarks};

/// What a handler does with a record; its payload says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
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
pub(super) enum Happened {
    Began,
    Ended,
    /// By an error, or dropped.
    Failed,
}

/// A log in memory, where offsets are indexes, and what its handlers have told.
#[derive(Debug)]
pub(super) struct Log {
    key_of: Vec<Option<u8>>,
    what: Vec<Do>,
    pub(super) source: Mutex<Option<LeaseSource>>,
    pub(super) told: AtomicI64,
    pub(super) seeks: AtomicUsize,
    /// How many ran when the log was looked at.
    pub(super) running_at_seek: AtomicUsize,
    history: Mutex<Vec<(Happened, i64)>>,
    pub(super) set_aside: Mutex<BTreeSet<i64>>,
    pub(super) running: AtomicUsize,
    goes_on: Notify,
    is_told: AtomicUsize,
    meet: Barrier,
}

impl Log {
    pub(super) fn new(hands: u16, records: &[(Option<u8>, Do)]) -> Arc<Self> {
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

    pub(super) fn end(&self) -> i64 {
        self.what.len() as i64
    }

    pub(super) fn go_on(&self) {
        self.is_told.store(1, Ordering::SeqCst);
        self.goes_on.notify_waiters();
    }

    pub(super) fn with_source<T>(&self, then: impl FnOnce(&LeaseSource) -> T) -> T {
        then(self.source.lock().expect("not poisoned").as_ref().expect("the lease lives"))
    }

    /// How far the owner's offset is.
    pub(super) fn committed(&self) -> i64 {
        self.with_source(|source| source.shared.committed().unwrap_or(0))
    }

    pub(super) fn count(&self, happened: Happened) -> usize {
        self.history.lock().expect("not poisoned").iter().filter(|(what, _)| *what == happened).count()
    }

    pub(super) fn done(&self) -> BTreeSet<i64> {
        let history = self.history.lock().expect("not poisoned");
        let ended = history.iter().filter(|(what, _)| *what == Happened::Ended).map(|(_, offset)| *offset);
        ended.chain(self.set_aside.lock().expect("not poisoned").iter().copied()).collect()
    }

    /// The offset is read first: what is done only grows.
    pub(super) fn assert_offset_passes_nothing_undone(&self) {
        let (committed, done) = (self.committed(), self.done());
        let lost = (0..committed).find(|offset| !done.contains(offset));
        assert_eq!(lost, None, "the offset {committed} has passed it");
    }

    /// Of each key one at a time, and none before the one before it was done, by whomever.
    pub(super) fn assert_keys_in_order(&self) {
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

pub(super) fn does<'a>(delivery: &'a Delivery<'a>) -> HandlerFuture<'a> {
    Box::pin(async move {
        let log = delivery.state::<Arc<Log>>().expect("the test gives it");
        let offset = delivery.record().offset();
        let mut runs = Runs::begin(log, offset);
        match log.what[offset as usize] {
            Do::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Do::Fail(times) if delivery.attempt() <= times => return Err(HandlerError::again("not yet")),
            Do::Fail(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Do::Meet => {
                log.meet.wait().await;
            }
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

/// Numbers that a seed repeats (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(super) fn record(&mut self, keys: u64) -> (Option<u8>, Do) {
        let key = (self.below(8) > 0).then(|| self.below(keys) as u8);
        let what = match self.below(20) {
            0..=2 => Do::Fail(self.below(2) as u32 + 1),
            3 => Do::Fatal,
            _ => Do::Wait(self.below(4)),
        };
        (key, what)
    }
}
