//! What is assigned, what is being given up, and the answers that librdkafka waits for.
//!
//! An assigned partition starts paused and nowhere: no offset of Kafka's decides where reading begins, the worker's
//! seek does. A revoked one is given up in order: its token is cancelled, its worker ends the attempt in flight (or is
//! aborted when it takes too long, which rolls it back), what was committed is told to Kafka, and only then librdkafka
//! hears `unassign`. Polling goes on all the while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::JoinHandle;

use super::context::{Change, Context};
use super::failure::KafkaFailure;
use super::seek::Seek;
use crate::record::Copies;
use crate::source::{Lease, LeaseId, LeaseSource, Requests};

/// A group member.
pub(super) type Member = BaseConsumer<Context>;

/// How long an aborted worker may take to roll back.
const ABORT_GRACE: Duration = Duration::from_secs(2);
/// How long the last offset of a partition that is given up may take to be acknowledged.
const COMMIT_GRACE: Duration = Duration::from_secs(1);
/// Assigned partitions start here, paused, until their worker seeks. An absolute offset, on purpose: for a logical one
/// (END, say) librdkafka asks the broker, and when the worker's seek overtakes the answer, librdkafka takes that
/// answer for outdated, asks again half a second later and *moves the partition to the log's end* (2.12,
/// `rd_kafka_toppar_handle_Offset`): records would be skipped in silence.
const NOWHERE: Offset = Offset::Offset(0);

/// A partition that is assigned, or was.
pub(super) struct Slot {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) assignment: u64,
    pub(super) source: LeaseSource,
    worker: Option<JoinHandle<()>>,
    /// Its own queue within librdkafka: left alone it fills up and fetching stops, so nothing is paused (which would
    /// throw away what was fetched ahead) because a handler is slow.
    pub(super) queue: PartitionQueue<Context>,
    /// Whether that queue may hold something; set by librdkafka's threads.
    pub(super) ready: Arc<AtomicBool>,
    /// The seek whose records are delivered; `None` until there was one, and while a new one is under way.
    pub(super) delivering: Option<u64>,
    pub(super) copies: Copies,
    /// The offset after the last one delivered: librdkafka may hand out a record again after a rebalance.
    pub(super) next: i64,
    /// Held back until the worker has caught up.
    pub(super) full: bool,
    pub(super) seek: Option<Seek>,
    /// librdkafka has stopped fetching for good (`auto.offset.reset=error`); it has to be assigned anew.
    pub(super) misplaced: bool,
    /// What Kafka has acknowledged.
    pub(super) told: Option<i64>,
}

/// A partition on its way out.
struct Leaving {
    slot: Slot,
    /// The group has given it to somebody already, so no offset is committed.
    lost: bool,
    stage: Stage,
}

enum Stage {
    Working { abort_at: Instant },
    Aborted { until: Instant },
    Committing { until: Instant },
    Done,
}

/// Everything this member holds.
#[derive(Default)]
pub(super) struct Partitions {
    pub(super) held: Vec<Slot>,
    leaving: Vec<Leaving>,
    /// Rebalances that wait for their turn; one is answered at a time, in order.
    changes: VecDeque<Change>,
    /// The revocation whose workers are ending.
    owed: Option<Vec<(String, i32)>>,
    assignments: u64,
    stopping: bool,
}

impl Slot {
    pub(super) fn is(&self, lease: &LeaseId) -> bool {
        self.assignment == lease.assignment && self.partition == lease.partition && self.topic == lease.topic
    }

    pub(super) fn lease(&self) -> LeaseId {
        LeaseId { topic: Arc::clone(&self.topic), partition: self.partition, assignment: self.assignment }
    }

    /// What Kafka does not know yet.
    pub(super) fn untold(&self) -> Option<i64> {
        let committed = self.source.shared.committed();
        committed.filter(|_| committed != self.told && !self.source.shared.is_orphaned())
    }

    pub(super) fn list(&self, offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, self.partition, offset)?;
        Ok(list)
    }

    /// Whether the worker is gone; its panic is ours.
    fn worker_ended(&mut self, group: &str) -> Result<bool, KafkaFailure> {
        let Some(worker) = &mut self.worker else { return Ok(true) };
        let Some(outcome) = worker.now_or_never() else { return Ok(false) };
        self.worker = None;
        match outcome {
            Err(error) if error.is_panic() => Err(panicked(group, &*error.into_panic())),
            Ok(()) | Err(_) => Ok(true),
        }
    }
}

impl Partitions {
    /// Takes up what the group wants.
    pub(super) fn change(&mut self, change: Change) {
        self.changes.push_back(change);
    }

    /// Everything goes: the process stops. Rebalances are still answered.
    pub(super) fn stop(&mut self, abort_at: Instant) {
        self.stopping = true;
        let all: Vec<_> = self.held.iter().map(|slot| (slot.topic.to_string(), slot.partition)).collect();
        self.let_go(&all, false, abort_at);
        for leaving in &mut self.leaving {
            if let Stage::Working { abort_at: at } = &mut leaving.stage {
                *at = abort_at.min(*at);
            }
        }
    }

    /// Nothing is held any more and nobody waits for an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && !self.is_changing()
    }

    /// A rebalance is being answered, or workers are ending.
    pub(super) fn is_changing(&self) -> bool {
        !self.leaving.is_empty() || !self.changes.is_empty() || self.owed.is_some()
    }

    /// The slot of a lease that still stands.
    pub(super) fn find(&mut self, lease: &LeaseId) -> Option<&mut Slot> {
        self.held.iter_mut().find(|slot| slot.is(lease))
    }

    /// Every slot for which an offset may still be committed.
    pub(super) fn committing(&mut self) -> impl Iterator<Item = &mut Slot> {
        let leaving =
            self.leaving.iter_mut().filter(|leaving| !leaving.lost).map(|leaving| &mut leaving.slot);
        self.held.iter_mut().chain(leaving)
    }

    /// Whether a partition's last offset is waiting to be told.
    pub(super) fn is_in_a_hurry(&self) -> bool {
        self.leaving.iter().any(|leaving| matches!(leaving.stage, Stage::Committing { .. }))
    }

    /// Brings every change as far as it goes without waiting.
    pub(super) fn settle(
        &mut self,
        member: &Arc<Member>,
        group: &str,
        deadline: Duration,
        requests: &Arc<dyn Requests>,
        start: &dyn Fn(Lease) -> Result<JoinHandle<()>, KafkaFailure>,
    ) -> Result<(), KafkaFailure> {
        loop {
            self.settle_leaving(group)?;
            if let Some(owed) = self.owed.take() {
                if self.leaving.iter().any(|leaving| contains(&owed, &leaving.slot)) {
                    self.owed = Some(owed);
                    return Ok(());
                }
                unassign(member, &owed).map_err(|error| refused(group, &error.to_string()))?;
            }
            match self.changes.pop_front() {
                None => return Ok(()),
                Some(Change::Revoked { partitions, lost }) => {
                    tracing::info!(target: "eos::kafka", group, lost, partitions = %show(&partitions), "revoked");
                    self.let_go(&partitions, lost, Instant::now() + deadline);
                    self.owed = Some(partitions);
                }
                Some(Change::Assigned(partitions)) => {
                    tracing::info!(target: "eos::kafka", group, partitions = %show(&partitions), "assigned");
                    self.take_up(member, group, &partitions, requests, start)
                        .map_err(|error| error.unwrap_or_else(|error| refused(group, &error.to_string())))?;
                }
            }
        }
    }

    /// Looks for workers that ended though nothing was revoked: their partitions would be held and not consumed.
    pub(super) fn check_workers(&mut self, group: &str) -> Result<(), KafkaFailure> {
        for slot in &mut self.held {
            // The second time that it is found so: the first may come just before its revocation.
            let was_gone = slot.worker.is_none();
            if slot.worker_ended(group)? && was_gone && !slot.source.revoked.is_cancelled() {
                return Err(unattended(group, &slot.topic, slot.partition));
            }
        }
        Ok(())
    }

    /// Ends every worker without a word to the group; blocks.
    pub(super) fn end_workers(&mut self, deadline: Duration) {
        self.stop(Instant::now() + deadline);
        self.leaving.iter_mut().for_each(|leaving| leaving.lost = true);
        // A second panic adds nothing to the error that brought us here.
        while !self.leaving.is_empty() && self.settle_leaving("").is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn settle_leaving(&mut self, group: &str) -> Result<(), KafkaFailure> {
        let now = Instant::now();
        for leaving in &mut self.leaving {
            let untold = leaving.slot.untold().is_some() && !leaving.lost;
            let ended = if untold { Stage::Committing { until: now + COMMIT_GRACE } } else { Stage::Done };
            match leaving.stage {
                Stage::Working { abort_at } => {
                    if leaving.slot.worker_ended(group)? {
                        leaving.stage = ended;
                    } else if now >= abort_at {
                        tracing::warn!(
                            target: "eos::kafka", group, topic = &*leaving.slot.topic,
                            partition = leaving.slot.partition,
                            "the attempt in flight outlasted its deadline; it is dropped and rolls back"
                        );
                        leaving.slot.worker.as_ref().inspect(|worker| worker.abort());
                        leaving.stage = Stage::Aborted { until: now + ABORT_GRACE };
                    }
                }
                Stage::Aborted { until } => {
                    if leaving.slot.worker_ended(group)? || now >= until {
                        leaving.stage = ended;
                    }
                }
                Stage::Committing { until } if !untold || now >= until => leaving.stage = Stage::Done,
                Stage::Committing { .. } | Stage::Done => {}
            }
        }
        self.leaving.retain(|leaving| !matches!(leaving.stage, Stage::Done));
        Ok(())
    }

    fn let_go(&mut self, partitions: &[(String, i32)], lost: bool, abort_at: Instant) {
        for index in (0..self.held.len()).rev() {
            if contains(partitions, &self.held[index]) {
                let mut slot = self.held.swap_remove(index);
                slot.source.revoked.cancel();
                slot.delivering = None;
                slot.seek = None;
                self.leaving.push(Leaving { slot, lost, stage: Stage::Working { abort_at } });
            }
        }
        for leaving in &mut self.leaving {
            leaving.lost |= lost && contains(partitions, &leaving.slot);
        }
    }

    fn take_up(
        &mut self,
        member: &Arc<Member>,
        group: &str,
        partitions: &[(String, i32)],
        requests: &Arc<dyn Requests>,
        start: &dyn Fn(Lease) -> Result<JoinHandle<()>, KafkaFailure>,
    ) -> Result<(), Result<KafkaFailure, rdkafka::error::KafkaError>> {
        self.assignments += 1;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        let mut queues = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition_offset(topic, *partition, NOWHERE).map_err(Err)?;
            // The queue first: it makes librdkafka know the partition, so that it can be paused before it starts.
            queues.push(open_queue(member, topic, *partition));
        }
        member.pause(&list).map_err(Err)?;
        assign(member, &list).map_err(Err)?;
        if self.stopping {
            return Ok(());
        }
        for ((topic, partition), (queue, ready)) in partitions.iter().zip(queues) {
            let partition = *partition;
            let queue = queue.ok_or_else(|| Ok(unattended(group, topic, partition)))?;
            let topic: Arc<str> = Arc::from(topic.as_str());
            let (lease, source) =
                Lease::new(Arc::clone(&topic), partition, self.assignments, Arc::clone(requests));
            let worker = Some(start(lease).map_err(Ok)?);
            let assignment = self.assignments;
            let copies = Copies::new(Arc::clone(&topic), partition);
            self.held.push(Slot {
                topic,
                partition,
                assignment,
                source,
                worker,
                queue,
                ready,
                delivering: None,
                copies,
                next: 0,
                full: false,
                seek: None,
                misplaced: false,
                told: None,
            });
        }
        Ok(())
    }
}

fn open_queue(
    member: &Arc<Member>,
    topic: &str,
    partition: i32,
) -> (Option<PartitionQueue<Context>>, Arc<AtomicBool>) {
    let ready = Arc::new(AtomicBool::new(false));
    let mut queue = member.split_partition_queue(topic, partition);
    if let Some(queue) = &mut queue {
        let (ready, poller) = (Arc::clone(&ready), std::thread::current());
        queue.set_nonempty_callback(move || {
            ready.store(true, Ordering::Release);
            poller.unpark();
        });
    }
    (queue, ready)
}

pub(super) fn assign(member: &Member, list: &TopicPartitionList) -> KafkaResult<()> {
    match member.rebalance_protocol() {
        RebalanceProtocol::Cooperative => member.incremental_assign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => member.assign(list),
    }
}

fn unassign(member: &Member, partitions: &[(String, i32)]) -> KafkaResult<()> {
    match member.rebalance_protocol() {
        RebalanceProtocol::Cooperative => {
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for (topic, partition) in partitions {
                list.add_partition(topic, *partition);
            }
            member.incremental_unassign(&list)
        }
        RebalanceProtocol::Eager | RebalanceProtocol::None => member.unassign(),
    }
}

fn contains(partitions: &[(String, i32)], slot: &Slot) -> bool {
    partitions.iter().any(|(topic, partition)| *partition == slot.partition && **topic == *slot.topic)
}

fn show(partitions: &[(String, i32)]) -> String {
    let names: Vec<_> = partitions.iter().map(|(topic, partition)| format!("{topic}/{partition}")).collect();
    names.join(", ")
}

fn refused(group: &str, reason: &str) -> KafkaFailure {
    KafkaFailure::Fatal { group: group.to_owned(), reason: format!("an assignment was refused: {reason}") }
}

fn unattended(group: &str, topic: &str, partition: i32) -> KafkaFailure {
    KafkaFailure::Unattended { group: group.to_owned(), topic: topic.to_owned(), partition }
}

/// A panic as a failure.
pub(super) fn panicked(group: &str, panic: &(dyn std::any::Any + Send)) -> KafkaFailure {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message =
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned());
    KafkaFailure::Panicked { group: group.to_owned(), message }
}
