//! Is this the log that our position speaks of?
//!
//! A topic or a broker that was wiped and filled again looks like the old one to an offset: records up to the old
//! position would be skipped in silence. So the position's row also names the cluster and the last record, and a
//! partition whose log does not fit stops, loudly. What this cannot see: a new log under the old name, in the same
//! cluster, that has grown past the position and whose record before the position is gone (or the same by chance); and a
//! topic that is deleted, made anew and filled past the position within seconds while a service reads it: librdkafka goes
//! on at the old offset without a word. The partition is compared again when it is taken the next time.

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
         connect to the right one, or delete this group's rows from `eos_position` to begin anew"
    )]
    Cluster { stored: String, connected: String },
    #[error(
        "the position is {position}, but the log ends at {high}: the topic was made anew or lost its end; \
         delete the row from `eos_position` to begin anew"
    )]
    EndsBefore { position: i64, high: i64 },
    #[error(
        "the position is {position}, but the log now begins at {low}: {} offsets were deleted by retention before they \
         were read (they may have been a transaction's markers alone); set `[kafka] on_retention_gap = \"continue\"` to go on without them",
        low - position
    )]
    Gap { position: i64, low: i64 },
    #[error(
        "the record at offset {offset} is not the one that was processed there: the topic was made anew; \
         delete the row from `eos_position` to begin anew"
    )]
    OtherRecord { offset: i64 },
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
