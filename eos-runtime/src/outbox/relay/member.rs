//! A relay among others: it lives, takes its share of the lanes, and hands them back when it stops.
//!
//! Nothing is done before something waits: a service that never publishes pays for one look a second. From then on the
//! relay says that it lives every third of its lease, and learns who has what; a task works on each lane that is its own.
//! A lane is given away, split or joined only after its task has ended quietly. A lane that is not ours any more, because
//! this process slept, is dropped at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::lane::{Lane, Setting, Trouble};
use super::{RelayOptions, shares};
use crate::kafka::{ClientOptions, KafkaFailure, Topic, Topics};
use crate::metrics::RelayCounts;
use crate::store::{Change, Lanes, RelayDialect, SLOTS, Serving, Slot, Store};

/// How often an idle relay looks whether anything waits.
const LOOK: Duration = Duration::from_secs(1);
/// How long a lane that failed is left alone, and at the most.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_AT_MOST: Duration = Duration::from_secs(5);
/// So many times a thousand kept entries are deleted at once.
const MANY_AT_MOST: u32 = 20;
/// After so long without a failure, the next counts as the first.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Publishes what stands in this database's outbox until it is told to stop.
///
/// # Errors
/// When librdkafka does not accept the settings.
pub(crate) async fn run<D: RelayDialect>(
    store: Arc<Store<D>>,
    client: ClientOptions,
    options: RelayOptions,
    stop: CancellationToken,
) -> Result<(), KafkaFailure> {
    let counts = RelayCounts::of(&options.database);
    let store = Arc::new(D::for_relay(&store));
    let topics = Topics::new(&client)?;
    let serving = Arc::clone(&store.home).serve();
    if stop.run_until_cancelled(until_something_waits(&store, &serving)).await.is_none() {
        store.pool.close().await;
        return Ok(());
    }
    let Some(database_id) = stop.run_until_cancelled(database_id(&store)).await else {
        store.pool.close().await;
        return Ok(());
    };
    let setting = Setting { client, topics, options, database_id, counts };
    let mut member = Member {
        me: uuid::Uuid::new_v4().simple().to_string(),
        lease: watch::Sender::new(Instant::now()),
        setting: Arc::new(setting),
        store,
        serving,
        running: BTreeMap::new(),
        failures: 0,
        not_before: Instant::now(),
        in_trouble: false,
    };
    member.until(&stop).await;
    member.leave().await;
    Ok(())
}

async fn until_something_waits<D: RelayDialect>(store: &Store<D>, serving: &Serving) {
    let mut said = false;
    loop {
        match D::anything(store).await {
            Ok(true) => return,
            Ok(false) => said = false,
            Err(error) if !said => {
                said = true;
                tracing::warn!(%error, "the outbox cannot be looked at; trying on");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = serving.0.work.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn database_id<D: RelayDialect>(store: &Store<D>) -> String {
    loop {
        match D::database_id(store).await {
            Ok(id) => return id.chars().filter(char::is_ascii_alphanumeric).collect(),
            Err(error) => tracing::warn!(%error, "the database's own id cannot be read; trying on"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A task that works on a lane.
struct Running {
    slots: Range<Slot>,
    epoch: i64,
    wake: Arc<Notify>,
    quiet: CancellationToken,
    task: AbortOnDropHandle<Result<(), Trouble>>,
}

struct Member<D: RelayDialect> {
    me: String,
    store: Arc<Store<D>>,
    setting: Arc<Setting>,
    serving: Serving,
    /// Until when the lease holds; all lanes look at it.
    lease: watch::Sender<Instant>,
    /// By first slot.
    running: BTreeMap<Slot, Running>,
    /// Lanes that failed in a row, and when the next may be tried.
    failures: u32,
    not_before: Instant,
    in_trouble: bool,
}

impl<D: RelayDialect> Member<D> {
    async fn until(&mut self, stop: &CancellationToken) {
        let announcements = D::announcements(&self.store);
        let mut announcements = std::pin::pin!(announcements);
        let mut next_beat = Instant::now();
        while !stop.is_cancelled() {
            if Instant::now() >= next_beat {
                next_beat = Instant::now() + self.setting.options.lease / 3;
                let moves = self.beat(Vec::new()).await;
                // Neither may keep the next beat from coming in time.
                let aside = async { tokio::join!(self.clean(), self.look_for_topics()) };
                drop(tokio::time::timeout(self.setting.options.lease / 6, aside).await);
                if let Some(wish) = moves {
                    self.fulfil(wish).await;
                    // The lane that was cut or joined, and whoever waits for the rest.
                    next_beat = Instant::now();
                    continue;
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(next_beat) => {}
                () = self.serving.0.work.notified() => {
                    self.wake_lanes();
                    if !self.has_all() {
                        self.serving.0.announce(&self.store.pool);
                    }
                }
                _ = announcements.next() => self.wake_lanes(),
                ended = any_ended(&mut self.running) => {
                    self.lane_ended(ended);
                    next_beat = next_beat.min(self.not_before);
                }
            }
        }
    }

    /// Says that we live, makes these changes, takes what is free and ours to take, and starts and ends tasks as the table
    /// then says. What comes back is what we would like to do with a lane once it is quiet.
    async fn beat(&mut self, changes: Vec<Change>) -> Option<Change> {
        let began = Instant::now();
        let lease = self.setting.options.lease;
        let me = self.me.clone();
        let known: BTreeMap<Slot, (Slot, i64)> =
            self.running.iter().map(|(first, lane)| (*first, (lane.slots.end, lane.epoch))).collect();
        let shared = D::share(&self.store, &self.me, lease, move |lanes| {
            let mine = lanes.lanes.iter().filter(|lane| lane.owner.as_deref() == Some(me.as_str()));
            let mut all: Vec<Change> = mine.map(|lane| Change::Renew(lane.slots.start)).collect();
            if changes.is_empty() {
                all.extend(shares::takes(&me, lanes));
            } else {
                all.extend(changes);
            }
            all
        });
        match tokio::time::timeout(lease, shared).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(lanes) => {
                if std::mem::take(&mut self.in_trouble) {
                    tracing::info!("the outbox's lanes can be read again");
                }
                self.lease.send_replace(began + lease);
                self.follow(&lanes, &known);
                shares::wish(&self.me, &lanes).filter(|_| Instant::now() >= self.not_before)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.in_trouble, true) {
                    tracing::warn!(%error, "the outbox's lanes cannot be read; trying on");
                }
                None
            }
        }
    }

    /// Deletes what was kept for long enough, a little at a time.
    async fn clean(&self) {
        let Some(keep) = self.setting.options.keep else { return };
        for _ in 0..MANY_AT_MOST {
            match D::clean(&self.store, keep).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "published entries that are old enough cannot be deleted; trying on");
                    return;
                }
            }
        }
    }

    /// Entries that were refused for want of their topic are tried again once it is there.
    async fn look_for_topics(&self) {
        let Ok(topics) = D::topics_looked_for(&self.store).await else { return };
        for topic in topics {
            self.setting.topics.forget(&topic);
            if !matches!(self.setting.topics.look(&topic).await, Ok(Topic::Known { .. })) {
                continue;
            }
            match D::topic_found(&self.store, &topic).await {
                Ok(0) | Err(_) => {}
                Ok(entries) => {
                    tracing::info!(
                        topic,
                        entries,
                        "the topic is there now; entries that waited for it are published"
                    );
                    self.wake_lanes();
                }
            }
        }
    }

    /// Ends tasks whose lane is not ours any more, or not as it was, and starts those that are missing.
    fn follow(&mut self, lanes: &Lanes, known: &BTreeMap<Slot, (Slot, i64)>) {
        debug_assert!(shares::are_whole(&lanes.lanes), "{lanes:?}");
        let mine: BTreeMap<Slot, (Slot, i64)> = lanes
            .lanes
            .iter()
            .filter(|lane| lane.owner.as_deref() == Some(self.me.as_str()))
            .map(|lane| (lane.slots.start, (lane.slots.end, lane.epoch)))
            .collect();
        for (first, as_known) in known {
            if mine.get(first) != Some(as_known) && self.running.remove(first).is_some() {
                tracing::info!(first_slot = first, "a lane of the outbox is another's now");
            }
        }
        if Instant::now() < self.not_before {
            return;
        }
        for (first, (end, epoch)) in mine {
            self.running.entry(first).or_insert_with(|| {
                tracing::debug!(first_slot = first, end_slot = end, epoch, "working on a lane of the outbox");
                let (wake, quiet) = (Arc::new(Notify::new()), CancellationToken::new());
                let lane = Lane {
                    store: Arc::clone(&self.store),
                    setting: Arc::clone(&self.setting),
                    slots: first..end,
                    wake: Arc::clone(&wake),
                    lease: self.lease.subscribe(),
                    quiet: quiet.clone(),
                };
                let task = AbortOnDropHandle::new(tokio::spawn(lane.run()));
                Running { slots: first..end, epoch, wake, quiet, task }
            });
        }
    }

    /// Ends the tasks of the lanes that a change is about, quietly, and makes it.
    async fn fulfil(&mut self, wish: Change) {
        let slots = match wish {
            Change::Release(slot) | Change::Split(slot, _) => vec![slot],
            Change::Merge(slot, next) => vec![slot, next],
            Change::Take(_) | Change::Renew(_) => return,
        };
        for slot in slots {
            if let Some(lane) = self.running.remove(&slot)
                && !self.silence(lane).await
            {
                return;
            }
        }
        self.beat(vec![wish]).await;
        // Whoever it is for looks at once.
        self.serving.0.announce(&self.store.pool);
    }

    /// Ends a lane's task; whether nothing of it is on its way.
    async fn silence(&mut self, lane: Running) -> bool {
        lane.quiet.cancel();
        let mut task = lane.task;
        let patience = self.setting.options.lease;
        match tokio::time::timeout(patience, &mut task).await {
            Ok(Ok(Ok(()))) => true,
            Ok(_) => false,
            Err(_) => {
                tracing::debug!(
                    first_slot = lane.slots.start,
                    "a lane of the outbox did not come to rest in time"
                );
                false
            }
        }
    }

    fn lane_ended(&mut self, (first, outcome): (Slot, Result<(), Trouble>)) {
        self.running.remove(&first);
        match outcome {
            Ok(()) => {}
            Err(Trouble(why)) => {
                if Instant::now() > self.not_before + FORGOTTEN {
                    self.failures = 0;
                }
                self.failures += 1;
                let wait = AGAIN.saturating_mul(1 << self.failures.min(5)).min(AGAIN_AT_MOST);
                self.not_before = Instant::now() + wait;
                if self.failures.is_power_of_two() {
                    tracing::warn!(
                        first_slot = first,
                        failures = self.failures,
                        why,
                        "the outbox cannot be published; trying on, next in {wait:.1?}"
                    );
                }
            }
        }
    }

    fn wake_lanes(&self) {
        self.running.values().for_each(|lane| lane.wake.notify_one());
    }

    fn has_all(&self) -> bool {
        self.running.values().map(|lane| lane.slots.end - lane.slots.start).sum::<Slot>() == SLOTS
    }

    /// Lets every lane come to rest, and hands them back.
    async fn leave(mut self) {
        let running = std::mem::take(&mut self.running);
        running.values().for_each(|lane| lane.quiet.cancel());
        for lane in running.into_values() {
            self.silence(lane).await;
        }
        let left = tokio::time::timeout(self.setting.options.lease, D::leave(&self.store, &self.me)).await;
        if let Ok(Err(error)) = left {
            tracing::debug!(%error, "the lanes of the outbox were not handed back; their lease will end");
        }
        self.serving.0.announce(&self.store.pool);
        let counts = &self.setting.counts;
        tracing::info!(
            published = counts.published.sum(),
            refused = counts.refused.sum(),
            "what this relay did"
        );
        // An announcement may still be on its way.
        drop(tokio::time::timeout(Duration::from_secs(1), self.store.pool.close()).await);
    }
}

/// Waits until some lane's task ends.
async fn any_ended(running: &mut BTreeMap<Slot, Running>) -> (Slot, Result<(), Trouble>) {
    if running.is_empty() {
        return std::future::pending().await;
    }
    let tasks = running.iter_mut().map(|(first, lane)| {
        Box::pin(async move {
            let outcome = (&mut lane.task).await;
            (*first, outcome.unwrap_or_else(|error| Err(Trouble(error.to_string()))))
        })
    });
    futures_util::future::select_all(tasks).await.0
}
