//! A stopped group is sent elsewhere in a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::moving::Ids;
use super::{MoveError, PositionDatabase, Positions, moving};
use crate::store::{Begun, Moved};

/// Where a group is to go on, and what it forgets.
#[derive(Debug, Clone, Default)]
pub struct Reset {
    offsets: BTreeMap<i32, i64>,
    cluster: Option<String>,
    forget_inbox: bool,
}

/// What a reset did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetDone {
    /// Each partition, in order.
    pub partitions: Vec<ResetPartition>,
    /// How many message ids were forgotten.
    pub forgotten: u64,
}

/// One partition of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetPartition {
    /// Which it is.
    pub partition: i32,
    /// Where the group would have gone on; `None` where it had never been.
    pub from: Option<i64>,
    /// Where it goes on.
    pub to: i64,
}

impl Reset {
    /// To these offsets, by partition; other partitions stay where they are.
    pub fn to(offsets: impl IntoIterator<Item = (i32, i64)>) -> Self {
        Reset { offsets: offsets.into_iter().collect(), ..Reset::default() }
    }

    /// Of the log of this Kafka cluster, by the id that its brokers say. A service that is connected to another then stops
    /// at once. Without it the next service that takes a partition writes its own there.
    #[must_use]
    pub fn cluster(mut self, id: impl Into<String>) -> Self {
        self.cluster = Some(id.into());
        self
    }

    /// Forgets which message ids of the topic are done, in all of its partitions, so that what is read again is handled
    /// again. Ids of records that are set aside stay: they are handled again by
    /// [`DeadLetters::replay`](crate::dead_letters::DeadLetters::replay).
    #[must_use]
    pub fn forget_inbox(mut self) -> Self {
        self.forget_inbox = true;
        self
    }
}

impl<DB: PositionDatabase> Positions<DB> {
    /// Sends a stopped group elsewhere in a topic; it may never have run.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(pool: sqlx::PgPool) -> Result<(), eos_runtime::positions::MoveError> {
    /// use eos_runtime::positions::{Positions, Reset};
    ///
    /// let back = Reset::to([(0, 4200), (1, 3900)]);
    /// for done in Positions::of(&pool).reset("billing", "event.order", &back).await?.partitions {
    ///     println!("partition {} goes on at {}, and was at {:?}", done.partition, done.to, done.from);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// Kafka is not asked: that the offsets exist, and that no process of the group runs, is the caller's to see to. One that
    /// runs all the same, or was asleep, is fenced; if it takes the partition again before the reset is done, the reset ends
    /// with an error. Records that are read again and whose message ids the inbox has are passed over, unless the reset
    /// [forgets](Reset::forget_inbox) them.
    ///
    /// The ids are forgotten first, in many small transactions, and then all positions are set in one statement. In this
    /// order a reset that was interrupted loses nothing and is asked for again: the other way round a service that starts
    /// in between would pass over what was to be done again, and move past it.
    ///
    /// # Errors
    /// The database's, or why the positions could not be moved.
    ///
    /// # Cancel safety
    /// The positions are as they were, or are all set; earlier owners may be fenced and some ids forgotten. Ask again.
    pub async fn reset(&self, group: &str, topic: &str, to: &Reset) -> Result<ResetDone, MoveError> {
        let store = &self.store;
        let cluster: Option<Arc<str>> = to.cluster.as_deref().map(Arc::from);
        let (mut holds, mut rows) = (moving::Holds::<DB>::new(), Vec::new());
        let mut partitions = Vec::new();
        for (&partition, &offset) in &to.offsets {
            let key = moving::key(group, topic, partition);
            let slots = moving::take(store, &key, offset, to.cluster.as_deref()).await?;
            let from = slots.iter().filter(|hold| !hold.created).map(|hold| hold.next_offset).min();
            partitions.push(ResetPartition { partition, from, to: offset });
            for hold in slots {
                // Nothing is known of the record before, so that nothing is compared: no log is taken for a wrong one.
                let (token, cluster) = (hold.token, cluster.clone());
                rows.push(Moved { token, next_offset: offset, last: None, begun: Begun::NOTHING, cluster });
                holds.push(hold);
            }
        }
        let mut forgotten = 0;
        if to.forget_inbox
            && let Some(stream) = DB::known_stream(store, group, topic).await?
        {
            forgotten = moving::walk(store, &holds, stream.id, Ids::Forget).await?;
        }
        moving::set_down(store, &holds, &rows).await?;
        Ok(ResetDone { partitions, forgotten })
    }
}
