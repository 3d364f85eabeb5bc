//! What a marker says: which entries a Kafka transaction published, by number and by a checksum of the id.
//!
//! The id is in it because a database that lost its tail gives out numbers again: a new entry must not be taken for one that
//! was published under its number.

use crate::store::Sent;

/// An entry as a marker names it: its number, and a checksum of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Marked {
    pub(super) seq: i64,
    checksum: u32,
}

impl Marked {
    pub(super) fn of(sent: &Sent) -> Self {
        Marked { seq: sent.seq, checksum: crc32fast::hash(sent.id.as_bytes()) }
    }
}

/// Each entry as its number's distance from the one before, seven bits a byte, and the checksum.
pub(super) fn write_marker(sent: &[Sent]) -> Vec<u8> {
    let mut marked: Vec<Marked> = sent.iter().map(Marked::of).collect();
    marked.sort_unstable();
    let mut marker = vec![MARKER_VERSION];
    let mut before = 0;
    for Marked { seq, checksum } in marked {
        let mut distance = seq.wrapping_sub(before).cast_unsigned();
        before = seq;
        while distance >= 0x80 {
            marker.push((distance & 0x7f) as u8 | 0x80);
            distance >>= 7;
        }
        marker.push(distance as u8);
        marker.extend(checksum.to_be_bytes());
    }
    marker
}

const MARKER_VERSION: u8 = 1;

/// What an entry may take in a marker.
pub(super) const MARKED_BYTES: usize = 14;

pub(super) fn read_marker(marker: &[u8]) -> Result<Vec<Marked>, String> {
    const CUT_OFF: &str = "the lane's last marker is cut off";
    let Some((&MARKER_VERSION, mut bytes)) = marker.split_first() else {
        return Err(
            "the lane's last marker was written by a version of eos that this one does not know".to_owned()
        );
    };
    let (mut marked, mut before) = (Vec::new(), 0_i64);
    while !bytes.is_empty() {
        let (mut distance, mut shift) = (0_u64, 0);
        loop {
            let Some((byte, rest)) = bytes.split_first() else { return Err(CUT_OFF.to_owned()) };
            bytes = rest;
            distance |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some((checksum, rest)) = bytes.split_first_chunk() else { return Err(CUT_OFF.to_owned()) };
        bytes = rest;
        before = before.wrapping_add(distance.cast_signed());
        marked.push(Marked { seq: before, checksum: u32::from_be_bytes(*checksum) });
    }
    Ok(marked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(seq: i64) -> Sent {
        Sent { seq, id: format!("id-{seq}").into() }
    }

    proptest! {
        #[test]
        fn a_marker_reads_as_it_was_written(seqs in prop::collection::vec(any::<i64>(), 0..200)) {
            let sent: Vec<Sent> = seqs.into_iter().map(sent).collect();
            let mut wanted: Vec<Marked> = sent.iter().map(Marked::of).collect();
            wanted.sort_unstable();
            prop_assert_eq!(read_marker(&write_marker(&sent)).expect("it reads"), wanted);
        }

        #[test]
        fn numbers_that_follow_each_other_take_few_bytes(first in 0_i64..i64::MAX - 5_000, count in 1_i64..5_000) {
            let sent: Vec<Sent> = (first..first + count).map(sent).collect();
            prop_assert!(write_marker(&sent).len() <= 10 + 5 * sent.len());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            drop(read_marker(&bytes));
        }
    }

    #[test]
    fn a_row_that_got_the_number_of_another_is_not_taken_for_it() {
        let other = Sent { seq: 7, id: "another".into() };
        assert_ne!(Marked::of(&sent(7)), Marked::of(&other));
    }
}
