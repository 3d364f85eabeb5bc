//! Slots: a partition's keys split by hash, each slice with a position of its own.
//!
//! How many there are is written in each of the partition's rows, and every process that takes one of them goes by that. Which
//! slot a record belongs to follows from its key and that number alone, and must be the same in every version of eos: rows
//! outlive programs.

use crate::record::Record;

/// One slice of a partition's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeySlot {
    /// Which it is, from 0.
    pub(crate) number: i32,
    /// How many there are.
    pub(crate) of: i32,
}

impl KeySlot {
    /// All keys of a partition, where it is not split.
    pub(crate) const WHOLE: Self = KeySlot { number: 0, of: 1 };

    /// Each of so many.
    pub(crate) fn each_of(slots: i32) -> impl Iterator<Item = Self> {
        (0..slots).map(move |number| KeySlot { number, of: slots })
    }

    /// Whether the record is its.
    pub(crate) fn has(self, record: &Record) -> bool {
        self.has_key(record.key(), record.offset())
    }

    /// Whether a record with this key, at this offset, is its. Those without a key have no order among each other.
    pub(crate) fn has_key(self, key: Option<&[u8]>, offset: i64) -> bool {
        self.of == 1 || slot_of(key, offset, self.of) == self.number
    }

    pub(crate) fn is_whole(self) -> bool {
        self.of == 1
    }
}

/// The number of the slot, among so many.
pub(crate) fn slot_of(key: Option<&[u8]>, offset: i64, slots: i32) -> i32 {
    let hash = match key {
        Some(key) => crc32fast::hash(key),
        None => crc32fast::hash(&offset.to_be_bytes()),
    };
    // Producers choose partitions by the lowest bits of a hash, and some of them by this one: a partition's keys have those in
    // common. All bits are mixed, and the highest taken. The product is less than `slots`.
    let mixed = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((mixed * u64::from(slots.unsigned_abs())) >> 32) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_the_same_in_every_version() {
        let slots: Vec<i32> =
            ["", "a", "customer-7", "42"].map(|key| slot_of(Some(key.as_bytes()), 0, 16)).into();
        assert_eq!(slots, [0, 11, 11, 8]);
        assert_eq!([0, 1, 2, 1_000_000].map(|offset| slot_of(None, offset, 16)), [9, 0, 7, 14]);
    }

    #[test]
    fn each_key_has_one_slot_and_each_slot_its_share_also_of_the_keys_of_one_partition() {
        const SLOTS: i32 = 16;
        let mut of_slot = [0; SLOTS as usize];
        let keys = (0..1_000_000).map(|n| format!("customer-{n}")).filter(|key| {
            // As librdkafka's own partitioner chooses one of 16 partitions.
            crc32fast::hash(key.as_bytes()) % 16 == 3
        });
        let mut many = 0;
        for key in keys {
            let its: Vec<KeySlot> =
                KeySlot::each_of(SLOTS).filter(|slot| slot.has_key(Some(key.as_bytes()), 0)).collect();
            assert_eq!(its.len(), 1, "{key}");
            of_slot[its[0].number as usize] += 1;
            many += 1;
        }
        let share = many / SLOTS;
        assert!(of_slot.iter().all(|have| (have - share).abs() < share / 5), "{of_slot:?} of {many}");
    }
}
