//! The way out of a listener whose outputs go to the log that it reads from: outputs and positions in one transaction.
//!
//! A member of a group has one lane, at whose other end somebody puts what the workers pass into a transaction and commits
//! it now and then. A worker passes *portions*: what some records leave, and the position behind them. Where a transaction
//! comes to nothing, a new *run* begins: whatever was passed in an earlier one is void, and every worker goes back to what
//! the group has committed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{Lease, LetterToTopic, Progress};

/// A record that is to be written.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) topic: Arc<str>,
    pub(crate) key: Option<Bytes>,
    pub(crate) payload: Option<Bytes>,
    /// Its `message-id`, where that is not among the headers.
    pub(crate) id: Option<Uuid>,
    pub(crate) headers: Vec<(Cow<'static, str>, Option<Bytes>)>,
}

impl Output {
    /// How many bytes it has: key, payload, and headers that are given.
    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + length(value));
        length(&self.key) + length(&self.payload) + headers.sum::<usize>()
    }
}

/// What some records of a partition leave.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    /// With the offset of the record that it is of.
    pub(crate) outputs: Vec<(i64, Output)>,
    /// How many records they are.
    pub(crate) records: u32,
    /// How many of them were handled, and not set aside.
    pub(crate) applied: u64,
    /// The offset behind the last of them.
    pub(crate) next: i64,
}

/// What is asked of the lane's other end.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Put this into the transaction.
    Pass { from: Arc<Tap>, run: u64, portion: Portion },
    /// Commit what this one has passed, and say when it is done; also when it is void.
    Settle { from: Arc<Tap>, run: u64, done: oneshot::Sender<()> },
    /// Ask what the group knows this member by, and keep it under this number.
    Introduce { reply: oneshot::Sender<u64> },
    /// The group has accepted this member after that question: what was kept is good.
    Introduced(u64),
}

/// A partition's place at the lane, from its assignment until its worker has ended.
pub(crate) struct Tap {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    progress: Progress,
    /// Told how many more are done.
    on_commit: OnCommit,
    /// Its worker has ended, and the group may give the partition to somebody else.
    gone: AtomicBool,
    /// Records whose outputs were refused, how often and why the last time.
    refused: Mutex<HashMap<i64, (u32, String)>>,
}

/// Hears how many records were committed as handled.
pub(crate) type OnCommit = Box<dyn Fn(u64) + Send + Sync>;

/// A lane, for whoever starts workers.
#[derive(Clone)]
pub(crate) struct Outflow {
    requests: mpsc::Sender<Asked>,
    runs: watch::Receiver<u64>,
    portion: u32,
    as_output: fn(&LetterToTopic, u32) -> Output,
}

/// The other end.
#[derive(Debug)]
pub(crate) struct OutflowEnd {
    pub(crate) requests: mpsc::Receiver<Asked>,
    pub(crate) runs: watch::Sender<u64>,
}

/// A worker's own end.
#[derive(Debug)]
pub(crate) struct Stream {
    tap: Arc<Tap>,
    outflow: Outflow,
    run: u64,
}

/// The lane has ended: the process stops.
#[derive(Debug)]
pub(crate) struct LaneGone;

impl Outflow {
    /// A lane, whose portions have so many records at the most; `as_output` makes a dead letter a record, in a smaller form
    /// each time it was refused.
    pub(crate) fn new(portion: u32, as_output: fn(&LetterToTopic, u32) -> Output) -> (Self, OutflowEnd) {
        let (requests, receiver) = mpsc::channel(32);
        let (runs, runs_seen) = watch::channel(0);
        (Outflow { requests, runs: runs_seen, portion, as_output }, OutflowEnd { requests: receiver, runs })
    }

    /// A worker begins.
    pub(crate) fn open(&self, lease: &Lease, on_commit: OnCommit) -> Stream {
        let tap = Arc::new(Tap {
            topic: Arc::clone(&lease.topic),
            partition: lease.partition,
            progress: lease.progress(),
            on_commit,
            gone: AtomicBool::new(false),
            refused: Mutex::default(),
        });
        Stream { tap, outflow: self.clone(), run: 0 }
    }
}

impl Stream {
    /// How many records a portion may have.
    pub(crate) fn portion(&self) -> u32 {
        self.outflow.portion
    }

    /// A dead letter as a record, after so many refusals of it.
    pub(crate) fn dead_letter(&self, letter: &LetterToTopic, refusals: u32) -> Output {
        (self.outflow.as_output)(letter, refusals)
    }

    /// Works in the run that there is now: nothing was passed in it.
    pub(crate) fn begin(&mut self) {
        self.run = *self.outflow.runs.borrow_and_update();
    }

    /// Whether what was passed is void by now.
    pub(crate) fn is_void(&self) -> bool {
        self.outflow.runs.has_changed().unwrap_or(true)
    }

    /// Completes when it is.
    pub(crate) async fn voided(&mut self) {
        // An end that is gone is noticed by whoever asks it.
        if self.outflow.runs.wait_for(|run| *run != self.run).await.is_err() {
            std::future::pending().await
        }
    }

    /// Has the lane ask who we are; the number is for [`introduced`](Self::introduced).
    ///
    /// # Errors
    /// The lane has ended.
    pub(crate) async fn introduce(&self) -> Result<u64, LaneGone> {
        let (reply, answer) = oneshot::channel();
        self.ask(Asked::Introduce { reply }).await?;
        answer.await.map_err(|_| LaneGone)
    }

    /// The group has accepted us since.
    ///
    /// # Errors
    /// The lane has ended.
    pub(crate) async fn introduced(&self, number: u64) -> Result<(), LaneGone> {
        self.ask(Asked::Introduced(number)).await
    }

    /// Passes a portion on; waits while the lane is full.
    ///
    /// # Errors
    /// The lane has ended.
    ///
    /// # Cancel safety
    /// It is passed as a whole or not at all.
    pub(crate) async fn pass(&self, portion: Portion) -> Result<(), LaneGone> {
        self.ask(Asked::Pass { from: Arc::clone(&self.tap), run: self.run, portion }).await
    }

    /// Waits until what was passed is committed, or void.
    pub(crate) async fn settle(&self) {
        let (done, answer) = oneshot::channel();
        let settle = Asked::Settle { from: Arc::clone(&self.tap), run: self.run, done };
        if self.ask(settle).await.is_ok() {
            // An end without an answer has committed nothing more.
            drop(answer.await);
        }
    }

    /// How often the outputs of a record were refused, and why.
    pub(crate) fn refusals(&self, offset: i64) -> Option<(u32, String)> {
        self.tap.refused().get(&offset).cloned()
    }

    async fn ask(&self, asked: Asked) -> Result<(), LaneGone> {
        self.outflow.requests.send(asked).await.map_err(|_| LaneGone)
    }
}

impl Tap {
    /// Whether nothing of it may be committed any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// What it passed is committed, up to there.
    pub(crate) fn committed(&self, next: i64, applied: u64) {
        self.progress.moved_to(next);
        self.refused().retain(|offset, _| *offset >= next);
        (self.on_commit)(applied);
    }

    /// The outputs of this record cannot be written.
    pub(crate) fn refuse(&self, offset: i64, why: String) {
        let mut refused = self.refused();
        let times = refused.get(&offset).map_or(0, |(times, _)| *times) + 1;
        refused.insert(offset, (times, why));
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<i64, (u32, String)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    /// Also where the worker was aborted: before its end can be seen.
    fn drop(&mut self) {
        self.tap.gone.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Outflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outflow").field("portion", &self.portion).finish_non_exhaustive()
    }
}
