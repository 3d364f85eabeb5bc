//! The steps of which a reset and a copy are made: take, walk the inbox, set down.
//!
//! Whoever moves a position takes it first, as an owner does. That waits for the attempt in flight, ends one that is past
//! its deadline, and fences whoever had the partition: a process that slept through all of this finds another's token in
//! the row when it wakes, and its next claim fails. Everything after that is done only as long as the rows are still ours;
//! a process that starts too soon takes them, and is the one that goes on.

use std::sync::Arc;
use std::time::Duration;

use super::{MoveError, PositionDatabase};
use crate::listener::spec::Isolation;
use crate::store::{Begun, Hold, Moved, PartitionKey, Standing, Store, StoreOptions, Stream, Stretch};

/// How long an attempt that holds a row is waited for before it is looked at; its own deadline is its own.
const OPTIONS: StoreOptions =
    StoreOptions { isolation: Isolation::ReadCommitted, deadline: Duration::from_secs(5) };
/// When a row that is still held is held by somebody whom nobody ends.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Rows that were taken to be moved.
pub(super) type Holds<DB> = Vec<Hold<<DB as crate::store::Dialect>::Locator>>;

/// Takes all rows of a partition, one for each of its slots, in their order; one is made where there is none.
pub(super) async fn take<DB: PositionDatabase>(
    store: &Store<DB>,
    key: &PartitionKey,
    start: i64,
    cluster: Option<&str>,
) -> Result<Holds<DB>, MoveError> {
    let mut holds = Holds::<DB>::new();
    loop {
        let number = i32::try_from(holds.len()).unwrap_or(i32::MAX);
        // The inbox's number is for claims, of which there will be none.
        let stream = Stream { id: 0, first_partitions: None };
        let taking = DB::take(store, key, number, stream, start, cluster, OPTIONS);
        match tokio::time::timeout(GIVE_UP, taking).await.map_err(|_| held(key))?? {
            Some(hold) if holds.first().is_none_or(|first| first.slot.of == hold.slot.of) => holds.push(hold),
            // A service has started meanwhile, and split the partition anew.
            Some(_) | None => return Err(taken(key)),
        }
        if holds.len() == holds[0].slot.of as usize {
            return Ok(holds);
        }
    }
}

/// The same, split into so many slots. They are set down elsewhere by whoever asked; until then all of them stand where it said,
/// so that one who gives it up in between leaves nothing that is passed over.
pub(super) async fn take_split<DB: PositionDatabase>(
    store: &Store<DB>,
    key: &PartitionKey,
    slots: i32,
    start: i64,
    cluster: Option<&str>,
) -> Result<Holds<DB>, MoveError> {
    let mut holds = take(store, key, start, cluster).await?;
    if holds[0].slot.of == slots {
        return Ok(holds);
    }
    let at_start = |hold: &Hold<DB::Locator>| Moved {
        token: hold.token,
        next_offset: start,
        last: None,
        begun: Begun::NOTHING,
        cluster: hold.cluster.clone(),
    };
    set_down(store, &holds, &holds.iter().map(at_start).collect::<Vec<_>>()).await?;
    // As they stand now.
    holds = take(store, key, start, cluster).await?;
    if !DB::split(store, &holds, slots, OPTIONS).await? {
        return Err(taken(key));
    }
    let holds = take(store, key, start, cluster).await?;
    if holds[0].slot.of == slots { Ok(holds) } else { Err(taken(key)) }
}

/// The inbox's number for another group's reading of a topic; made where there is none.
pub(super) async fn stream<DB: PositionDatabase>(
    store: &Store<DB>,
    group: &str,
    topic: &str,
    first_partitions: Option<i32>,
) -> sqlx::Result<i32> {
    Ok(DB::stream(store, group, topic, first_partitions, OPTIONS).await?.id)
}

/// Whether the rows are all still ours.
pub(super) async fn expect_ours<DB: PositionDatabase>(
    store: &Store<DB>,
    holds: &[Hold<DB::Locator>],
) -> Result<(), MoveError> {
    let asked: Vec<_> = holds.iter().map(Hold::held).collect();
    let standings = DB::standings(store, &asked).await?;
    match holds.iter().zip(standings).find(|(_, standing)| *standing == Standing::Fenced) {
        Some((hold, _)) => Err(taken(&hold.key)),
        None => Ok(()),
    }
}

/// What becomes of a stream's ids.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ids {
    /// Those that are done are forgotten.
    Forget,
    /// All of them are copied to this stream.
    CopyTo(i32),
}

/// Goes through a stream's ids, as long as the rows are ours; says to how many of them it was done.
pub(super) async fn walk<DB: PositionDatabase>(
    store: &Store<DB>,
    holds: &[Hold<DB::Locator>],
    stream: i32,
    ids: Ids,
) -> Result<u64, MoveError> {
    let (mut stretch, mut many) = (Stretch::default(), 0);
    loop {
        expect_ours(store, holds).await?;
        stretch.last = DB::end_of_stretch(store, stream, stretch.after.as_deref()).await?;
        many += match ids {
            Ids::Forget => DB::forget_done(store, stream, &stretch).await?,
            Ids::CopyTo(to) => DB::copy_ids(store, stream, to, &stretch).await?,
        };
        match stretch.last.take() {
            Some(last) => stretch.after = Some(last),
            None => return Ok(many),
        }
    }
}

/// Sets the rows down: all of them in one statement.
pub(super) async fn set_down<DB: PositionDatabase>(
    store: &Store<DB>,
    holds: &[Hold<DB::Locator>],
    rows: &[Moved],
) -> Result<(), MoveError> {
    if rows.is_empty() {
        return Ok(());
    }
    expect_ours(store, holds).await?;
    if DB::set_down(store, rows).await? < rows.len() as u64 {
        // Between the look and the statement.
        expect_ours(store, holds).await?;
    }
    Ok(())
}

pub(super) fn key(group: &str, topic: &str, partition: i32) -> PartitionKey {
    PartitionKey { group: Arc::from(group), topic: Arc::from(topic), partition }
}

fn taken(key: &PartitionKey) -> MoveError {
    let (group, topic) = (key.group.to_string(), key.topic.to_string());
    MoveError::Taken { group, topic, partition: key.partition }
}

fn held(key: &PartitionKey) -> MoveError {
    let (group, topic) = (key.group.to_string(), key.topic.to_string());
    MoveError::Held { group, topic, partition: key.partition }
}
