//! One lane: read, send, delete, round and round, until it is asked to be quiet.
//!
//! While a batch is on its way, the next is read, and what left before is deleted, in one deletion at a time.
//! An entry that is refused alone is marked in its row, and holds its key; everything of that key that was read already
//! goes back. When the task has ended quietly, all that it sent is deleted, and nothing is on its way.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::RelayOptions;
use super::batch::{self, Batch, Next};
use super::marker::Marked;
use super::reader::Reader;
use super::sender::{Sender, Unsent};
use crate::fault;
use crate::kafka::{ClientOptions, Fate, NotSent, Topics};
use crate::metrics::RelayCounts;
use crate::settings::Delivery;
use crate::store::{Afterwards, Refusal, RelayDialect, Sent, Slot, Store, Waiting};

/// How soon a lane looks by itself after it found nothing, and how rarely in the end.
const SOON: Duration = Duration::from_millis(20);
const RARELY: Duration = Duration::from_secs(1);

/// More than this is not kept in mind for the next deletion: the database is slower than Kafka.
const WAIT_ABOVE: usize = 10_000;

/// What the lanes of a relay share.
pub(super) struct Setting {
    pub(super) client: ClientOptions,
    pub(super) topics: Topics,
    pub(super) options: RelayOptions,
    pub(super) database_id: String,
    pub(super) counts: RelayCounts,
}

/// A lane that is worked on.
pub(super) struct Lane<D: RelayDialect> {
    pub(super) store: Arc<Store<D>>,
    pub(super) setting: Arc<Setting>,
    pub(super) slots: Range<Slot>,
    /// Somebody committed.
    pub(super) wake: Arc<Notify>,
    /// Until when the lease holds, as far as is known.
    pub(super) lease: watch::Receiver<Instant>,
    /// To end, with nothing on its way.
    pub(super) quiet: CancellationToken,
}

/// A lane cannot go on; whoever owns it begins again.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) String);

impl<D: RelayDialect> Lane<D> {
    /// Works until it is to be quiet.
    pub(super) async fn run(self) -> Result<(), Trouble> {
        let options = &self.setting.options;
        let reader = Reader::new(Arc::clone(&self.store), self.slots.clone(), options.on_undeliverable);
        let mut work = Work {
            lane: &self,
            reader,
            queue: VecDeque::new(),
            sender: None,
            deletion: None,
            left: Vec::new(),
            alone: 0,
            idle: SOON,
        };
        let outcome = work.until_quiet().await;
        work.deleted().await;
        if let Some(sender) = work.sender.take() {
            sender.close().await;
        }
        outcome
    }
}

/// A lane and all that it holds.
struct Work<'l, D: RelayDialect> {
    lane: &'l Lane<D>,
    reader: Reader<D>,
    /// Read and not sent yet, in order.
    queue: VecDeque<Waiting>,
    sender: Option<Sender>,
    /// The deletion that is under way, and of what.
    deletion: Option<(AbortOnDropHandle<()>, Vec<Sent>)>,
    /// What has left since it began.
    left: Vec<Sent>,
    /// So many entries are sent one by one: one of them was refused.
    alone: usize,
    idle: Duration,
}

impl<D: RelayDialect> Work<'_, D> {
    async fn until_quiet(&mut self) -> Result<(), Trouble> {
        while !self.lane.quiet.is_cancelled() {
            if self.queue.is_empty() {
                self.look().await?;
            }
            if self.queue.is_empty() {
                self.deleted().await;
                self.wait().await;
                continue;
            }
            fault::point("relay_after_select");
            self.idle = SOON;
            if !self.lease_holds().await {
                break;
            }
            if !self.has_sender().await? {
                continue;
            }
            let setting = Arc::clone(&self.lane.setting);
            match batch::next(&mut self.queue, &setting.topics, self.alone > 0).await {
                Ok(Next::Send(batch)) => self.send(batch).await?,
                Ok(Next::Refuse(unfit)) => self.refuse(unfit.waiting, unfit.refusal, &unfit.why).await?,
                Ok(Next::Nothing) => {}
                Err(why) => return Err(Trouble(why)),
            }
        }
        Ok(())
    }

    /// Reads what waits into the queue.
    async fn look(&mut self) -> Result<(), Trouble> {
        let found = self.reader.look().await.map_err(|error| Trouble(error.to_string()))?;
        self.queue.extend(found);
        Ok(())
    }

    /// Nothing waits: until somebody commits, or it is time to look all the same.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.lane.quiet.cancelled() => {}
            () = self.lane.wake.notified() => self.idle = SOON,
            () = tokio::time::sleep(self.idle) => self.idle = (self.idle * 2).min(RARELY),
        }
    }

    /// Waits where the lease has run out as far as this process knows, as after a sleep; false where it is to end.
    async fn lease_holds(&mut self) -> bool {
        let mut lease = self.lane.lease.clone();
        tokio::select! {
            () = self.lane.quiet.cancelled() => false,
            held = lease.wait_for(|until| Instant::now() < *until) => held.is_ok(),
        }
    }

    /// A producer that fits; false where entries that were published before had to be deleted first.
    async fn has_sender(&mut self) -> Result<bool, Trouble> {
        let setting = &self.lane.setting;
        if let Some(sender) = self.sender.take_if(|sender| sender.is_outdated(setting)) {
            sender.close().await;
        }
        if self.sender.is_some() {
            return Ok(true);
        }
        match setting.options.delivery {
            Delivery::AtLeastOnce => {
                self.sender = Some(Sender::at_least_once(setting).map_err(Trouble)?);
                Ok(true)
            }
            Delivery::ExactlyOnce => {
                let (sender, published) =
                    Sender::exactly_once(setting, self.lane.slots.start).await.map_err(Trouble)?;
                self.sender = Some(sender);
                self.deleted().await;
                if published.is_empty() {
                    return Ok(true);
                }
                let seqs: Vec<i64> = published.iter().map(|marked| marked.seq).collect();
                let there =
                    D::find(&self.lane.store, &seqs).await.map_err(|error| Trouble(error.to_string()))?;
                self.delete(there.into_iter().filter(|sent| published.contains(&Marked::of(sent))).collect());
                self.deleted().await;
                fault::point("relay_after_recovery");
                // What was read may be among it.
                self.give_back_all();
                Ok(false)
            }
        }
    }

    async fn send(&mut self, mut batch: Batch) -> Result<(), Trouble> {
        let Some(sender) = self.sender.take() else { return Ok(()) };
        let most = sender.entries_at_most();
        if batch.entries.len() > most {
            for ready in batch.entries.drain(most..).rev() {
                self.queue.push_front(ready.waiting);
            }
        }
        self.alone = self.alone.saturating_sub(batch.entries.len());
        let ahead = self.queue.is_empty() && self.reader.was_full(batch.entries.len());
        let (before, removed) = match self.deletion.take_if(|_| sender.is_transactional()) {
            Some((handle, sent)) => (Some(handle), sent),
            None => (None, Vec::new()),
        };
        let sending = sender.send(&batch, async {
            if let Some(handle) = before {
                // It ends when the entries are deleted; it panics only where the runtime ends.
                drop(handle.await);
            }
        });
        let looking = async { if ahead { Some(self.reader.look().await) } else { None } };
        // The look first: its query is on its way while the records are handed over.
        let (found, sent) = tokio::join!(looking, sending);
        self.sender = Some(sender);
        self.reader.let_go(removed.iter().map(|sent| &sent.seq));
        match found {
            Some(Ok(found)) => self.queue.extend(found),
            // It is said at the next look, which is not one ahead.
            Some(Err(error)) => tracing::debug!(%error, "looking ahead failed"),
            None => {}
        }
        match sent {
            Ok(()) => {
                let created = batch.entries.iter().map(|ready| ready.waiting.created);
                self.lane.setting.counts.acknowledged(created);
                self.published(batch.sent());
                if self.left.len() > WAIT_ABOVE {
                    self.deleted().await;
                }
                Ok(())
            }
            Err(Unsent::Some(failures)) => self.not_sent(batch, &failures, true).await,
            Err(Unsent::Nothing(failures)) => self.not_sent(batch, &failures, false).await,
            Err(Unsent::Lost(why)) => Err(Trouble(why)),
        }
    }

    /// These are in Kafka.
    fn published(&mut self, sent: Vec<Sent>) {
        self.lane.setting.counts.published.add(sent.len() as u64);
        self.delete(sent);
    }

    /// Some did not leave. Alone, an entry is refused or there is an outage; among others nobody knows whose fault it was,
    /// and each of them is tried alone.
    async fn not_sent(
        &mut self,
        batch: Batch,
        failures: &[NotSent],
        others_left: bool,
    ) -> Result<(), Trouble> {
        let alone = batch.entries.len() == 1;
        let refused = failures.iter().any(|failure| failure.fate() == Fate::Refused);
        let codes = failures.first().map(|failure| failure.code);
        let of_topic = failures.first().is_some_and(NotSent::is_of_topic);
        let refusal = if of_topic { Refusal::Topic } else { Refusal::Record };
        let failed = |index: usize| !others_left || failures.iter().any(|failure| failure.index == index);
        let (mut back, mut left) = (Vec::new(), Vec::new());
        for (index, ready) in batch.entries.into_iter().enumerate() {
            if failed(index) { back.push(ready.waiting) } else { left.push(ready.waiting.sent()) }
        }
        if !left.is_empty() {
            self.published(left);
        }
        if alone && refused {
            for waiting in back {
                self.lane.setting.topics.forget(&waiting.topic);
                let why = codes.map_or_else(String::new, |code| code.to_string());
                self.refuse(waiting, refusal, &why).await?;
            }
            return Ok(());
        }
        if refused {
            self.alone = back.len();
        }
        for waiting in back.into_iter().rev() {
            self.queue.push_front(waiting);
        }
        if !refused && let Some(code) = codes {
            return Err(Trouble(code.to_string()));
        }
        Ok(())
    }

    /// Marks an entry that was refused alone, and leaves out what waits behind it.
    async fn refuse(&mut self, waiting: Waiting, refusal: Refusal, why: &str) -> Result<(), Trouble> {
        tracing::error!(
            seq = waiting.seq,
            id = &*waiting.id,
            topic = &*waiting.topic,
            key = waiting.aggregate_id,
            event = &*waiting.type_name,
            why,
            "an entry of the outbox was refused; later ones of its key wait (see `[outbox] on_undeliverable`); mend what \
             is wrong, then `eos_runtime::outbox::retry` or `discard` it"
        );
        D::refuse(&self.lane.store, waiting.seq, refusal, why)
            .await
            .map_err(|error| Trouble(error.to_string()))?;
        self.lane.setting.counts.refused.one();
        self.reader.let_go([&waiting.seq]);
        if let Some(key) = &waiting.aggregate_id {
            self.reader.hold(key);
        }
        let queue = std::mem::take(&mut self.queue).into_iter();
        let (held, go_on): (Vec<_>, Vec<_>) = queue.partition(|waiting| self.reader.holds(waiting));
        self.queue = go_on.into();
        self.reader.let_go(held.iter().map(|waiting| &waiting.seq));
        Ok(())
    }

    /// Has entries deleted, or marked; one deletion is under way at a time, and what comes meanwhile goes with the next.
    fn delete(&mut self, sent: Vec<Sent>) {
        self.left.extend(sent);
        if let Some((handle, sent)) = self.deletion.take_if(|(handle, _)| handle.is_finished()) {
            drop(handle);
            self.reader.let_go(sent.iter().map(|sent| &sent.seq));
        }
        if self.deletion.is_none() && !self.left.is_empty() {
            self.begin_deletion();
        }
    }

    /// It goes on as long as it takes.
    fn begin_deletion(&mut self) {
        fault::point("relay_before_delete");
        let (store, options) = (Arc::clone(&self.lane.store), &self.lane.setting.options);
        let afterwards = if options.keep.is_some() { Afterwards::Keep } else { Afterwards::Delete };
        let these = std::mem::take(&mut self.left);
        let sent = these.clone();
        let deleting = tokio::spawn(async move {
            let mut wait = Duration::from_millis(50);
            while let Err(error) = D::left(&store, &these, afterwards).await {
                tracing::warn!(%error, "what was published cannot be deleted from the outbox; trying on");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
            fault::point("relay_after_delete");
        });
        self.deletion = Some((AbortOnDropHandle::new(deleting), sent));
    }

    /// Waits until all that has left is deleted.
    async fn deleted(&mut self) {
        loop {
            if let Some((handle, sent)) = self.deletion.take() {
                drop(handle.await);
                self.reader.let_go(sent.iter().map(|sent| &sent.seq));
            }
            if self.left.is_empty() {
                return;
            }
            self.begin_deletion();
        }
    }

    /// Everything in the queue is read again.
    fn give_back_all(&mut self) {
        let queue = std::mem::take(&mut self.queue);
        self.reader.let_go(queue.iter().map(|waiting| &waiting.seq));
        self.reader.start_over();
    }
}
