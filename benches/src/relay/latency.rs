//! How long after its COMMIT an event is there.
//!
//! The benchmark commits at a steady pace, whether or not the commits before have ended, and reads what is committed in
//! Kafka; the publisher runs in a process of its own. The clock is one, since both ends are in this process: it is looked
//! at right before COMMIT, and when the record is at hand. Events of the first two seconds do not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::message::{BorrowedMessage, Message as _};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::publishing::Publishing;
use super::table::{Publisher, Task};
use super::{KEYS, PARTITIONS, Relay, pool};
use crate::child::PATIENCE;
use crate::driver::Sample;
use crate::producer::PAYLOAD_BYTES;
use crate::stats::Latency;
use crate::watch::Watch;

/// How often something is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// 500 times a second.
    Busy,
    /// Ten times.
    Idle,
}

const WARM_UP_SECONDS: u32 = 2;
/// So many commits may be under way at once.
const CONNECTIONS: u32 = 8;

impl Pace {
    fn a_second(self) -> u32 {
        match self {
            Pace::Busy => 500,
            Pace::Idle => 10,
        }
    }
}

/// What an event says.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    number: usize,
    note: String,
}

/// The times of each event, in microseconds since the beginning; 0 where it has not happened.
struct Ledger {
    origin: Instant,
    events: Vec<Times>,
    /// Something has arrived.
    arrived: Notify,
}

#[derive(Default)]
struct Times {
    committing: AtomicU64,
    committed: AtomicU64,
    arrived: AtomicU64,
}

/// One run.
pub(super) async fn sample(relay: &mut Relay<'_>, by: Publisher, pace: Pace) -> anyhow::Result<Sample> {
    let warm_up = WARM_UP_SECONDS * pace.a_second();
    let measured = relay.args.seconds * pace.a_second();
    // And one that begins.
    let ledger = Arc::new(Ledger::new(1 + warm_up + measured));
    let topic = relay.topic().await?;
    let database = relay.database_of(by)?;
    database.execute("truncate eos_outbox").await?;
    let pool = pool(&database.options, CONNECTIONS).await?;
    let watch = Watch::start(&relay.bed.kafka, &topic, PARTITIONS, arrivals(&ledger))?;
    let mut publishing = Publishing::start(relay, by).await?;
    let working = Box::pin(async {
        commit(&ledger, 0, &pool, &topic).await?;
        let arrived = tokio::time::timeout(PATIENCE, ledger.arrived.notified()).await;
        arrived.context("the first event does not arrive")?;
        steadily(&ledger, pace, &pool, &topic).await?;
        watch.outcome().await
    });
    publishing.during(working).await?;
    let used = publishing.stop().await?;
    pool.close().await;

    let counts = &ledger.events[1 + warm_up as usize..];
    let case = Task::Latency(by, pace).case();
    let commits = Latency::of(counts.iter().map(|times| span(&times.committing, &times.committed)).collect());
    relay.commit_ms.retain(|(known, _)| *known != case);
    relay.commit_ms.push((case, commits.p50));
    let latency = Latency::of(counts.iter().map(|times| span(&times.committing, &times.arrived)).collect());
    let (first, last) = (counts.first().context("no event")?, counts.last().context("no event")?);
    let per_s = f64::from(measured - 1) / span(&first.committing, &last.committing).as_secs_f64();
    let sample = Sample::new(per_s, used, ledger.events.len() as u64);
    Ok(Sample { latency_ms: Some(latency), ..sample })
}

/// Commits all events but the first, each at its time.
async fn steadily(ledger: &Arc<Ledger>, pace: Pace, pool: &PgPool, topic: &str) -> anyhow::Result<()> {
    let mut times = tokio::time::interval(Duration::from_secs(1) / pace.a_second());
    times.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut commits = JoinSet::new();
    for number in 1..ledger.events.len() {
        times.tick().await;
        let (ledger, pool, topic) = (Arc::clone(ledger), pool.clone(), topic.to_owned());
        commits.spawn(async move { commit(&ledger, number, &pool, &topic).await });
        while let Some(ended) = commits.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = commits.join_next().await {
        ended??;
    }
    Ok(())
}

async fn commit(ledger: &Ledger, number: usize, pool: &PgPool, topic: &str) -> anyhow::Result<()> {
    let note = Note { number, note: ".".repeat(PAYLOAD_BYTES - 30) };
    let key = format!("customer-{}", number % KEYS as usize);
    let mut tx = eos_runtime::begin(pool).await?;
    tx.publish_to(topic, key, serde_json::to_vec(&note)?, Default::default()).await?;
    let times = &ledger.events[number];
    ledger.now(&times.committing)?;
    tx.commit().await?;
    ledger.now(&times.committed)
}

/// Notes when each event arrives, until all have.
fn arrivals(ledger: &Arc<Ledger>) -> impl FnMut(&BorrowedMessage<'_>) -> Option<()> + Send + 'static {
    let ledger = Arc::clone(ledger);
    let mut missing = ledger.events.len();
    move |message| {
        let note: Note = serde_json::from_slice(message.payload()?).ok()?;
        if ledger.now(&ledger.events.get(note.number)?.arrived).is_ok() {
            missing -= 1;
            ledger.arrived.notify_one();
        }
        (missing == 0).then_some(())
    }
}

impl Ledger {
    fn new(events: u32) -> Self {
        let events = (0..events).map(|_| Times::default()).collect();
        Ledger { origin: Instant::now(), events, arrived: Notify::new() }
    }

    /// Notes the time, once.
    fn now(&self, time: &AtomicU64) -> anyhow::Result<()> {
        let now = self.origin.elapsed().as_micros() as u64;
        ensure!(time.swap(now, Ordering::Relaxed) == 0, "an event was there twice");
        Ok(())
    }
}

fn span(from: &AtomicU64, to: &AtomicU64) -> Duration {
    Duration::from_micros(to.load(Ordering::Relaxed).saturating_sub(from.load(Ordering::Relaxed)))
}
