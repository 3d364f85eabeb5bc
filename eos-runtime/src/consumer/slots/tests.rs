//! The division of a log among slots, against a model: whatever starts again, dies or is silent, each record is handled once,
//! in order for each key.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::Done;
use super::division::Division;
use crate::record::Record;
use crate::source::{CommittedInKafka, Lease, LeaseId, Requests, SourceError, Watermarks};
use crate::store::KeySlot;

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    /// So many records are read.
    Read(usize),
    /// A slot's worker takes so many out of its queue.
    Work(usize, usize),
    /// It takes its row again, and starts where that stands; or at the record before, to compare it.
    Restart(usize, bool),
    /// The source cannot go on, and each worker starts again when it has worked off what it has.
    Lost,
    /// The slots are to come to the end of what there is by now.
    GoOn,
    /// Another process goes on.
    Crash,
    /// Idle slots are taken on.
    Idle,
}

/// A partition, its rows and its workers.
struct Model {
    log: Vec<Record>,
    division: Division,
    slots: Vec<Slot>,
    slots_in_all: i32,
    /// The place in the log of what is read next.
    next: usize,
    until: Option<i64>,
    handled: Vec<i64>,
}

#[derive(Default)]
struct Slot {
    position: i64,
    queue: VecDeque<Record>,
    /// What has to come first, to be compared.
    compares: Option<i64>,
    /// The last of its own that was handed over since it started.
    handed: Option<i64>,
    /// It is asked to start again.
    is_suspicious: bool,
}

impl Model {
    fn new(log: Vec<Record>, positions: &[i64], until: Option<i64>) -> Self {
        let slots =
            positions.iter().map(|&position| Slot { position, ..Slot::default() }).collect::<Vec<_>>();
        let division = Division::new(slots.len(), until);
        let slots_in_all = slots.len() as i32;
        let mut model =
            Model { log, division, slots, slots_in_all, next: usize::MAX, until, handled: Vec::new() };
        model.restart_all();
        model
    }

    fn restart_all(&mut self) {
        (0..self.slots.len()).for_each(|slot| self.restart(slot, false));
    }

    fn restart(&mut self, slot: usize, compares: bool) {
        let position = self.slots[slot].position;
        let last = self.log.iter().map(Record::offset).find(|offset| compares && offset + 1 == position);
        self.slots[slot] = Slot { position, compares: last, ..Slot::default() };
        self.division.starts(slot, last.unwrap_or(position));
        if let Some(offset) = self.division.rewind() {
            self.seek(offset);
        }
    }

    fn seek(&mut self, offset: i64) {
        self.next = self.log.partition_point(|record| record.offset() < offset);
    }

    fn read(&mut self, many: usize) {
        for _ in 0..many {
            let Some(record) = self.log.get(self.next).filter(|_| self.division.is_reading()) else { return };
            self.next += 1;
            let (slots, of) = (&mut self.slots, self.slots_in_all);
            self.division.next(record, |number| {
                let slot = &mut slots[number];
                if (KeySlot { number: number as i32, of }).has(record) {
                    let before = slot.handed.replace(record.offset());
                    assert!(before < Some(record.offset()), "{} was handed over twice", record.offset());
                }
                slot.queue.push_back(record.clone());
            });
        }
    }

    fn work(&mut self, slot: usize, many: usize) {
        let whose = KeySlot { number: slot as i32, of: self.slots_in_all };
        for _ in 0..many {
            let Some(record) = self.slots[slot].queue.pop_front() else {
                if self.slots[slot].is_suspicious {
                    self.restart(slot, false);
                }
                return;
            };
            let offset = record.offset();
            if let Some(last) = self.slots[slot].compares.take() {
                assert_eq!(offset, last, "the last record comes first");
            }
            if offset < self.slots[slot].position {
                continue;
            }
            if whose.has(&record) {
                assert!(self.until.is_none_or(|until| offset < until), "{offset} is beyond the end");
                self.handled.push(offset);
            }
            self.slots[slot].position = offset + 1;
        }
    }

    fn positions(&self) -> Vec<Option<i64>> {
        self.slots.iter().map(|slot| Some(slot.position)).collect()
    }

    fn apply(&mut self, event: &Event) {
        let slots = self.slots.len();
        match *event {
            Event::Read(many) => self.read(many),
            Event::Work(slot, many) => self.work(slot % slots, many),
            Event::Restart(slot, compares) => self.restart(slot % slots, compares),
            Event::Lost => {
                self.division.lost();
                self.slots.iter_mut().for_each(|slot| slot.is_suspicious = true);
            }
            Event::GoOn => {
                let end = self.log.last().map_or(0, |last| last.offset() + 1);
                if let Some(offset) = self.division.go_on(end) {
                    self.until = Some(end);
                    self.seek(offset);
                }
            }
            Event::Crash => {
                self.division = Division::new(slots, self.until);
                self.restart_all();
            }
            Event::Idle => {
                let (positions, queues) = (self.positions(), &mut self.slots);
                self.division.idle(&positions, |slot, record| queues[slot].queue.push_back(record.clone()));
            }
        }
    }

    /// Until nothing is left to do.
    fn run_out(&mut self) {
        for _ in 0..2 {
            (0..self.slots.len()).for_each(|slot| self.work(slot, usize::MAX));
            self.read(usize::MAX);
        }
        (0..self.slots.len()).for_each(|slot| self.work(slot, usize::MAX));
    }
}

fn log(keys: &[Option<u8>], gaps: &[u8]) -> Vec<Record> {
    let mut offset = 0;
    let record = |(key, gap): (&Option<u8>, &u8)| {
        offset += i64::from(*gap) + 1;
        let record = Record::builder("t").at(0, offset);
        match key {
            Some(key) => record.key(format!("key-{key}")).build(),
            None => record.build(),
        }
    };
    keys.iter().zip(gaps).map(record).collect()
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..20usize).prop_map(Event::Read),
        8 => (0..8usize, 1..8usize).prop_map(|(slot, many)| Event::Work(slot, many)),
        2 => (0..8usize, any::<bool>()).prop_map(|(slot, compares)| Event::Restart(slot, compares)),
        1 => Just(Event::Lost),
        1 => Just(Event::GoOn),
        1 => Just(Event::Crash),
        2 => Just(Event::Idle),
    ]
}

/// Offsets that are handled, each once, and those of a key in their order.
fn assert_once_and_in_order(model: &Model, expected: &[i64]) {
    let mut handled = model.handled.clone();
    handled.sort_unstable();
    assert_eq!(handled, expected);
    let keys: HashMap<i64, &[u8]> =
        model.log.iter().filter_map(|record| Some((record.offset(), record.key()?))).collect();
    let mut last: HashMap<&[u8], i64> = HashMap::new();
    for offset in &model.handled {
        if let Some(key) = keys.get(offset)
            && let Some(before) = last.insert(key, *offset)
        {
            assert!(before < *offset, "{offset} came behind {before}, of the same key");
        }
    }
}

proptest! {
    #[test]
    fn each_record_is_handled_once_and_in_order_for_each_key(
        slots in 1..6usize,
        keys in prop::collection::vec(prop::option::weighted(0.8, 0..12u8), 0..80),
        gaps in prop::collection::vec(0..3u8, 80),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let log = log(&keys, &gaps);
        let all: Vec<i64> = log.iter().map(Record::offset).collect();
        let mut model = Model::new(log, &vec![0; slots], None);
        events.iter().for_each(|event| model.apply(event));
        model.run_out();
        assert_once_and_in_order(&model, &all);
        // Silent slots are taken on to the end.
        model.apply(&Event::Idle);
        model.run_out();
        let end = all.last().map_or(0, |last| last + 1);
        prop_assert!(model.slots.iter().all(|slot| slot.position == end));
    }

    #[test]
    fn slots_that_stand_apart_are_brought_together_and_nothing_beyond_is_touched(
        slots in 1..6usize,
        keys in prop::collection::vec(prop::option::weighted(0.8, 0..12u8), 1..80),
        gaps in prop::collection::vec(0..3u8, 80),
        before in prop::collection::vec(event(), 0..40),
        after in prop::collection::vec(event(), 0..40),
    ) {
        let log = log(&keys, &gaps);
        let mut model = Model::new(log.clone(), &vec![0; slots], None);
        before.iter().for_each(|event| model.apply(event));
        let positions: Vec<i64> = model.slots.iter().map(|slot| slot.position).collect();
        let until = positions.iter().copied().max().unwrap_or(0);
        let first: Vec<i64> = std::mem::take(&mut model.handled);

        let mut model = Model::new(log, &positions, Some(until));
        model.handled = first;
        for event in &after {
            model.apply(event);
            if model.division.done(&model.positions()).is_some() {
                break;
            }
        }
        model.run_out();
        let until = model.until.unwrap_or(0);
        prop_assert!(model.division.done(&model.positions()) == Some(until) || until == 0);
        let below: Vec<i64> = model.log.iter().map(Record::offset).filter(|offset| *offset < until).collect();
        assert_once_and_in_order(&model, &below);
    }
}

#[test]
fn what_is_done_holds_as_long_as_every_slot_stands_where_it_stood_and_not_beyond() {
    let done = Done { until: 100, positions: vec![100, 40] };
    assert!(done.holds(&[100, 40]));
    assert!(!done.holds(&[100, 39]), "the database lost its tail");
    assert!(!done.holds(&[100, 41]), "somebody goes on there");
    let moved = Done { until: 100, positions: vec![500, 300] };
    assert!(!moved.holds(&[500, 300]), "what lies between them was never looked at");
}

#[test]
fn behind_a_suspicion_no_slot_waits_for_another() {
    let mut division = Division::new(2, None);
    division.starts(0, 7);
    assert_eq!(division.rewind(), None, "at first the log is read once for all");
    division.starts(1, 3);
    assert_eq!(division.rewind(), Some(3));
    division.lost();
    division.starts(0, 9);
    assert_eq!(division.rewind(), Some(9), "the other works off what it has, or waits for its next attempt");
    division.starts(1, 5);
    assert_eq!(division.rewind(), Some(5));
}

/// A source that is asked nothing.
#[derive(Debug)]
struct Silent;

impl Requests for Silent {
    fn watermarks(&self, _: &Arc<str>, _: i32, _: oneshot::Sender<Result<Watermarks, SourceError>>) {}
    fn partitions(&self, _: &Arc<str>, _: oneshot::Sender<Result<i32, SourceError>>) {}
    fn seek(&self, _: LeaseId, _: i64, _: u64, _: oneshot::Sender<Result<(), SourceError>>) {}
    fn confirm(&self, _: LeaseId, _: i64, _: oneshot::Sender<Result<bool, SourceError>>) {}
    fn committed(&self, _: LeaseId, _: oneshot::Sender<Result<Option<CommittedInKafka>, SourceError>>) {}
    fn wake(&self) {}
}

#[tokio::test]
async fn what_all_branches_have_in_hand_fills_the_lease_and_one_that_ends_makes_room() {
    let (mut trunk, source) = Lease::new("t".into(), 0, 1, Arc::new(Silent));
    let records: Vec<Record> = (0..1_500).map(|offset| Record::builder("t").at(0, offset).build()).collect();
    let (mut one, to_one) = trunk.branch(0, Arc::new(Silent));
    let (other, to_other) = trunk.branch(1, Arc::new(Silent));
    source.hand_over(0, records.clone(), 1_500);
    let (first, bytes) = trunk.next_weighed().await.expect("handed over");
    to_one.hand_over(0, first, bytes);
    trunk.taken(1_500);
    assert!(!source.shared.is_full());
    to_other.hand_over(0, records, 1_500);
    assert!(source.shared.is_full(), "two thousand are enough, whoever has them");
    let taken = one.try_next().expect("handed over").len();
    one.taken(taken);
    assert!(!source.shared.has_room());
    drop(other);
    assert!(source.shared.has_room());
}
