//! The workers of a partition's slots: each has a branch of the partition's lease, and the log is read once for all of them.
//! Kafka's committed offset follows the lowest slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Done;
use super::division::Division;
use super::door::{Door, Start};
use crate::consumer::joined::joined;
use crate::consumer::queue::Queue;
use crate::consumer::transactional::{Bound, Left, work_on};
use crate::consumer::work::Work;
use crate::error::BoxError;
use crate::listener::spec::Handler;
use crate::record::Record;
use crate::source::{Lease, LeaseSource, Progress, SourceError};
use crate::store::{KeySlot, LetterDialect, Tx};

/// How often it is looked at how far the slots are.
const LOOK: Duration = Duration::from_millis(100);

/// Why the workers were left.
pub(super) enum Parted {
    Revoked,
    /// Somebody has split the partition otherwise.
    OtherSlots,
    /// What there was to do is done.
    Done(Done),
    /// The log is not the one that a position speaks of: nothing of it is handled.
    WrongLog {
        offset: Option<i64>,
        why: BoxError,
    },
}

/// Lets a worker for each slot work until the partition is revoked, or split otherwise, or, where there is an `until`, all
/// below that is done. All workers have ended then.
pub(super) async fn work_off<D: LetterDialect>(
    trunk: &mut Lease,
    slots: i32,
    until: Option<i64>,
    work: &Arc<Work>,
    bound: &Bound<D>,
    handler: Handler<Tx<D>>,
) -> Parted {
    let (asks, asked) = mpsc::unbounded_channel();
    let mut workers = JoinSet::new();
    let (mut branches, mut progress) = (Vec::new(), Vec::new());
    let lowest = Arc::new(AtomicI64::new(-1));
    for slot in KeySlot::each_of(slots) {
        let (number, lowest) = (branches.len(), Arc::clone(&lowest));
        let door = Door { slot: number, trunk: trunk.requests(), asks: asks.clone(), lowest };
        let (lease, source) = trunk.branch(slot.number, Arc::new(door));
        progress.push(lease.progress());
        branches.push(source);
        let (work, bound) = (Arc::clone(work), bound.clone());
        workers.spawn(async move {
            let mut queue = Queue::new(lease, &work.board);
            work_on(&mut queue, slot, &work, &bound, handler).await
        });
    }
    let seeks = vec![0; branches.len()];
    let division = Division::new(branches.len(), until);
    let mut partition = Partition {
        division,
        branches,
        progress,
        seeks,
        asked,
        taken_on: Instant::now(),
        lowest,
        patience: Patience { lasts: work.options().patience(), since: Instant::now(), positions: Vec::new() },
    };
    let parted = partition.read(trunk, &mut workers, work.take_on_every).await;
    partition.branches.iter().for_each(|branch| branch.revoked.cancel());
    while let Some(ended) = workers.join_next().await {
        joined(ended);
    }
    partition.tell(trunk);
    parted
}

/// What the branches have in common.
struct Partition {
    division: Division,
    branches: Vec<LeaseSource>,
    progress: Vec<Progress>,
    /// Which start of its worker each branch's records follow.
    seeks: Vec<u64>,
    asked: mpsc::UnboundedReceiver<Start>,
    /// When idle slots were last taken on.
    taken_on: Instant,
    /// The position of the lowest, or -1 as long as one is not known.
    lowest: Arc<AtomicI64>,
    patience: Patience,
}

/// How long slots that have come to the end of what is to be done wait for others that do not move: longer than an attempt
/// may take.
struct Patience {
    lasts: Duration,
    since: Instant,
    /// Where they stood then.
    positions: Vec<Option<i64>>,
}

impl Patience {
    /// Whether it is over: one that has something to do stands where it stood so long ago.
    fn is_over(&mut self, division: &Division, positions: &[Option<i64>]) -> bool {
        if self.since.elapsed() < self.lasts {
            return false;
        }
        let before = std::mem::replace(&mut self.positions, positions.to_vec());
        self.since = Instant::now();
        division.one_stands(&before, positions)
    }
}

impl Partition {
    async fn read(&mut self, trunk: &mut Lease, workers: &mut JoinSet<Left>, every: Duration) -> Parted {
        let revoked = trunk.revoked.clone();
        let suspicion = trunk.suspicion();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_reading = self.division.is_reading();
            tokio::select! {
                biased;
                () = revoked.cancelled() => return Parted::Revoked,
                // One that is over was not revoked from here: the source is gone.
                ended = workers.join_next() => return ended.and_then(joined).unwrap_or(Left::Over).into(),
                Some(start) = self.asked.recv() => {
                    if self.start(trunk, start).await.is_err() {
                        return Parted::Revoked;
                    }
                }
                () = suspicion.notified() => self.suspect(trunk),
                _ = looks.tick() => {
                    self.tell(trunk);
                    if let Some(done) = self.all_done() {
                        return Parted::Done(done);
                    }
                    if self.let_others_go_on(trunk).await.is_err() {
                        return Parted::Revoked;
                    }
                    self.take_on(every);
                }
                chunk = trunk.next_weighed(), if is_reading => match chunk {
                    Some((records, bytes)) => self.hand_over(trunk, records, bytes),
                    None => return Parted::Revoked,
                },
            }
        }
    }

    /// Starts the log again where that is needed, once for all that have asked by now.
    async fn start(&mut self, trunk: &mut Lease, start: Start) -> Result<(), SourceError> {
        let mut starts = vec![start];
        while let Ok(start) = self.asked.try_recv() {
            starts.push(start);
        }
        for start in &starts {
            self.seeks[start.slot] = start.seek;
            self.division.starts(start.slot, start.offset);
        }
        if let Some(offset) = self.division.rewind() {
            trunk.seek(offset).await?;
        }
        for start in starts {
            // A worker that no longer listens has been revoked.
            drop(start.reply.send(Ok(())));
        }
        Ok(())
    }

    /// Each worker looks at the log for itself.
    fn suspect(&mut self, trunk: &Lease) {
        self.division.lost();
        for branch in &self.branches {
            if trunk.is_orphaned() {
                branch.shared.orphan();
            } else {
                branch.shared.suspect();
            }
        }
    }

    fn hand_over(&mut self, trunk: &Lease, records: Vec<Record>, bytes: usize) {
        let many = records.len();
        let each = bytes / many.max(1);
        let mut parts: Vec<Vec<Record>> = vec![Vec::new(); self.branches.len()];
        for record in records {
            let mut first = None;
            self.division.next(&record, |slot| match first {
                None => first = Some(slot),
                Some(_) => parts[slot].push(record.clone()),
            });
            if let Some(slot) = first {
                parts[slot].push(record);
            }
        }
        for ((branch, part), seek) in self.branches.iter().zip(parts).zip(&self.seeks) {
            if !part.is_empty() {
                let bytes = each * part.len();
                // Of a worker that stopped, the records are read again when somebody takes its slot.
                branch.hand_over(*seek, part, bytes);
            }
        }
        // After they were handed over, so that the source does not take the load for less than it is.
        trunk.taken(many);
    }

    fn positions(&self) -> Vec<Option<i64>> {
        self.progress.iter().map(Progress::position).collect()
    }

    /// Tells the partition's lease how far its lowest slot is.
    fn tell(&self, trunk: &Lease) {
        let lowest = self.progress.iter().try_fold(i64::MAX, |low, at| Some(low.min(at.position()?)));
        self.lowest.store(lowest.unwrap_or(-1), Ordering::Relaxed);
        if let Some(lowest) = lowest.filter(|lowest| trunk.progress().position() != Some(*lowest)) {
            trunk.committed(lowest);
        }
    }

    fn all_done(&self) -> Option<Done> {
        let positions = self.positions();
        let until = self.division.done(&positions)?;
        Some(Done { until, positions: positions.into_iter().collect::<Option<_>>()? })
    }

    /// Slots that have come to the end wait for one that does not move, as for a record that fails; but not for ever: they are
    /// handed what has come meanwhile.
    async fn let_others_go_on(&mut self, trunk: &Lease) -> Result<(), SourceError> {
        if !self.division.has_end() || !self.patience.is_over(&self.division, &self.positions()) {
            return Ok(());
        }
        // An answer that does not come is asked for again.
        let Ok(log) = trunk.watermarks().await else { return Ok(()) };
        match self.division.go_on(log.high) {
            Some(offset) => trunk.seek(offset).await,
            None => Ok(()),
        }
    }

    /// Hands the last record to slots that have nothing to do: their workers move past what is not theirs. It costs each of them a
    /// small transaction, and spares whoever takes the partition next the records in between.
    fn take_on(&mut self, every: Duration) {
        if self.taken_on.elapsed() < every {
            return;
        }
        self.taken_on = Instant::now();
        let positions = self.positions();
        let (branches, seeks) = (&self.branches, &self.seeks);
        self.division.idle(&positions, |slot, record| {
            branches[slot].hand_over(seeks[slot], vec![record.clone()], 0);
        });
    }
}
