//! The records of one partition in the worker's hands: the rest of a chunk, then what the lease has queued.
//!
//! Offsets that come out only grow, whatever the source delivers: a claim moves the position to the record it is
//! given, and a record delivered twice would move it back.

use std::sync::Arc;
use std::vec;

use super::board::{Board, Post, Posted};
use crate::record::Record;
use crate::source::{Lease, Place, SourceError};

/// What handling a record needs of its partition.
pub(super) trait Partition {
    /// Which one, and whether it may still be worked on.
    fn place(&self) -> &Place;
    /// What others see of it.
    fn post(&self) -> &Arc<Post>;
    /// The record behind this one, if it is queued already and whoever handles this one handles it next.
    fn try_next(&mut self) -> Option<Record>;
}

/// A lease read record by record.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) lease: Lease,
    /// What others see of it.
    pub(super) post: Posted,
    chunk: vec::IntoIter<Record>,
    /// Nothing below this comes out.
    floor: i64,
    /// Whether the group has confirmed the lease once; it has had an offset of the partition since then.
    pub(super) confirmed: bool,
}

impl Queue {
    pub(super) fn new(lease: Lease, board: &Arc<Board>) -> Self {
        let post = board.post(&lease);
        Queue { lease, post, chunk: Vec::new().into_iter(), floor: 0, confirmed: false }
    }

    /// The lease, without what was taken out of it and not worked off.
    pub(super) fn into_lease(self) -> Lease {
        self.lease
    }

    /// Starts again at `offset`.
    pub(super) async fn seek(&mut self, offset: i64) -> Result<(), SourceError> {
        self.chunk = Vec::new().into_iter();
        self.floor = offset;
        self.lease.seek(offset).await
    }

    /// The next record, if one is queued already.
    pub(super) fn try_next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.of_chunk() {
                return Some(record);
            }
            let chunk = self.lease.try_next()?;
            self.open(chunk);
        }
    }

    /// The next record; `None` once the source is gone.
    ///
    /// # Cancel safety
    /// Cancel safe: a record is either returned or still queued.
    pub(super) async fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.try_next() {
                return Some(record);
            }
            let chunk = self.lease.next().await?;
            self.open(chunk);
        }
    }

    fn open(&mut self, chunk: Vec<Record>) {
        self.lease.taken(chunk.len());
        self.chunk = chunk.into_iter();
    }

    fn of_chunk(&mut self) -> Option<Record> {
        let floor = self.floor;
        let record = self.chunk.find(|record| record.offset() >= floor)?;
        self.floor = record.offset() + 1;
        Some(record)
    }
}

impl Partition for Queue {
    fn place(&self) -> &Place {
        &self.lease
    }

    fn post(&self) -> &Arc<Post> {
        &self.post
    }

    fn try_next(&mut self) -> Option<Record> {
        Queue::try_next(self)
    }
}
