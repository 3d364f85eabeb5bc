//! Which slot is handed which record of its partition's log, and where the log has to be read again.
//!
//! The log is read once for all slots, from the lowest of them on. Each gets the records of its keys in their order, none below
//! where its worker wanted to go on, and none twice until that worker asks to start again. A slot that starts again makes the
//! log be read from there; the others are handed nothing of what they were handed already.
//!
//! One record is handed over whatever its key: the one at the very offset where a worker starts, because it may be the last
//! that its position counts as done, by which the log is recognised.

use crate::record::Record;
use crate::store::slot_of;

/// One partition's records, on their way to its slots.
#[derive(Debug)]
pub(super) struct Division {
    slots: Vec<Share>,
    /// What comes next of the log; `None` while it is not read.
    read: Option<i64>,
    /// From where it has to be read (again).
    rewind: Option<i64>,
    /// Slots that start at an offset that was not read yet.
    starts: Vec<(i64, usize)>,
    /// Whether the log is read as soon as one slot says where it starts.
    is_eager: bool,
    /// The last record that was read, of whichever slot.
    last: Option<Record>,
    /// Nothing from here on is handed over.
    until: Option<i64>,
}

/// What one slot has had.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    /// Nothing below is handed over; `None` before its worker says where it starts.
    from: Option<i64>,
    /// Behind the last record that it has to work off.
    owed: i64,
}

impl Division {
    pub(super) fn new(slots: usize, until: Option<i64>) -> Self {
        let slots = vec![Share::default(); slots];
        Division { slots, read: None, rewind: None, starts: Vec::new(), is_eager: false, last: None, until }
    }

    /// The worker of a slot starts (again) at this offset.
    pub(super) fn starts(&mut self, slot: usize, offset: i64) {
        self.slots[slot] = Share { from: Some(offset), owed: 0 };
        self.starts.retain(|(_, of)| *of != slot);
        self.starts.push((offset, slot));
        let all = self.slots.iter().all(|share| share.from.is_some());
        let lowest = self.slots.iter().filter_map(|share| share.from).min();
        self.rewind = match (self.read, lowest) {
            // At first they start at the same time, and the log is read once for all of them.
            (None, lowest) => lowest.filter(|_| all || self.is_eager),
            (Some(read), _) if offset < read => Some(self.rewind.map_or(offset, |at| at.min(offset))),
            (Some(_), _) => self.rewind,
        };
    }

    /// Where the log has to be read from now; asked before more is handed over.
    pub(super) fn rewind(&mut self) -> Option<i64> {
        let from = self.rewind.take()?;
        self.read = Some(from);
        Some(from)
    }

    /// Whether anything is to be read.
    pub(super) fn is_reading(&self) -> bool {
        self.read.is_some_and(|read| self.until.is_none_or(|until| read < until))
    }

    /// The source cannot go on: all slots are asked to start again, and are handed nothing before they have. Each does so when it
    /// is done with what it has; none waits for another.
    pub(super) fn lost(&mut self) {
        self.slots.iter_mut().for_each(|share| share.from = None);
        (self.read, self.rewind) = (None, None);
        self.starts.clear();
        self.is_eager = true;
    }

    /// Says to which slots the next record of the log is handed.
    pub(super) fn next(&mut self, record: &Record, mut to: impl FnMut(usize)) {
        let offset = record.offset();
        if self.read.is_none_or(|read| offset < read) {
            return;
        }
        self.read = Some(offset + 1);
        if self.until.is_some_and(|until| offset >= until) {
            return;
        }
        self.last = Some(record.clone());
        let its = slot_of(record.key(), offset, i32::try_from(self.slots.len()).unwrap_or(1));
        let its = usize::try_from(its).unwrap_or(0);
        self.starts.retain(|&(start, slot)| {
            if start == offset && slot != its {
                to(slot);
            }
            start > offset
        });
        let share = &mut self.slots[its];
        if share.from.is_some_and(|from| offset >= from) {
            *share = Share { from: Some(offset + 1), owed: offset + 1 };
            to(its);
        }
    }

    /// The last record that was read, with the slots that it takes on: they have done all that they were handed, stand below it,
    /// and nothing of theirs lies between. `positions` are the slots', as far as they are known.
    pub(super) fn idle(&mut self, positions: &[Option<i64>], mut to: impl FnMut(usize, &Record)) {
        let Some(last) = &self.last else { return };
        let behind = last.offset() + 1;
        // What is to be read again may hold records of theirs.
        if self.read != Some(behind) || self.rewind.is_some() {
            return;
        }
        for (slot, (share, position)) in self.slots.iter_mut().zip(positions).enumerate() {
            let is_idle = position.is_some_and(|position| position >= share.owed && position < behind);
            if is_idle && share.from.is_some_and(|from| from < behind) {
                share.from = Some(behind);
                to(slot, last);
            }
        }
    }

    /// Whether there is an offset that the slots are to come to.
    pub(super) fn has_end(&self) -> bool {
        self.until.is_some()
    }

    /// The offset that the slots were to come to, where they have done all there is below it.
    pub(super) fn done(&self, positions: &[Option<i64>]) -> Option<i64> {
        let until = self.until?;
        // The record before it may be the last there is.
        let is_read = self.read.is_some_and(|read| read >= until) && self.rewind.is_none();
        let is_done = |(share, position): (&Share, &Option<i64>)| {
            share.from.is_some() && position.is_some_and(|position| position >= share.owed)
        };
        (is_read && self.slots.iter().zip(positions).all(is_done)).then_some(until)
    }

    /// Whether one of the slots has something to do, and stands where it stood.
    pub(super) fn one_stands(&self, before: &[Option<i64>], now: &[Option<i64>]) -> bool {
        let mut slots = self.slots.iter().zip(before.iter().zip(now));
        slots.any(|(share, (before, now))| now.is_none_or(|now| now < share.owed) && before == now)
    }

    /// The slots are to come to this offset, which lies beyond the one before. From where the log has to be read.
    pub(super) fn go_on(&mut self, to: i64) -> Option<i64> {
        let until = self.until?;
        if self.is_reading() || self.rewind.is_some() || self.read.is_none() || to <= until {
            return None;
        }
        (self.until, self.read) = (Some(to), Some(until));
        Some(until)
    }
}
