//! The id that a record is deduped by: the bytes of its header, or their hash where they are long.

use sha2::{Digest, Sha256};

/// Up to this many bytes an id goes into the inbox as it is.
const LONGEST: usize = 64;

/// An id in the form that the inbox keeps; at most 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InboxId {
    bytes: [u8; LONGEST],
    len: u8,
}

impl InboxId {
    /// `None` for an empty id: a producer that writes an empty header has not named its message.
    pub(super) fn new(id: &[u8]) -> Option<Self> {
        if id.is_empty() {
            return None;
        }
        let mut bytes = [0; LONGEST];
        let len = if id.len() <= LONGEST {
            bytes[..id.len()].copy_from_slice(id);
            id.len()
        } else {
            // Named by its algorithm, so that a hash is never mistaken for a short id.
            bytes[..7].copy_from_slice(b"sha256:");
            bytes[7..39].copy_from_slice(&Sha256::digest(id));
            39
        };
        Some(InboxId { bytes, len: len as u8 })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_kept_and_long_ones_hashed() {
        assert_eq!(InboxId::new(b"a\0\xff").expect("an id").as_bytes(), b"a\0\xff");
        assert_eq!(InboxId::new(&[7; 64]).expect("an id").as_bytes(), [7; 64]);
        let (a, b) = (InboxId::new(&[7; 65]).expect("an id"), InboxId::new(&[7; 66]).expect("an id"));
        assert_ne!(a, b);
        assert_eq!(a.as_bytes().len(), 39);
        assert_eq!(InboxId::new(b""), None);
    }
}
