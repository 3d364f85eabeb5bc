//! A partition whose keys are handled side by side: at least once, and in order for each key.
//!
//! [`Order`] says which record may be begun. Each record in hand is handled in a task of its own, in the way of every plain or
//! idempotent listener ([`Worker`]): its attempts, its waits between them, its way to the dead letters are its own, and its
//! key waits for it. The offset follows the lowest record that is not done; what was done above it is handled again by
//! whoever takes the partition next.
//!
//! The worker of the partition starts the tasks and joins them: before it stops, gives the partition up or looks at the log
//! anew it begins no other, ends their waits, and lets the handlers that run come to their ends. Where it is aborted, they are.

mod order;
#[cfg(test)]
mod tests;

use std::future::pending;
use std::sync::Arc;

use tokio::task::JoinSet;

use self::order::Order;
use super::board::Post;
use super::joined::joined;
use super::owner::Halt;
use super::plain::{Halted, Worker};
use super::queue::{Partition, Queue};
use super::watchdog::Running;
use super::work::Work;
use crate::fault;
use crate::listener::spec::PlainHandler;
use crate::record::Record;
use crate::source::{Place, Revocation};

/// Handles what comes of a partition; `None` where the log has to be looked at again.
pub(super) async fn until_halt(work: &Arc<Work>, queue: &mut Queue, handler: PlainHandler) -> Option<Halted> {
    let mut order = Order::new(work.hands.into());
    let mut hands = Hands::new(work, queue, handler);
    let halted = work_off(&mut order, &mut hands, queue).await;
    hands.rest();
    while !hands.at_work.is_empty() {
        let ended = hands.ended().await;
        if let Err((Halt::Stop(why), offset)) = settle(&mut order, queue, &ended.record, ended.outcome) {
            tracing::debug!(listener = %work.id, offset, %why, "another record would have stopped the partition as well");
        }
    }
    halted
}

async fn work_off(order: &mut Order, hands: &mut Hands, queue: &mut Queue) -> Option<Halted> {
    let revoked = queue.lease.revoked.clone();
    let suspicion = queue.lease.suspicion();
    loop {
        while order.has_room()
            && let Some(record) = queue.try_next()
        {
            order.take(record);
        }
        if revoked.is_cancelled() {
            return Some((Halt::Revoked, None));
        }
        if queue.lease.is_orphaned() {
            return None;
        }
        while let Some(record) = order.begin() {
            hands.begin(record);
        }
        tokio::select! {
            biased;
            () = revoked.cancelled() => return Some((Halt::Revoked, None)),
            ended = hands.ended() => {
                let Ended { running, record, outcome } = ended;
                hands.idle.push(running);
                if let Err((halt, offset)) = settle(order, queue, &record, outcome) {
                    return Some((halt, Some(offset)));
                }
            }
            () = suspicion.notified() => return None,
            record = queue.next(), if order.has_room() => match record {
                Some(record) => order.take(record),
                None => return Some((Halt::Revoked, None)),
            },
        }
    }
}

/// A record has left its hand: the offset follows the lowest that is not done.
fn settle(
    order: &mut Order,
    queue: &Queue,
    record: &Record,
    outcome: Result<(), Halt>,
) -> Result<(), (Halt, i64)> {
    outcome.map_err(|halt| (halt, record.offset()))?;
    fault::point("parallel_after_done");
    if let Some(next) = order.done(record) {
        queue.lease.committed(next);
    }
    queue.post.is_well();
    Ok(())
}

/// Those who handle a partition's records, each one at a time.
struct Hands {
    shared: Arc<Shared>,
    /// Those that have a record; joined by [`Hands::ended`], or aborted with the worker.
    at_work: JoinSet<Ended>,
    /// What the watchdog knows the others by.
    idle: Vec<Arc<Running>>,
}

/// What the hands of a partition share.
struct Shared {
    work: Arc<Work>,
    handler: PlainHandler,
    /// The worker's, but for its revocation, which ends their waits and is the worker's to tell.
    place: Place,
    post: Arc<Post>,
}

/// A record has left its hand.
struct Ended {
    running: Arc<Running>,
    record: Record,
    outcome: Result<(), Halt>,
}

impl Hands {
    fn new(work: &Arc<Work>, queue: &Queue, handler: PlainHandler) -> Self {
        let shared = Shared {
            work: Arc::clone(work),
            handler,
            place: Place { revoked: Revocation::default(), ..queue.place().clone() },
            post: Arc::clone(queue.post()),
        };
        Hands { shared: Arc::new(shared), at_work: JoinSet::new(), idle: Vec::new() }
    }

    /// One of them takes a record.
    fn begin(&mut self, record: Record) {
        let running = self.idle.pop().unwrap_or_else(|| {
            let Shared { work, place, .. } = &*self.shared;
            work.watchdog.watch(work, &place.topic, place.partition)
        });
        self.at_work.spawn(handle(Arc::clone(&self.shared), running, record));
    }

    /// The next record that leaves its hand; waits for ever while none is in hand.
    ///
    /// # Cancel safety
    /// Cancel safe: what has ended is either returned or still there.
    async fn ended(&mut self) -> Ended {
        match self.at_work.join_next().await.and_then(joined) {
            Some(ended) => ended,
            None => pending().await,
        }
    }

    /// No attempt is waited for any more; those that run come to their ends.
    fn rest(&self) {
        self.shared.place.revoked.cancel();
    }
}

async fn handle(shared: Arc<Shared>, running: Arc<Running>, record: Record) -> Ended {
    let outcome = {
        let mut worker = Worker::new(&shared.work, shared.handler, Arc::clone(&running));
        worker.handle(&mut &*shared, &record).await
    };
    Ended { running, record, outcome }
}

impl Partition for &Shared {
    fn place(&self) -> &Place {
        &self.place
    }

    fn post(&self) -> &Arc<Post> {
        &self.post
    }

    /// Another hand may have it by then.
    fn try_next(&mut self) -> Option<Record> {
        None
    }
}
