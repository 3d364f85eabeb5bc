//! Is this the log that our position speaks of?
//!
//! A topic or a broker that was wiped and filled again looks like the old one to an offset: records up to the old
//! position would be skipped in silence. So the position's row also names the cluster and the last record, and a
//! partition whose log does not fit stops, loudly. While a partition is read, its topic may be deleted and made anew,
//! and librdkafka goes on in the new log at the old offset without a word; but the group's coordinator forgets the
//! partition then, which the next periodic commit finds out. Records that the new log has at and after the old offset
//! may have been handled by then (once each, as any record); those before it were not. The partition stops, and the row
//! is disowned, so that it stays so wherever it is taken.
//!
//! What this cannot see: a new log under the old name, in the same cluster, that has grown past the position while
//! nobody read it, and whose record before the position is gone (or the same by chance); and a topic that is deleted,
//! made anew, and refilled past the position, all between a look at the group's offsets and the commit that follows it.

use super::work::Work;
use crate::record::Record;
use crate::settings::RetentionGap;
use crate::source::Watermarks;
use crate::store::{Hold, LastRecord};

/// Why a partition stops before its next record.
#[derive(Debug, thiserror::Error)]
pub(super) enum WrongLog {
    #[error(
        "the position belongs to the Kafka cluster `{stored}`, but `[kafka] bootstrap_servers` leads to `{connected}`; \
         connect to the right one, or stop the group and say `eos positions reset --group … --to beginning --other-cluster`"
    )]
    Cluster { stored: String, connected: String },
    #[error(
        "the position is {position}, but the log ends at {high}: the topic was made anew or lost its end; to begin \
         anew, stop the group and say `eos positions reset --group … --topic … --to beginning`"
    )]
    EndsBefore { position: i64, high: i64 },
    #[error(
        "the position is {position}, but the log now begins at {low}: {} offsets were deleted by retention before they \
         were read (they may have been a transaction's markers alone); set `[kafka] on_retention_gap = \"continue\"` to go on without them",
        low - position
    )]
    Gap { position: i64, low: i64 },
    #[error(
        "the record at offset {offset} is not the one that was processed there: the topic was made anew; to begin \
         anew, stop the group and say `eos positions reset --group … --topic … --to beginning`"
    )]
    OtherRecord { offset: i64 },
    #[error(
        "the group's coordinator has forgotten the offset that was committed for this partition, as it does when the topic \
         is deleted (or when the broker has lost its own log). The position is {position}: if the topic was made anew, \
         what it has before that may not have been read. Stop the group and say where to go on, by \
         `eos positions reset --group … --topic … --to …` (`beginning` for all of a new topic; a record that has no message id \
         and was done is done again)"
    )]
    Forgotten { position: i64 },
}

/// Where to start reading, and the record that must come first if it still exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StartAt {
    pub(super) offset: i64,
    pub(super) expect: Option<LastRecord>,
}

/// Compares a position with the log as it is now.
pub(super) fn start_at<L>(work: &Work, hold: &Hold<L>, log: Watermarks) -> Result<StartAt, WrongLog> {
    if let (Some(stored), Some(connected)) = (&hold.cluster, &work.cluster)
        && stored != connected
    {
        return Err(WrongLog::Cluster { stored: stored.to_string(), connected: connected.to_string() });
    }
    let position = hold.next_offset;
    if position > log.high {
        return Err(WrongLog::EndsBefore { position, high: log.high });
    }
    if position < log.low {
        return match work.on_gap {
            RetentionGap::Stop => Err(WrongLog::Gap { position, low: log.low }),
            RetentionGap::Continue => {
                tracing::error!(
                    listener = %work.id, partition = %hold.key, position, low = log.low,
                    "retention deleted records before they were read; going on without them, as the settings say"
                );
                Ok(StartAt { offset: log.low, expect: None })
            }
        };
    }
    // The last record is read again, where it is still there, and compared before anything else is handled.
    let expect = hold.last.filter(|last| last.offset + 1 == position && last.offset >= log.low);
    Ok(StartAt { offset: expect.map_or(position, |last| last.offset), expect })
}

impl StartAt {
    /// Looks at a record before it is handled: `Ok(false)` for the one that was only read to be compared.
    pub(super) fn admit(&mut self, record: &Record, position: i64) -> Result<bool, WrongLog> {
        if let Some(expected) = self.expect.take()
            && record.offset() == expected.offset
            && record.checksum() != expected.checksum
        {
            return Err(WrongLog::OtherRecord { offset: expected.offset });
        }
        Ok(record.offset() >= position)
    }
}

impl Record {
    /// What a position remembers of this record.
    pub(super) fn as_last(&self) -> LastRecord {
        LastRecord { offset: self.offset(), timestamp_ms: self.timestamp_ms(), checksum: self.checksum() }
    }
}
