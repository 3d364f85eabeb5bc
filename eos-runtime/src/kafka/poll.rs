//! A member's thread: one loop that looks at everything and waits for nothing in particular.
//!
//! It owns the consumer. Everything reaches it as a note (what librdkafka called back) or as a command, and each wakes
//! it: so it sleeps when there is nothing to do, and a seek, a rebalance or a stop is answered at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use tokio::task::JoinHandle;

use super::client::ConsumerOptions;
use super::commits::Commits;
use super::consumer::{Command, Desk, OnLease};
use super::context::{Change, Context};
use super::copy::copy;
use super::failure::{Fault, Follows, KafkaFailure};
use super::partitions::{Member, Partitions, Slot, panicked};
use crate::metrics::RebalanceCounts;
use crate::record::Record;
use crate::source::{Lease, Requests};

/// Records handed over at once.
const CHUNK: usize = 256;
/// Bytes handed over at once, where records are large.
const CHUNK_BYTES: usize = 256 * 1024;
/// How long it sleeps when nothing wakes it.
const IDLE: Duration = Duration::from_millis(100);
/// How long it sleeps while workers end; a task cannot wake it at the very moment that it is done.
const ENDING: Duration = Duration::from_millis(1);
/// The same complaint is made once in this time.
const COMPLAINT: Duration = Duration::from_secs(60);
/// Lets a revocation take a little longer than the attempt may.
const MARGIN: Duration = Duration::from_secs(1);

/// What the thread owns.
pub(super) struct Poller {
    member: Arc<Member>,
    context: Arc<Context>,
    commands: Receiver<Command>,
    desk: Arc<Desk>,
    options: ConsumerOptions,
    on_lease: OnLease,
    partitions: Partitions,
    commits: Commits,
    rebalances: RebalanceCounts,
    /// Reused for every chunk.
    scratch: Vec<Record>,
    /// Whether the brokers ever let this member in; before, wrong credentials end the process.
    proven: bool,
    complaints: BTreeMap<String, Instant>,
    stopping: bool,
    housekeeping: Instant,
}

impl Poller {
    pub(super) fn new(
        member: Arc<Member>,
        commands: Receiver<Command>,
        desk: Arc<Desk>,
        options: ConsumerOptions,
        on_lease: OnLease,
    ) -> Result<Self, KafkaFailure> {
        Ok(Poller {
            context: Arc::clone(member.context()),
            rebalances: RebalanceCounts::of(&options.listener),
            commits: Commits::start(options.commit_interval, &member, &desk)?,
            member,
            commands,
            desk,
            options,
            on_lease,
            partitions: Partitions::default(),
            scratch: Vec::with_capacity(CHUNK),
            proven: false,
            complaints: BTreeMap::new(),
            stopping: false,
            housekeeping: Instant::now(),
        })
    }

    /// Until it is told to stop, or cannot go on.
    pub(super) fn run(&mut self) -> Result<(), KafkaFailure> {
        while !(self.stopping && self.partitions.is_empty()) {
            let moved = self.poll_events()? | self.take_notes()? | self.obey() | self.deliver()?;
            let next_seek = self.partitions.seek_on(&self.member);
            self.settle()?;
            self.commits.go_on(&mut self.partitions);
            self.keep_house()?;
            if !moved {
                self.sleep(next_seek);
            }
        }
        Ok(())
    }

    /// Gives everything up and leaves the group. Workers that still run, as after an error, are joined first.
    pub(super) fn close(self) {
        let Poller { member, context, mut partitions, commands, commits, options, .. } = self;
        partitions.end_workers(options.deadline);
        context.close();
        // Queues hold the consumer too, and so do, for a moment, a lookup or the clerk; the last one to go closes it.
        // Where a commit waits for a coordinator that is down, that is the clerk, later: the process may end before.
        drop((partitions, commands, commits));
        let patience = Instant::now() + Duration::from_secs(1);
        while Arc::strong_count(&member) > 1 && Instant::now() < patience {
            thread::sleep(Duration::from_millis(5));
        }
        drop(member);
    }

    /// Serves librdkafka's own queue: rebalances, commits, errors, logs. No records come this way.
    fn poll_events(&mut self) -> Result<bool, KafkaFailure> {
        loop {
            match self.member.poll(Duration::ZERO) {
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    let detail = self.member.client().fatal_error().map(|(_, text)| text);
                    let reason = detail.unwrap_or_else(|| code.to_string());
                    return Err(KafkaFailure::Fatal { group: self.options.group.clone(), reason });
                }
                // Errors are in the notes already, with their reason; a record here is one that no seek asked for.
                Some(Ok(_) | Err(_)) => {}
                None if self.context.was_called() => {}
                None => return Ok(false),
            }
        }
    }

    fn take_notes(&mut self) -> Result<bool, KafkaFailure> {
        let notes = self.context.take();
        let some = !(notes.changes.is_empty() && notes.faults.is_empty());
        for change in notes.changes {
            self.proven |= matches!(change, Change::Assigned(_));
            self.count(&change);
            self.partitions.change(change);
        }
        for fault in notes.faults {
            self.suffer(&fault)?;
        }
        Ok(some)
    }

    /// A change of nothing, as incremental rebalances have them, is none.
    fn count(&self, change: &Change) {
        match change {
            Change::Assigned(partitions) | Change::Revoked { partitions, .. } if partitions.is_empty() => {}
            Change::Assigned(_) => self.rebalances.assigned.increment(1),
            Change::Revoked { lost: false, .. } => self.rebalances.revoked.increment(1),
            Change::Revoked { lost: true, .. } => self.rebalances.lost.increment(1),
        }
    }

    fn obey(&mut self) -> bool {
        let mut some = false;
        while let Ok(command) = self.commands.try_recv() {
            some = true;
            match command {
                Command::Seek { lease, offset, seek, reply } => {
                    self.partitions.seek(&lease, offset, seek, reply)
                }
                Command::Confirm { lease, offset, reply } => self.commits.confirm(lease, offset, reply),
                Command::Committed(answer) => {
                    self.proven |= self.commits.answered(answer, &mut self.partitions);
                }
                Command::Stop { within } => {
                    self.stopping = true;
                    self.partitions.stop(Instant::now() + within);
                }
            }
        }
        some
    }

    fn settle(&mut self) -> Result<(), KafkaFailure> {
        let (on_lease, group) = (&self.on_lease, &self.options.group);
        let start = |lease: Lease| -> Result<JoinHandle<()>, KafkaFailure> {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| on_lease(lease)))
                .map_err(|panic| panicked(group, &*panic))
        };
        let requests: Arc<dyn Requests> = Arc::clone(&self.desk) as Arc<dyn Requests>;
        self.partitions.settle(&self.member, group, self.options.deadline + MARGIN, &requests, &start)
    }

    /// Moves records from librdkafka's queues to the workers'; whether there were any.
    fn deliver(&mut self) -> Result<bool, KafkaFailure> {
        let mut some = false;
        for index in 0..self.partitions.held.len() {
            let slot = &mut self.partitions.held[index];
            let Some(seek) = slot.delivering else { continue };
            slot.full = if slot.full { !slot.source.shared.has_room() } else { slot.source.shared.is_full() };
            if slot.full || !slot.ready.swap(false, Ordering::AcqRel) {
                continue;
            }
            let (bytes, stopped) = fill(slot, &mut self.scratch);
            if !self.scratch.is_empty() {
                some = true;
                let records: Vec<Record> = self.scratch.drain(..).collect();
                if !slot.source.hand_over(seek, records, bytes) {
                    slot.delivering = None; // the worker is gone, and says why itself
                }
            }
            match stopped {
                Stopped::Empty => {}
                Stopped::Full => slot.ready.store(true, Ordering::Release),
                Stopped::Failed => {
                    some = true;
                    slot.ready.store(true, Ordering::Release);
                    self.suffer_at(index)?;
                }
            }
        }
        Ok(some)
    }

    /// An error on a partition's own queue.
    fn suffer_at(&mut self, index: usize) -> Result<(), KafkaFailure> {
        let mut notes = self.context.take();
        let mut here = notes.faults.pop();
        let slot = &mut self.partitions.held[index];
        if let Some(fault) = here.as_ref().filter(|fault| fault.follows() == Follows::Suspicion) {
            tracing::warn!(
                target: "eos::kafka", topic = &*slot.topic, partition = slot.partition, next = slot.next,
                "the log cannot be read there: {}", fault.reason
            );
            slot.delivering = None;
            slot.misplaced = true;
            slot.source.shared.suspect();
        } else {
            if let Some(fault) = here.as_mut().filter(|fault| fault.follows() == Follows::Codec) {
                fault.reason = format!(
                    "{}[{}] holds records compressed with gzip or zstd, which this build cannot read: turn on the \
                     cargo feature `libz` or `zstd` of eos-runtime. The partition waits ({})",
                    slot.topic, slot.partition, fault.reason
                );
            }
            notes.faults.extend(here);
        }
        self.context.give_back(notes);
        Ok(())
    }

    fn suffer(&mut self, fault: &Fault) -> Result<(), KafkaFailure> {
        match fault.follows() {
            Follows::Authentication | Follows::Encryption if !self.proven => {
                fault.as_failure().map_or(Ok(()), Err)
            }
            Follows::Outage | Follows::Authentication | Follows::Encryption => {
                self.desk.cluster.trouble(fault);
                Ok(())
            }
            Follows::Suspicion => {
                self.partitions.held.iter().for_each(|slot| slot.source.shared.suspect());
                Ok(())
            }
            Follows::MissingTopic => {
                self.desk.cluster.look_for_topics(&self.options);
                Ok(())
            }
            Follows::Codec | Follows::Nothing => {
                self.complain(fault);
                Ok(())
            }
        }
    }

    fn complain(&mut self, fault: &Fault) {
        let now = Instant::now();
        let last = self.complaints.insert(fault.code.to_string(), now);
        if last.is_none_or(|last| now >= last + COMPLAINT) {
            let group = &self.options.group;
            tracing::warn!(target: "eos::kafka", group, code = %fault.code, "{}; still trying", fault.reason);
        }
    }

    /// What is looked after once a second.
    fn keep_house(&mut self) -> Result<(), KafkaFailure> {
        let now = Instant::now();
        self.desk.pulse.beat(now);
        if now < self.housekeeping {
            return Ok(());
        }
        self.housekeeping = now + Duration::from_secs(1);
        // A wake-up that was missed costs a second, not the partition.
        self.partitions.held.iter().for_each(|slot| slot.ready.store(true, Ordering::Release));
        self.partitions.check_workers(&self.options.group)
    }

    /// Sleeps until something happens, or is due.
    fn sleep(&self, next_seek: Option<Instant>) {
        let longest = if self.partitions.is_changing() { ENDING } else { IDLE };
        let due = next_seek.map_or(longest, |next| next.saturating_duration_since(Instant::now()));
        thread::park_timeout(longest.min(due));
    }
}

/// Why a chunk ended.
enum Stopped {
    Empty,
    Full,
    Failed,
}

/// Takes what librdkafka has for a partition, up to a chunk.
fn fill(slot: &mut Slot, records: &mut Vec<Record>) -> (usize, Stopped) {
    let (mut count, mut bytes) = (0, 0);
    let stopped = loop {
        if count == CHUNK || bytes >= CHUNK_BYTES {
            break Stopped::Full;
        }
        match slot.queue.poll(Duration::ZERO) {
            Some(Ok(message)) => {
                // After a rebalance librdkafka may begin a little early; what was delivered is not delivered again.
                if message.offset() < slot.next {
                    continue;
                }
                slot.next = message.offset() + 1;
                bytes += copy(&message, &mut slot.copies);
                count += 1;
                if slot.copies.is_full() {
                    slot.copies.close_into(records);
                }
            }
            Some(Err(_)) => break Stopped::Failed,
            None => break Stopped::Empty,
        }
    };
    slot.copies.close_into(records);
    (bytes, stopped)
}
