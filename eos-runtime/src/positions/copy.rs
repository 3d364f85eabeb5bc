//! A stopped group carries on under another name.

use std::collections::BTreeMap;

use super::moving::Ids;
use super::{MoveError, PositionDatabase, Positions, moving};
use crate::store::{Moved, Store};

/// From which group to which, and what of it.
#[derive(Debug, Clone)]
pub struct CopyGroup {
    from: String,
    to: String,
    topic: Option<String>,
    replace: bool,
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Each topic, in order; none where the group has no positions.
    pub topics: Vec<CopiedTopic>,
}

/// One topic of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedTopic {
    /// Which it is.
    pub topic: String,
    /// Where the other group goes on, by partition.
    pub offsets: BTreeMap<i32, i64>,
    /// How many message ids the other group has of it now that it did not have.
    pub ids: u64,
}

impl CopyGroup {
    /// All that one group has, to another.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        CopyGroup { from: from.into(), to: to.into(), topic: None, replace: false }
    }

    /// Of this topic only.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Also over positions that the other group has; without it they are an error.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }
}

impl<DB: PositionDatabase> Positions<DB> {
    /// Gives one group's positions and message ids to another, for a group that is renamed: it goes on where the first one
    /// ended, and what that one did it takes for done. The first keeps its own.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(pool: sqlx::PgPool) -> Result<(), eos_runtime::positions::MoveError> {
    /// use eos_runtime::positions::{CopyGroup, Positions};
    ///
    /// let copied = Positions::of(&pool).copy(&CopyGroup::new("billing", "invoicing")).await?;
    /// println!("{} topics go on under the new name", copied.topics.len());
    /// # Ok(()) }
    /// ```
    ///
    /// Neither group may run, which is the caller's to see to: what the first did afterwards, the second would do again.
    /// Earlier owners of both are fenced, so that one that was asleep does nothing when it wakes. Ids are copied first, in
    /// many small transactions, and then all positions are set in one statement.
    ///
    /// Dead letters stay with the first group: they are replayed by its listeners alone.
    ///
    /// # Errors
    /// The database's, or why the positions could not be copied.
    ///
    /// # Cancel safety
    /// The first group is as it was, but for its owners, who are fenced. The other may have some of its ids and of its
    /// positions, each of them right: ask again, with [`CopyGroup::replace`].
    pub async fn copy(&self, copy: &CopyGroup) -> Result<Copied, MoveError> {
        let store = &self.store;
        let sources = self.list(Some(&copy.from), copy.topic.as_deref()).await?;
        if !copy.replace {
            self.expect_vacant(copy, sources.iter().map(|source| source.topic.as_str())).await?;
        }
        let (mut holds, mut topics) = (moving::Holds::<DB>::new(), BTreeMap::new());
        for source in &sources {
            let key = moving::key(&copy.from, &source.topic, source.partition);
            let slots = moving::take(store, &key, source.next_offset, None).await?;
            let topic = topics.entry(source.topic.clone()).or_insert_with(BTreeMap::new);
            let lowest = slots.iter().map(|hold| hold.next_offset).min();
            topic.insert(source.partition, lowest.unwrap_or(source.next_offset));
            holds.extend(slots);
        }
        let mut copied = Copied { topics: Vec::new() };
        for (topic, offsets) in topics {
            let ids = copy_inbox(store, copy, &topic, &holds).await?;
            copied.topics.push(CopiedTopic { topic, offsets, ids });
        }
        copy_rows(store, &copy.to, &holds).await?;
        Ok(copied)
    }

    async fn expect_vacant(
        &self,
        copy: &CopyGroup,
        sources: impl Iterator<Item = &str>,
    ) -> Result<(), MoveError> {
        let there = self.list(Some(&copy.to), None).await?;
        let mut topics: Vec<_> = sources.filter(|topic| there.iter().any(|p| p.topic == *topic)).collect();
        topics.dedup();
        if topics.is_empty() {
            return Ok(());
        }
        let topics = topics.into_iter().map(str::to_owned).collect();
        Err(MoveError::Occupied { group: copy.to.clone(), topics })
    }
}

/// The ids first: a group with positions and without ids would do again what its producers send twice.
async fn copy_inbox<DB: PositionDatabase>(
    store: &Store<DB>,
    copy: &CopyGroup,
    topic: &str,
    holds: &moving::Holds<DB>,
) -> Result<u64, MoveError> {
    let Some(from) = DB::known_stream(store, &copy.from, topic).await? else { return Ok(0) };
    let to = moving::stream(store, &copy.to, topic, from.first_partitions).await?;
    moving::walk(store, holds, from.id, Ids::CopyTo(to)).await
}

/// Takes the other group's rows, and sets them down where the first one's stand, with all that is known of the log there.
async fn copy_rows<DB: PositionDatabase>(
    store: &Store<DB>,
    group: &str,
    sources: &moving::Holds<DB>,
) -> Result<(), MoveError> {
    let (mut holds, mut rows) = (moving::Holds::<DB>::new(), Vec::new());
    for slots in sources.chunk_by(|one, next| one.key == next.key) {
        let (first, of) = (&slots[0], slots[0].slot.of);
        let key = moving::key(group, &first.key.topic, first.key.partition);
        let cluster = first.cluster.as_deref();
        let lowest = slots.iter().map(|hold| hold.next_offset).min().unwrap_or(first.next_offset);
        let taken = moving::take_split(store, &key, of, lowest, cluster).await?;
        for (source, hold) in slots.iter().zip(&taken) {
            rows.push(Moved {
                token: hold.token,
                next_offset: source.next_offset,
                last: source.last,
                begun: source.begun,
                cluster: source.cluster.clone(),
            });
        }
        holds.extend(taken);
    }
    moving::expect_ours(store, sources).await?;
    moving::set_down(store, &holds, &rows).await
}
