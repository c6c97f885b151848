//! `NAME.index`: from offset to position. Eight bytes an entry: the last offset of a batch, relative
//! to the segment's base, and the position at which that batch begins, both `i32`.
//!
//! An entry names a batch's last offset, so the largest entry at or below a wanted offset never
//! lies behind it: a scan from there finds the batch that holds the offset.

use alloc::vec::Vec;

use super::IndexError;
use crate::limits::OFFSET_INDEX_ENTRY_BYTES as SIZE;

/// A batch in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Its last offset.
    pub offset: i64,
    /// Where it begins.
    pub position: u32,
}

impl OffsetEntry {
    /// As it stands in the file of the segment at `base`.
    #[must_use]
    pub fn encode(self, base: i64) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&((self.offset - base) as i32).to_be_bytes());
        bytes[4..].copy_from_slice(&(self.position as i32).to_be_bytes());
        bytes
    }

    fn decode(entry: &[u8; SIZE], base: i64) -> Self {
        let [a, b, c, d, e, f, g, h] = *entry;
        Self {
            offset: base + i64::from(i32::from_be_bytes([a, b, c, d])),
            position: i32::from_be_bytes([e, f, g, h]).max(0) as u32,
        }
    }
}

/// The entries of the index of the segment at `base`; a rest shorter than an entry is left out.
pub fn entries(
    index: &[u8],
    base: i64,
) -> impl DoubleEndedIterator<Item = OffsetEntry> + ExactSizeIterator + '_ {
    index
        .as_chunks()
        .0
        .iter()
        .map(move |entry| OffsetEntry::decode(entry, base))
}

/// The largest entry at or below `target`; the segment's start if there is none.
#[must_use]
pub fn lookup(index: &[u8], base: i64, target: i64) -> OffsetEntry {
    let chunks = index.as_chunks::<SIZE>().0;
    let above = chunks.partition_point(|entry| OffsetEntry::decode(entry, base).offset <= target);
    match above.checked_sub(1) {
        Some(at) => OffsetEntry::decode(&chunks[at], base),
        None => OffsetEntry {
            offset: base,
            position: 0,
        },
    }
}

/// The last entry of a file's tail (at least its last eight bytes), checked as Kafka does on opening: the
/// length is whole and the last entry lies above the base.
///
/// # Errors
/// Says what is wrong; the index must then be rebuilt.
pub fn check_tail(len: u64, tail: &[u8], base: i64) -> Result<Option<OffsetEntry>, IndexError> {
    if !len.is_multiple_of(SIZE as u64) {
        return Err(IndexError::Length { len, entry: SIZE });
    }
    let Some(last) = tail.last_chunk::<SIZE>() else {
        return Ok(None);
    };
    let last = OffsetEntry::decode(last, base);
    // A first batch at position 0 has an entry only if index.interval.bytes is 0; a preallocated tail is all zeros.
    if last.offset < base || (last.offset == base && last.position == 0 && len > SIZE as u64) {
        return Err(IndexError::NotRising {
            entry: (len / SIZE as u64) as usize - 1,
        });
    }
    Ok(Some(last))
}

/// A whole file.
#[must_use]
pub fn encode_all(base: i64, entries: &[OffsetEntry]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| entry.encode(base))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: i64 = 1000;

    #[test]
    fn lookup_gives_the_largest_at_or_below() {
        let list = [(1004, 4100), (1009, 9000), (1020, 20_000)]
            .map(|(offset, position)| OffsetEntry { offset, position });
        let file = encode_all(BASE, &list);
        assert_eq!(file[..8], [0, 0, 0, 4, 0, 0, 0x10, 0x04]);
        for (target, position) in [
            (1000, 0),
            (1003, 0),
            (1004, 4100),
            (1008, 4100),
            (1009, 9000),
            (5000, 20_000),
        ] {
            assert_eq!(lookup(&file, BASE, target).position, position, "{target}");
        }
        assert_eq!(
            lookup(&[], BASE, 7),
            OffsetEntry {
                offset: BASE,
                position: 0
            }
        );
        assert!(entries(&file, BASE).eq(list));
    }

    #[test]
    fn a_tail_of_zeros_or_of_odd_length_is_not_sane() {
        let file = encode_all(
            BASE,
            &[OffsetEntry {
                offset: 1004,
                position: 4100,
            }],
        );
        assert_eq!(
            check_tail(8, &file, BASE),
            Ok(Some(OffsetEntry {
                offset: 1004,
                position: 4100
            }))
        );
        assert_eq!(check_tail(0, &[], BASE), Ok(None));
        assert!(check_tail(9, &file, BASE).is_err());
        assert!(check_tail(16, &[0; 8], BASE).is_err());
    }
}
