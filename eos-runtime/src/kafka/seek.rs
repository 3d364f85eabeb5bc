//! Delivery starts at the offset that was asked for, and nowhere else.
//!
//! librdkafka refuses to seek before a partition's fetcher runs, and after it has given up on an offset. The first
//! passes by itself and is asked again; after the second the partition has to be assigned anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::cluster::ANSWER;
use super::partitions::{Member, Partitions, Slot};
use crate::source::{LeaseId, SourceError};

/// How long one call may hold up the poll loop; librdkafka answers in microseconds.
const CALL: Duration = Duration::from_millis(200);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_millis(5);
/// A fetcher that still refuses after this long is started anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// A seek that librdkafka has not accepted yet.
pub(super) struct Seek {
    offset: i64,
    number: u64,
    reply: oneshot::Sender<Result<(), SourceError>>,
    again: Instant,
    renew: Instant,
}

impl Partitions {
    /// Begins a seek; delivery stops at once, and starts again with the seek's number.
    pub(super) fn seek(
        &mut self,
        lease: &LeaseId,
        offset: i64,
        number: u64,
        reply: oneshot::Sender<Result<(), SourceError>>,
    ) {
        let now = Instant::now();
        if let Some(slot) = self.find(lease) {
            slot.delivering = None;
            slot.seek = Some(Seek { offset, number, reply, again: now, renew: now + PATIENCE });
        }
        // Otherwise the reply is dropped, which says `Revoked`.
    }

    /// Goes on with the seeks that are due; says when the next one is.
    pub(super) fn seek_on(&mut self, member: &Arc<Member>) -> Option<Instant> {
        let now = Instant::now();
        for index in 0..self.held.len() {
            let slot = &mut self.held[index];
            let Some(mut seek) = slot.seek.take_if(|seek| seek.again <= now) else { continue };
            if slot.misplaced || now >= seek.renew {
                seek.renew = now + PATIENCE;
                if let Err(error) = self.renew(member, index) {
                    tracing::warn!(target: "eos::kafka", %error, "a partition could not be assigned anew");
                }
            }
            let slot = &mut self.held[index];
            match start_at(member, slot, seek.offset) {
                Ok(()) => slot.deliver(seek),
                Err(error) => {
                    tracing::debug!(
                        target: "eos::kafka", topic = &*slot.topic, partition = slot.partition, %error,
                        "the seek is not accepted yet"
                    );
                    seek.again = now + AGAIN;
                    slot.seek = Some(seek);
                }
            }
        }
        self.held.iter().filter_map(|slot| slot.seek.as_ref()).map(|seek| seek.again).min()
    }

    /// Assigns a partition anew, paused. Under the eager protocol that goes for all of them at once.
    fn renew(&mut self, member: &Member, index: usize) -> KafkaResult<()> {
        let slot = &mut self.held[index];
        slot.misplaced = false;
        let one = slot.list(Offset::Offset(0))?;
        member.pause(&one)?;
        match member.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                member.incremental_unassign(&one)?;
                member.incremental_assign(&one)
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => {
                let mut all = TopicPartitionList::with_capacity(self.held.len());
                for slot in &self.held {
                    let offset = if slot.delivering.is_some() { slot.next } else { 0 };
                    all.add_partition_offset(&slot.topic, slot.partition, Offset::Offset(offset))?;
                }
                member.assign(&all)
            }
        }
    }
}

impl Slot {
    fn deliver(&mut self, seek: Seek) {
        self.delivering = Some(seek.number);
        self.next = seek.offset;
        self.full = false;
        self.ready.store(true, Ordering::Release);
        if seek.reply.send(Ok(())).is_err() {
            // The worker asked again, or is gone; either way a newer request or a revocation follows.
            self.delivering = None;
        }
    }
}

/// Puts the fetcher at `offset`, lets it run, and wakes it.
///
/// The wake-up is not idle: `resume` alone leaves librdkafka's broker thread asleep for up to a second. A seek of a
/// running partition wakes it, except to offset 0, where any request to the same broker has to do.
fn start_at(member: &Arc<Member>, slot: &Slot, offset: i64) -> KafkaResult<()> {
    let mut list = slot.list(Offset::Offset(offset))?;
    list = accepted(member.seek_partitions(list, CALL)?)?;
    member.resume(&list)?;
    list = accepted(list)?;
    if offset > 0 {
        accepted(member.seek_partitions(list, CALL)?)?;
    } else {
        poke(Arc::clone(member), Arc::clone(&slot.topic), slot.partition);
    }
    Ok(())
}

/// Asks a partition's leader something, anything. Waited for elsewhere, and long enough: librdkafka would drop the
/// connection over a request that times out.
fn poke(member: Arc<Member>, topic: Arc<str>, partition: i32) {
    tokio::task::spawn_blocking(move || member.fetch_watermarks(&topic, partition, ANSWER).map(drop));
}

fn accepted(list: TopicPartitionList) -> KafkaResult<TopicPartitionList> {
    list.elements().iter().try_for_each(|element| element.error())?;
    Ok(list)
}
