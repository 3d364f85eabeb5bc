//! One batch to Kafka, and what is known of it afterwards.
//!
//! **At least once**: an idempotent producer; a batch has left when the brokers have acknowledged it on all replicas.
//! Whoever takes the lane of an owner that died sends again what that one had not deleted, under the same ids.
//!
//! **Exactly once**: each batch is a Kafka transaction of the lane's own `transactional.id`, with a marker as its last
//! record that says which entries it published. The order, in which each step is needed:
//!
//! 1. `init_transactions`: fences every earlier owner of the lane, and ends what it had begun;
//! 2. read the last marker, read_committed, up to the end as it is *after* that;
//! 3. delete the entries that it names: they are published, and their owner may have died before it deleted them;
//! 4. select, leaving out entries whose deletion is under way;
//! 5. send them, the marker last;
//! 6. await the deletion of the batch before: the next marker will not name it any more;
//! 7. commit; then delete.
//!
//! | the owner dies, or sleeps for a minute, | then |
//! |---|---|
//! | before the commit (1 to 6) | the transaction is aborted by the next owner's 1, and nobody reads of it |
//! | with the commit on its way | 1 waits for the coordinator to have finished it, or aborts it: 2 sees which |
//! | after the commit, before the deletion | 2 and 3 delete what was published |
//! | and wakes up | its producer is fenced: nothing that it sends is read, and its deletions are of what was published |
//!
//! A transaction whose commit is in doubt is never aborted: the producer is thrown away, and the lane begins at 1.

use std::borrow::Cow;

use bytes::Bytes;

use super::batch::Batch;
use super::lane::Setting;
use super::marker::{MARKED_BYTES, Marked, read_marker, write_marker};
use super::shares::GRAIN;
use crate::fault;
use crate::kafka::{NotSent, Outgoing, Producer, ProducerOptions, TransactionError, last_marker};
use crate::store::{SLOTS, Slot};

/// A partition for each lane that there can be.
const PARTITIONS: i32 = (SLOTS / GRAIN) as i32;

/// A producer and what it keeps.
pub(super) struct Sender {
    producer: Producer,
    markers: Option<Markers>,
    /// What it was made for.
    batch_bytes: usize,
}

/// Where a lane's markers are.
struct Markers {
    topic: String,
    partition: i32,
    /// How large one may be.
    max_bytes: usize,
}

/// Why a batch did not leave as a whole.
#[derive(Debug)]
pub(super) enum Unsent {
    /// These did not; the others are there.
    Some(Vec<NotSent>),
    /// Nothing of it is there, because of these.
    Nothing(Vec<NotSent>),
    /// The producer is of no more use, and nobody knows about the batch.
    Lost(String),
}

impl Sender {
    /// A producer without transactions.
    pub(super) fn at_least_once(setting: &Setting) -> Result<Self, String> {
        let batch_bytes = setting.topics.smallest_limit();
        let batch = batch_bytes.saturating_sub(ENVELOPE);
        let options = ProducerOptions::in_order(None, batch, setting.options.properties.clone());
        let producer = Producer::new(&setting.client, &options).map_err(|error| error.to_string())?;
        Ok(Sender { producer, markers: None, batch_bytes })
    }

    /// A producer with transactions, and the entries that the lane's last transaction has published: the steps 1 and 2.
    pub(super) async fn exactly_once(
        setting: &Setting,
        first_slot: Slot,
    ) -> Result<(Self, Vec<Marked>), String> {
        let topic = format!("eos.outbox.{}", setting.database_id);
        let max_bytes = setting.topics.markers(&topic, PARTITIONS).await?;
        let partition = i32::from(first_slot / GRAIN);
        let batch_bytes = setting.topics.smallest_limit();
        let id = Some(format!("eos.outbox.{}.{first_slot}", setting.database_id));
        let batch = batch_bytes.min(max_bytes).saturating_sub(ENVELOPE);
        let options = ProducerOptions::in_order(id, batch, setting.options.properties.clone());
        let producer = Producer::new(&setting.client, &options).map_err(|error| error.to_string())?;
        producer.init_transactions().await.map_err(|error| error.to_string())?;
        fault::point("relay_after_init");
        let published = match last_marker(&setting.client, &topic, partition).await? {
            Some(marker) => read_marker(&marker)?,
            None => Vec::new(),
        };
        fault::point("relay_after_marker");
        let markers = Some(Markers { topic, partition, max_bytes });
        Ok((Sender { producer, markers, batch_bytes }, published))
    }

    /// Whether it was made for larger batches than some topic takes, as is known by now, or librdkafka gave it up.
    pub(super) fn is_outdated(&self, setting: &Setting) -> bool {
        setting.topics.smallest_limit() < self.batch_bytes || self.producer.is_broken()
    }

    /// Whether the deletion of one batch has to be there before the next is committed.
    pub(super) fn is_transactional(&self) -> bool {
        self.markers.is_some()
    }

    /// How many entries a batch may have so that its marker can name them.
    pub(super) fn entries_at_most(&self) -> usize {
        self.markers
            .as_ref()
            .map_or(usize::MAX, |markers| markers.max_bytes.saturating_sub(ENVELOPE) / MARKED_BYTES)
    }

    /// Sends a batch; its caller deletes the entries afterwards. `before_commit` is the deletion of the batch before, which
    /// only a transaction has to wait for.
    pub(super) async fn send(
        &self,
        batch: &Batch,
        before_commit: impl Future<Output = ()>,
    ) -> Result<(), Unsent> {
        match &self.markers {
            None => {
                let failures = self.producer.send(batch.entries.iter().map(|ready| ready.record())).await;
                fault::point("relay_after_acks");
                if failures.is_empty() { Ok(()) } else { Err(Unsent::Some(failures)) }
            }
            Some(markers) => self.transact(batch, markers, before_commit).await,
        }
    }

    async fn transact(
        &self,
        batch: &Batch,
        markers: &Markers,
        before_commit: impl Future<Output = ()>,
    ) -> Result<(), Unsent> {
        self.producer.begin_transaction().map_err(|error| lost(&error))?;
        let (marker, headers) = (write_marker(&batch.sent()), marker_headers());
        let marker = Outgoing {
            topic: &markers.topic,
            partition: Some(markers.partition),
            key: Some(b"last"),
            payload: Some(&marker),
            headers: &headers,
            added: [None, None],
        };
        let records: Vec<_> =
            batch.entries.iter().map(|ready| ready.record()).chain(std::iter::once(marker)).collect();
        let failures = self.producer.send(records.into_iter()).await;
        fault::point("relay_after_acks");
        before_commit.await;
        if !failures.is_empty() {
            self.producer.abort_transaction().await.map_err(|error| lost(&error))?;
            return Err(Unsent::Nothing(failures));
        }
        fault::point("relay_before_commit");
        match self.producer.commit_transaction().await {
            Ok(()) => {
                fault::point("relay_after_commit");
                Ok(())
            }
            Err(TransactionError::Abort(why)) => {
                tracing::debug!(why, "a transaction of the relay is done again");
                self.producer.abort_transaction().await.map_err(|error| lost(&error))?;
                Err(Unsent::Nothing(Vec::new()))
            }
            Err(error @ (TransactionError::Fenced(_) | TransactionError::Lost(_))) => Err(lost(&error)),
        }
    }

    /// Ends the producer.
    pub(super) async fn close(self) {
        self.producer.close().await;
    }
}

/// What a request has around its records.
const ENVELOPE: usize = 512;

fn lost(error: &TransactionError) -> Unsent {
    Unsent::Lost(error.to_string())
}

fn marker_headers() -> [(Cow<'static, str>, Option<Bytes>); 1] {
    [(Cow::Borrowed("eos"), Some(Bytes::from_static(b"marker 1")))]
}
