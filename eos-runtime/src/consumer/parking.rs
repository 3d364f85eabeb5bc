//! What is parked in a partition, as its owner knows it: which keys have to wait, in which order, and until when.
//!
//! A key whose record has failed has a line. Whatever comes of that key stands at its end, and only its head is tried: when
//! that is done, or given up, the next one is due at once, and a line that is empty is gone. A record without a key stands
//! alone in a line of its own. So nothing overtakes a record of its key. Other keys wait no longer than an attempt at a line
//! takes, and where a record comes of a line that moves on, until that line is empty.
//!
//! The truth is in the database, where only the partition's owner adds to it, and people take out: what this knows is all
//! that is there, and perhaps a little more, of which a look at the row tells. Whoever takes the partition reads it anew.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::listener::retry::RetryPolicy;
use crate::store::ParkedRow;

/// The lines of one partition.
#[derive(Debug)]
pub(super) struct Parking {
    lines: HashMap<Line, Waiting>,
    by_key: HashMap<Arc<[u8]>, Line>,
    /// Of the rows without a key.
    alone: HashMap<i64, Line>,
    /// Those that can be tried, the first to be tried first.
    due: BTreeSet<(Instant, Line)>,
    next_line: u64,
    records: usize,
    /// No more than so many.
    at_most: usize,
    /// Up to here, an earlier owner's last attempt may have been at any of them.
    inherited: i64,
}

/// A line's name in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Line(u64);

#[derive(Debug)]
struct Waiting {
    key: Option<Arc<[u8]>>,
    /// Numbers of rows; never empty.
    rows: VecDeque<i64>,
    due: Instant,
}

/// A row whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) line: Line,
    pub(super) row: i64,
}

impl Parking {
    /// What the database says, right after a take.
    pub(super) fn new(rows: Vec<ParkedRow>, policy: &RetryPolicy, at_most: usize, now: Instant) -> Self {
        let mut parking = Parking {
            lines: HashMap::new(),
            by_key: HashMap::new(),
            alone: HashMap::new(),
            due: BTreeSet::new(),
            next_line: 0,
            records: 0,
            at_most,
            inherited: rows.iter().map(|row| row.id).max().unwrap_or(0),
        };
        for row in rows {
            // It goes on waiting where an earlier owner stopped, whatever the restarts in between.
            let is_due = row.attempts == 0 || row.urged;
            let wait = if is_due { Duration::ZERO } else { policy.wait(row.attempts) };
            let rested = Duration::from_millis(u64::try_from(row.rested_ms).unwrap_or(0));
            parking.add(row.key.as_deref(), row.id, now + wait.saturating_sub(rested));
        }
        parking
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// Whether no further record may be parked, so that the partition has to wait.
    pub(super) fn is_full(&self) -> bool {
        !self.has_room_beside(0)
    }

    /// Whether one may still be parked when so many more are.
    pub(super) fn has_room_beside(&self, more: usize) -> bool {
        self.records + more < self.at_most
    }

    /// Whether a record of this key has to stand behind others.
    pub(super) fn holds(&self, key: Option<&[u8]>) -> bool {
        !self.is_empty() && key.is_some_and(|key| self.by_key.contains_key(key))
    }

    /// Puts a row at the end of its key's line; one that is the first there is due then.
    pub(super) fn add(&mut self, key: Option<&[u8]>, row: i64, due: Instant) {
        self.records += 1;
        if let Some(waiting) =
            key.and_then(|key| self.by_key.get(key)).and_then(|line| self.lines.get_mut(line))
        {
            waiting.rows.push_back(row);
            return;
        }
        let line = Line(self.next_line);
        self.next_line += 1;
        let key: Option<Arc<[u8]>> = key.map(Arc::from);
        match &key {
            Some(key) => drop(self.by_key.insert(Arc::clone(key), line)),
            None => drop(self.alone.insert(row, line)),
        }
        self.due.insert((due, line));
        self.lines.insert(line, Waiting { key, rows: VecDeque::from([row]), due });
    }

    /// When the next one is to be tried.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Whether one is to be tried now; the clock is asked only where something is parked.
    pub(super) fn is_due(&self) -> bool {
        self.next_due().is_some_and(|due| due <= Instant::now())
    }

    /// Whether the line that a record of this key has to join is to be tried now.
    pub(super) fn line_is_due(&self, key: Option<&[u8]>, now: Instant) -> bool {
        self.line_of(key).is_some_and(|waiting| waiting.due <= now)
    }

    /// The one whose turn it is: of this key, where its line is due, so that a line that moves on is not joined for ever.
    pub(super) fn head(&self, first: Option<&[u8]>, now: Instant) -> Option<Head> {
        let of_key = first.and_then(|key| self.by_key.get(key));
        let of_key = of_key.filter(|line| self.lines.get(line).is_some_and(|waiting| waiting.due <= now));
        let line = match of_key {
            Some(line) => *line,
            None => self.due.first().filter(|(due, _)| *due <= now)?.1,
        };
        let row = *self.lines.get(&line)?.rows.front()?;
        Some(Head { line, row })
    }

    fn line_of(&self, key: Option<&[u8]>) -> Option<&Waiting> {
        self.lines.get(self.by_key.get(key?)?)
    }

    /// Whether an attempt at this row has to be counted before it begins, because it may be what ended an earlier owner.
    pub(super) fn is_inherited(&self, row: i64) -> bool {
        row <= self.inherited
    }

    /// The head is not parked any more: the one behind it is due. Whether the line is empty, and gone.
    pub(super) fn leaves(&mut self, head: Head, now: Instant) -> bool {
        let Some(waiting) = self.lines.get_mut(&head.line) else { return true };
        waiting.rows.pop_front();
        self.records -= 1;
        if waiting.rows.is_empty() {
            self.due.remove(&(waiting.due, head.line));
            match &waiting.key {
                Some(key) => drop(self.by_key.remove(key)),
                None => drop(self.alone.remove(&head.row)),
            }
            self.lines.remove(&head.line);
            return true;
        }
        self.is_due_at(head.line, now);
        false
    }

    /// The head is not tried before then.
    pub(super) fn waits(&mut self, head: Head, until: Instant) {
        self.is_due_at(head.line, until);
    }

    /// Somebody wants this row tried now: its line is due.
    pub(super) fn urge(&mut self, key: Option<&[u8]>, row: i64, now: Instant) {
        let line = match key {
            Some(key) => self.by_key.get(key).copied(),
            None => self.alone.get(&row).copied(),
        };
        if let Some(line) = line {
            self.is_due_at(line, now);
        }
    }

    fn is_due_at(&mut self, line: Line, due: Instant) {
        let Some(waiting) = self.lines.get_mut(&line) else { return };
        self.due.remove(&(waiting.due, line));
        waiting.due = due;
        self.due.insert((due, line));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max: 5,
        backoff: Duration::from_millis(200),
        factor: 2.0,
        max_backoff: Duration::from_secs(10),
        jitter: 0.0,
    };

    fn row(id: i64, key: Option<&[u8]>, attempts: u32, rested_ms: i64) -> ParkedRow {
        ParkedRow { id, key: key.map(<[u8]>::to_vec), attempts, rested_ms, urged: false, offset: id }
    }

    #[test]
    fn who_takes_the_partition_waits_for_what_is_left_of_each_wait() {
        let now = Instant::now();
        let rows = vec![row(3, Some(b"a"), 2, 100), row(4, Some(b"a"), 0, 5), row(9, None, 1, 10_000)];
        let parking = Parking::new(rows, &POLICY, 3, now);
        assert_eq!((parking.len(), parking.is_full()), (3, true));
        assert_eq!(parking.head(None, now).map(|head| head.row), Some(9), "it has waited long enough");
        assert_eq!(parking.due.last().map(|(due, _)| *due), Some(now + Duration::from_millis(300)));
        assert!(parking.is_inherited(9) && !parking.is_inherited(10));
        assert!(parking.holds(Some(b"a")) && !parking.holds(Some(b"b")) && !parking.holds(None));
    }

    /// What can happen to a partition: a record comes; the head whose turn it is succeeds, fails or is given up.
    #[derive(Debug, Clone)]
    enum Event {
        Comes { key: Option<u8>, fails: bool },
        Tried { succeeds: bool },
        Urged(u8),
        TakenAnew,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            4 => (proptest::option::weighted(0.9, 0..4_u8), any::<bool>())
                .prop_map(|(key, fails)| Event::Comes { key, fails }),
            4 => any::<bool>().prop_map(|succeeds| Event::Tried { succeeds }),
            1 => (0..4_u8).prop_map(Event::Urged),
            1 => Just(Event::TakenAnew),
        ];
        proptest::collection::vec(event, 0..200)
    }

    /// A database that knows no more than a list.
    #[derive(Default)]
    struct Model {
        parked: Vec<(i64, Option<u8>, u32)>,
        came: i64,
        done: Vec<(Option<u8>, i64)>,
    }

    proptest! {
        #[test]
        fn nothing_overtakes_a_record_of_its_key_and_no_other_key_waits(events in events()) {
            let start = Instant::now();
            let mut now = start;
            let mut model = Model::default();
            let mut parking = Parking::new(Vec::new(), &POLICY, usize::MAX, start);
            for event in events {
                now += Duration::from_millis(50);
                match event {
                    Event::Comes { key, fails } => {
                        let bytes = key.map(|key| [key]);
                        let bytes = bytes.as_ref().map(|key| &key[..]);
                        let waits = key.is_some() && model.parked.iter().any(|(_, other, _)| *other == key);
                        prop_assert_eq!(parking.holds(bytes), waits);
                        model.came += 1;
                        let row = model.came;
                        if waits || fails {
                            parking.add(bytes, row, now + POLICY.wait(1));
                            model.parked.push((row, key, u32::from(!waits)));
                        } else {
                            model.done.push((key, row));
                        }
                    }
                    Event::Tried { succeeds } => {
                        let Some(head) = parking.head(None, now) else { continue };
                        let at = model.parked.iter().position(|(row, ..)| *row == head.row);
                        let at = at.expect("what is tried is parked");
                        let (row, key, attempts) = model.parked[at];
                        if succeeds {
                            model.parked.remove(at);
                            model.done.push((key, row));
                            let empty = key.is_none() || model.parked.iter().all(|(_, other, _)| *other != key);
                            prop_assert_eq!(parking.leaves(head, now), empty);
                        } else {
                            model.parked[at].2 = attempts + 1;
                            parking.waits(head, now + POLICY.wait(attempts + 1));
                        }
                    }
                    Event::Urged(key) => parking.urge(Some(&[key]), 0, now),
                    Event::TakenAnew => {
                        let row = |(id, key, attempts): &(i64, Option<u8>, u32)| {
                            row(*id, key.as_ref().map(std::slice::from_ref), *attempts, 0)
                        };
                        parking = Parking::new(model.parked.iter().map(row).collect(), &POLICY, usize::MAX, now);
                    }
                }
                prop_assert_eq!(parking.len(), model.parked.len());
            }
            // Whatever is left drains, in order.
            while let Some(due) = parking.next_due() {
                now = now.max(due);
                let head = parking.head(None, now).expect("it is due");
                let at = model.parked.iter().position(|(row, ..)| *row == head.row).expect("it is parked");
                let (row, key, _) = model.parked.remove(at);
                model.done.push((key, row));
                parking.leaves(head, now);
            }
            prop_assert!(model.parked.is_empty() && parking.is_empty() && parking.by_key.is_empty());
            prop_assert!(parking.alone.is_empty() && parking.lines.is_empty());
            for key in 0..4 {
                let of_key: Vec<i64> =
                    model.done.iter().filter(|(done, _)| *done == Some(key)).map(|(_, row)| *row).collect();
                prop_assert!(of_key.is_sorted(), "key {key}: {of_key:?}");
            }
            prop_assert_eq!(model.done.len() as i64, model.came);
        }
    }
}
