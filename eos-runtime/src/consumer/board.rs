//! What can be seen of a listener's partitions from outside, while its workers work.
//!
//! A worker has a [`Post`] here for as long as it has its lease; the slots of a partition have one each, and are seen as one. A
//! worker writes there what changes seldom: that the partition
//! cannot be taken, that a record is tried again, that the partition stopped. What changes with each record, the position,
//! is read where it is anyway. As long as all is well a record costs one load.

use std::error::Error as StdError;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Chain;
use crate::metrics::{ListenerGauges, PartitionGauges};
use crate::source::{Lease, Place, Progress};

/// The partitions of one listener in this process.
#[derive(Debug, Default)]
pub(crate) struct Board {
    listener: Arc<str>,
    posts: Mutex<Vec<Arc<Post>>>,
    gauges: ListenerGauges,
}

/// What is known of one of them.
#[derive(Debug)]
pub(super) struct Post {
    topic: Arc<str>,
    partition: i32,
    branch: i32,
    progress: Progress,
    /// Where its log ends, or -1 before that is known.
    end: AtomicI64,
    parked: AtomicI64,
    /// So many are parked that it waits.
    full: AtomicBool,
    /// Whether its state is anything but [`State::Running`], without a lock.
    troubled: AtomicBool,
    state: Mutex<State>,
    /// How many records have failed, and are not done with.
    failing: AtomicUsize,
    gauges: PartitionGauges,
}

/// How a partition fares.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Its worker finds out where to go on.
    Starting,
    /// Records are handled, or waited for.
    Running,
    /// Something that its worker needs does not answer.
    Waiting {
        /// What it cannot do meanwhile.
        what: String,
        why: String,
        since: Instant,
    },
    /// A record failed, and is tried again.
    TryingAgain {
        offset: i64,
        /// Which attempt is next, and of how many where there is an end to them.
        attempt: u32,
        of: Option<u32>,
        why: String,
        since: Instant,
    },
    /// Until a person has looked.
    Stopped { offset: Option<i64>, why: String, since: Instant },
}

/// A partition as it was when somebody looked.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) position: Option<i64>,
    pub(crate) end: Option<i64>,
    /// How many of its records are parked.
    pub(crate) parked: i64,
    /// So many that it waits, or one of its slots does.
    pub(crate) is_full: bool,
    pub(crate) state: State,
}

/// A record has failed, and is not done with, as long as this lives.
#[derive(Debug)]
pub(super) struct Failing(Arc<Post>);

/// A worker's own end of its post, which it leaves when it ends.
#[derive(Debug)]
pub(super) struct Posted {
    board: Arc<Board>,
    post: Arc<Post>,
}

impl Board {
    /// An empty one, told to the recorder that is installed by now.
    pub(crate) fn of(listener: &str) -> Self {
        Board { listener: listener.into(), posts: Mutex::default(), gauges: ListenerGauges::of(listener) }
    }

    /// A worker begins.
    pub(super) fn post(self: &Arc<Self>, lease: &Lease) -> Posted {
        let post = Arc::new(Post {
            topic: Arc::clone(&lease.topic),
            partition: lease.partition,
            branch: lease.branch,
            progress: lease.progress(),
            end: AtomicI64::new(-1),
            parked: AtomicI64::new(0),
            full: AtomicBool::new(false),
            troubled: AtomicBool::new(true),
            state: Mutex::new(State::Starting),
            failing: AtomicUsize::new(0),
            gauges: PartitionGauges::of(&self.listener, &lease.topic, lease.partition),
        });
        let mut posts = self.lock();
        posts.push(Arc::clone(&post));
        self.gauges.owned.set(count(partitions(&posts).len()));
        drop(posts);
        Posted { board: Arc::clone(self), post }
    }

    /// What there is, by topic and partition.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        partitions(&self.lock()).into_iter().map(|(seen, _)| seen).collect()
    }

    /// Where the log of a partition ends.
    pub(crate) fn ends_at(&self, topic: &str, partition: i32, end: i64) {
        let posts = self.lock();
        let here = posts.iter().filter(|post| post.partition == partition && *post.topic == *topic);
        here.for_each(|post| post.end.store(end, Ordering::Relaxed));
    }

    /// Tells the recorder how it is now. Under the lock, so that what was given up meanwhile stays zero.
    pub(crate) fn tell(&self, outage: bool) {
        let posts = self.lock();
        let partitions = partitions(&posts);
        for (seen, post) in &partitions {
            post.gauges.tell(seen.position, seen.lag(), seen.parked);
        }
        let stopped =
            partitions.iter().filter(|(seen, _)| matches!(seen.state, State::Stopped { .. })).count();
        self.gauges.stopped.set(count(stopped));
        self.gauges.outage.set(count(outage.into()));
    }

    /// A partition cannot do something for now.
    pub(super) fn waits(&self, place: &Place, what: &str, why: &(dyn StdError + 'static)) {
        self.with(place, |post| {
            post.put(|before| State::Waiting {
                what: what.to_owned(),
                why: Chain(why).to_string(),
                since: before.since().unwrap_or_else(Instant::now),
            });
        });
    }

    /// A partition stops.
    pub(super) fn stopped(&self, place: &Place, offset: Option<i64>, why: &(dyn StdError + 'static)) {
        let why = Chain(why).to_string();
        self.with(place, |post| post.put(|_| State::Stopped { offset, why, since: Instant::now() }));
    }

    fn with(&self, place: &Place, then: impl FnOnce(&Post)) {
        let is_meant = |post: &&Arc<Post>| post.is_of(place);
        if let Some(post) = self.lock().iter().rfind(is_meant) {
            then(post);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Post>>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post {
    fn is_of(&self, place: &Place) -> bool {
        (self.partition, self.branch) == (place.partition, place.branch) && self.topic == place.topic
    }

    /// A record was done with, or the partition was taken: all is well, unless another record fails.
    pub(super) fn is_well(&self) {
        if !self.troubled.load(Ordering::Relaxed) {
            return;
        }
        let mut now = self.lock();
        if self.failing.load(Ordering::Relaxed) == 0 {
            *now = State::Running;
            // Under the lock, so that what another record says in this moment is not taken for nothing.
            self.troubled.store(false, Ordering::Relaxed);
        }
    }

    /// A record has failed.
    pub(super) fn fails(self: &Arc<Self>) -> Failing {
        self.failing.fetch_add(1, Ordering::Relaxed);
        Failing(Arc::clone(self))
    }

    /// So many records are parked now.
    pub(super) fn has_parked(&self, records: usize, is_full: bool) {
        self.parked.store(i64::try_from(records).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.full.store(is_full, Ordering::Relaxed);
    }

    /// A record failed, and is tried again.
    pub(super) fn tries_again(
        &self,
        offset: i64,
        attempt: u32,
        of: Option<u32>,
        why: &(dyn StdError + 'static),
    ) {
        self.put(|before| State::TryingAgain {
            offset,
            attempt,
            of,
            why: Chain(why).to_string(),
            since: before.since().unwrap_or_else(Instant::now),
        });
    }

    fn put(&self, state: impl FnOnce(&State) -> State) {
        let mut now = self.lock();
        *now = state(&now);
        self.troubled.store(true, Ordering::Relaxed);
    }

    fn seen(&self) -> Seen {
        let end = self.end.load(Ordering::Relaxed);
        Seen {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            position: self.progress.position(),
            end: (end >= 0).then_some(end),
            parked: self.parked.load(Ordering::Relaxed),
            is_full: self.full.load(Ordering::Relaxed),
            state: self.lock().clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Since when it has been so, where that is no good sign.
    pub(crate) fn since(&self) -> Option<Instant> {
        match self {
            State::Starting | State::Running => None,
            State::Waiting { since, .. }
            | State::TryingAgain { since, .. }
            | State::Stopped { since, .. } => Some(*since),
        }
    }

    /// The greater, the more it is to be known.
    fn weight(&self) -> u8 {
        match self {
            State::Running => 0,
            State::Starting => 1,
            State::TryingAgain { .. } => 2,
            State::Waiting { .. } => 3,
            State::Stopped { .. } => 4,
        }
    }

    /// For how long.
    pub(crate) fn lasts(&self) -> Duration {
        self.since().map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Seen {
    /// Takes another slot of the partition in: it is as far as the lowest of them, and fares as the worst.
    fn add(&mut self, slot: &mut Seen) {
        self.position = self.position.zip(slot.position).map(|(one, other)| one.min(other));
        self.parked += slot.parked;
        self.is_full |= slot.is_full;
        if slot.state.weight() > self.state.weight() {
            self.state = slot.state.clone();
        }
    }

    /// Records behind the position, once both ends are known.
    pub(crate) fn lag(&self) -> Option<i64> {
        // The end was asked for a while ago; what is beyond it has been handled since.
        Some((self.end? - self.position?).max(0))
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.failing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Posted {
    type Target = Arc<Post>;

    fn deref(&self) -> &Arc<Post> {
        &self.post
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        let mut posts = self.board.lock();
        posts.retain(|post| !Arc::ptr_eq(post, &self.post));
        self.board.gauges.owned.set(count(partitions(&posts).len()));
    }
}

/// Each partition as its slots are together, with the post of one of them.
fn partitions(posts: &[Arc<Post>]) -> Vec<(Seen, &Arc<Post>)> {
    let mut seen: Vec<(Seen, &Arc<Post>)> = posts.iter().map(|post| (post.seen(), post)).collect();
    seen.sort_by(|(one, _), (other, _)| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    seen.dedup_by(|(slot, _), (partition, _)| {
        let is_of_it = slot.partition == partition.partition && slot.topic == partition.topic;
        if is_of_it {
            partition.add(slot);
        }
        is_of_it
    });
    seen
}

fn count(of: usize) -> f64 {
    of as f64
}
