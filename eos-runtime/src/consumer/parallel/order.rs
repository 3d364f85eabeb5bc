//! Which record of a partition may be begun, and how far its offset may go.
//!
//! Of each key one record is in hand at the most, the lowest that is not done; with fewer than so many in hand, a record whose
//! key has none is begun at once, the lowest of all first. A record without a key is in nobody's way. The offset goes up to the
//! lowest record that is not done, and no further. All of it is known in memory, and nothing here waits: whoever takes
//! the partition next begins at that offset, and handles again what was done above it.
//!
//! No more than [`AT_MOST`] records, done or not, lie between the lowest that is not done and the last that was
//! taken. So a record that fails for hours, or a key that most records have, costs no more memory than that, and no more
//! records are handled again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::record::Record;

/// From the lowest record that is not done to the last that was taken, at the most; twice the hands where those are more.
/// As many as the source keeps ready: enough that many keys are found in them, and few enough to be handled twice.
const AT_MOST: usize = 2_000;
/// What those that wait may weigh, so that large ones are fewer.
const BYTES_AT_MOST: usize = 8 << 20;

/// The records of a partition that were taken and are not behind its offset.
#[derive(Debug)]
pub(super) struct Order {
    /// How many records are in hand at the most.
    hands: usize,
    in_hand: usize,
    /// How many are taken at the most.
    at_most: usize,
    /// All from the lowest that is not done, by their offsets, and whether they are done.
    taken: VecDeque<(i64, Done)>,
    /// Those that may be begun: no lower one of their key is left.
    ready: BTreeMap<i64, Record>,
    /// Those that wait for one of their key, which is in hand or ready. A key has a line as long as any of it is not done.
    lines: HashMap<Arc<[u8]>, VecDeque<Record>>,
    /// What those that are not yet begun weigh.
    waiting_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Yes,
    No,
}

impl Order {
    /// Nothing is taken yet.
    pub(super) fn new(hands: usize) -> Self {
        Order {
            hands,
            in_hand: 0,
            at_most: AT_MOST.max(2 * hands),
            taken: VecDeque::new(),
            ready: BTreeMap::new(),
            lines: HashMap::new(),
            waiting_bytes: 0,
        }
    }

    /// Whether another record may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.taken.len() < self.at_most && self.waiting_bytes < BYTES_AT_MOST
    }

    /// Takes a record, which lies above all that were taken before.
    pub(super) fn take(&mut self, record: Record) {
        self.taken.push_back((record.offset(), Done::No));
        self.waiting_bytes += weight(&record);
        if let Some(key) = record.key() {
            if let Some(line) = self.lines.get_mut(key) {
                line.push_back(record);
                return;
            }
            self.lines.insert(Arc::from(key), VecDeque::new());
        }
        self.ready.insert(record.offset(), record);
    }

    /// The next record for a free hand, if there are both.
    pub(super) fn begin(&mut self) -> Option<Record> {
        if self.in_hand == self.hands {
            return None;
        }
        let (_, record) = self.ready.pop_first()?;
        self.in_hand += 1;
        self.waiting_bytes -= weight(&record);
        Some(record)
    }

    /// A record that was begun is done: the next of its key may be begun. How far the offset may go now, where that is
    /// further than before.
    pub(super) fn done(&mut self, record: &Record) -> Option<i64> {
        self.in_hand -= 1;
        if let Some(key) = record.key()
            && let Some(line) = self.lines.get_mut(key)
        {
            match line.pop_front() {
                Some(next) => drop(self.ready.insert(next.offset(), next)),
                None => drop(self.lines.remove(key)),
            }
        }
        if let Ok(at) = self.taken.binary_search_by_key(&record.offset(), |(offset, _)| *offset) {
            self.taken[at].1 = Done::Yes;
        }
        let mut next = None;
        while let Some((offset, Done::Yes)) = self.taken.front() {
            next = Some(offset + 1);
            self.taken.pop_front();
        }
        next
    }
}

fn weight(record: &Record) -> usize {
    record.key().map_or(0, <[u8]>::len) + record.payload().map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const KEYS: u8 = 5;

    fn record(offset: i64, key: Option<u8>) -> Record {
        let record = Record::builder("t").at(0, offset);
        match key {
            Some(key) => record.key([key]).build(),
            None => record.build(),
        }
    }

    /// What can happen: a record is queued, behind a gap perhaps; one of those in hand is done; Kafka hears of the offset;
    /// the process dies, or its partition goes to another once some of those in hand are done.
    #[derive(Debug, Clone)]
    enum Event {
        Comes { key: Option<u8>, gap: i64 },
        Ends(prop::sample::Index),
        IsTold,
        Dies,
        Moves(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            8 => (proptest::option::weighted(0.8, 0..KEYS), 0..3_i64)
                .prop_map(|(key, gap)| Event::Comes { key, gap }),
            8 => any::<prop::sample::Index>().prop_map(Event::Ends),
            1 => Just(Event::IsTold),
            1 => Just(Event::Dies),
            1 => (0..4_usize).prop_map(Event::Moves),
        ];
        proptest::collection::vec(event, 0..300)
    }

    /// A log, and what every owner of it has done.
    #[derive(Default)]
    struct Model {
        log: Vec<(i64, Option<u8>)>,
        done: BTreeSet<i64>,
        /// What a next owner would be told by Kafka.
        told: i64,
    }

    impl Model {
        /// The lowest record that no owner has done.
        fn undone(&self) -> Option<i64> {
            self.log.iter().map(|(offset, _)| *offset).find(|offset| !self.done.contains(offset))
        }
    }

    /// Whoever has the partition.
    struct Owner {
        order: Order,
        /// The place in the log of the next record to take.
        next: usize,
        taken: Vec<i64>,
        /// Taken and not done, by this owner.
        open: Vec<(i64, Option<u8>)>,
        in_hand: Vec<Record>,
        /// Where it began, and where its offset stands.
        from: i64,
        offset: i64,
    }

    impl Owner {
        fn new(model: &Model, hands: usize, at_most: usize) -> Self {
            let next = model.log.iter().position(|(offset, _)| *offset >= model.told);
            Owner {
                order: Order { at_most, ..Order::new(hands) },
                next: next.unwrap_or(model.log.len()),
                taken: Vec::new(),
                open: Vec::new(),
                in_hand: Vec::new(),
                from: model.told,
                offset: model.told,
            }
        }

        fn works(&mut self, model: &Model) -> Result<(), TestCaseError> {
            while let Some(&(offset, key)) = model.log.get(self.next).filter(|_| self.order.has_room()) {
                self.order.take(record(offset, key));
                self.taken.push(offset);
                self.open.push((offset, key));
                self.next += 1;
            }
            while let Some(record) = self.order.begin() {
                let offset = record.offset();
                if let Some(key) = record.key() {
                    let alone = self.in_hand.iter().all(|other| other.key() != Some(key));
                    prop_assert!(alone, "two of a key are in hand");
                    let before =
                        model.log.iter().filter(|(lower, of)| *lower < offset && *of == Some(key[0]));
                    for (lower, _) in before {
                        prop_assert!(model.done.contains(lower), "{offset} has overtaken {lower}");
                    }
                }
                self.in_hand.push(record);
            }
            prop_assert!(self.in_hand.len() <= self.order.hands);
            let held = self.taken.iter().filter(|offset| **offset >= self.offset).count();
            prop_assert!(held <= self.order.at_most, "{held} are held");
            let waits = |(offset, key): &(i64, Option<u8>)| {
                let has = |record: &Record| match key {
                    Some(key) => record.key() == Some(&[*key]),
                    None => record.offset() == *offset,
                };
                !self.in_hand.iter().any(has)
            };
            let is_idle = self.in_hand.len() < self.order.hands && self.open.iter().any(waits);
            prop_assert!(!is_idle, "a hand is free, and a key has none");
            Ok(())
        }

        fn ends(&mut self, model: &mut Model, which: usize) -> Result<(), TestCaseError> {
            let record = self.in_hand.swap_remove(which);
            self.open.retain(|(offset, _)| *offset != record.offset());
            model.done.insert(record.offset());
            if let Some(next) = self.order.done(&record) {
                prop_assert!(next > self.offset, "the offset only grows");
                self.offset = next;
            }
            let lowest = self.open.first().map(|(offset, _)| *offset);
            prop_assert!(
                lowest.is_none_or(|lowest| self.offset <= lowest),
                "the offset has passed {lowest:?}"
            );
            let below = self.taken.iter().take_while(|offset| lowest.is_none_or(|lowest| **offset < lowest));
            prop_assert_eq!(self.offset, below.last().map_or(self.from, |last| last + 1), "as far as it may");
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn keys_keep_their_order_no_hand_is_idle_and_the_offset_passes_nothing_that_is_not_done(
            hands in 1..5_usize,
            at_most in 1..30_usize,
            events in events(),
        ) {
            let mut model = Model::default();
            let mut owner = Owner::new(&model, hands, at_most);
            let mut end = 0;
            for event in events {
                match event {
                    Event::Comes { key, gap } => {
                        model.log.push((end + gap, key));
                        end += gap + 1;
                    }
                    Event::Ends(which) if !owner.in_hand.is_empty() => {
                        owner.ends(&mut model, which.index(owner.in_hand.len()))?;
                    }
                    Event::Ends(_) => {}
                    Event::IsTold => model.told = owner.offset,
                    Event::Dies => owner = Owner::new(&model, hands, at_most),
                    Event::Moves(some) => {
                        for _ in 0..some.min(owner.in_hand.len()) {
                            owner.ends(&mut model, 0)?;
                        }
                        model.told = owner.offset;
                        owner = Owner::new(&model, hands, at_most);
                    }
                }
                owner.works(&model)?;
                prop_assert!(model.undone().is_none_or(|undone| owner.offset <= undone), "one would be lost");
            }
            while !owner.in_hand.is_empty() {
                owner.ends(&mut model, 0)?;
                owner.works(&model)?;
            }
            prop_assert_eq!(model.undone(), None);
            prop_assert_eq!(owner.offset, model.log.last().map_or(0, |(last, _)| last + 1));
            let Order { in_hand, taken, ready, lines, waiting_bytes, .. } = owner.order;
            prop_assert!(taken.is_empty() && ready.is_empty() && lines.is_empty());
            prop_assert_eq!((in_hand, waiting_bytes), (0, 0));
        }
    }

    #[test]
    fn a_key_that_waits_and_what_is_done_behind_it_take_so_much_room_and_no_more() {
        let mut order = Order::new(4);
        order.take(record(0, Some(0)));
        let stuck = order.begin().expect("it is begun");
        let mut offset = 0;
        while order.has_room() && offset < 10_000 {
            offset += 1;
            order.take(record(offset, None));
            let other = order.begin().expect("it is in nobody's way");
            assert_eq!(order.done(&other), None);
        }
        assert_eq!(offset, 1_999, "they are done, and still count");
        assert_eq!(order.done(&stuck), Some(2_000));
        assert!(order.has_room());
        assert_eq!(Order::new(5_000).at_most, 10_000, "each hand finds another key");
    }

    #[test]
    fn records_that_wait_weigh_so_much_and_no_more() {
        let mut order = Order::new(2);
        let large = |offset| Record::builder("t").at(0, offset).key("a").payload(vec![0; 1 << 20]).build();
        let mut taken = 0;
        while order.has_room() {
            order.take(large(taken));
            taken += 1;
        }
        assert_eq!(taken, 8);
        let first = order.begin().expect("it is begun");
        assert!(order.has_room(), "what is in hand does not count");
        assert_eq!(order.done(&first), Some(1));
        assert_eq!(order.begin().map(|record| record.offset()), Some(1));
    }
}
