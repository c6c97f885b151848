//! `NAME.timeindex`: from timestamp to offset. Twelve bytes an entry: the largest timestamp so far
//! (`i64`) and the last offset of the batch that holds it, relative to the segment's base (`i32`).
//!
//! Both rise strictly. When a segment is rolled or closed a last entry is added with the largest
//! timestamp of all, which is how a sealed segment's largest timestamp is known without reading it.

use alloc::vec::Vec;

use super::IndexError;
use crate::limits::TIME_INDEX_ENTRY_BYTES as SIZE;

/// The largest timestamp of a segment up to some point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// The timestamp.
    pub timestamp: i64,
    /// The last offset of the batch that has it.
    pub offset: i64,
}

impl TimeEntry {
    /// As it stands in the file of the segment at `base`.
    #[must_use]
    pub fn encode(self, base: i64) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&((self.offset - base) as i32).to_be_bytes());
        bytes
    }

    fn decode(entry: &[u8; SIZE], base: i64) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
        Self {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            offset: base + i64::from(i32::from_be_bytes([i, j, k, l])),
        }
    }
}

/// The entries of the index of the segment at `base`; a rest shorter than an entry is left out.
pub fn entries(
    index: &[u8],
    base: i64,
) -> impl DoubleEndedIterator<Item = TimeEntry> + ExactSizeIterator + '_ {
    index
        .as_chunks()
        .0
        .iter()
        .map(move |entry| TimeEntry::decode(entry, base))
}

/// The largest entry whose timestamp is at or below `timestamp`; none earlier: the segment's start.
/// A record stamped at `timestamp` or later lies behind the offset it gives, or in that batch.
#[must_use]
pub fn lookup(index: &[u8], base: i64, timestamp: i64) -> TimeEntry {
    let chunks = index.as_chunks::<SIZE>().0;
    let above =
        chunks.partition_point(|entry| TimeEntry::decode(entry, base).timestamp <= timestamp);
    match above.checked_sub(1) {
        Some(at) => TimeEntry::decode(&chunks[at], base),
        None => TimeEntry {
            timestamp: -1,
            offset: base,
        },
    }
}

/// The last entry of a file's tail (at least its last twelve bytes), checked as Kafka does.
///
/// # Errors
/// Says what is wrong; the index must then be rebuilt.
pub fn check_tail(len: u64, tail: &[u8], base: i64) -> Result<Option<TimeEntry>, IndexError> {
    if !len.is_multiple_of(SIZE as u64) {
        return Err(IndexError::Length { len, entry: SIZE });
    }
    let Some(last) = tail.last_chunk::<SIZE>() else {
        return Ok(None);
    };
    let last = TimeEntry::decode(last, base);
    if last.offset < base || (last.timestamp == 0 && last.offset == base && len > SIZE as u64) {
        return Err(IndexError::NotRising {
            entry: (len / SIZE as u64) as usize - 1,
        });
    }
    Ok(Some(last))
}

/// A whole file.
#[must_use]
pub fn encode_all(base: i64, entries: &[TimeEntry]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| entry.encode(base))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: i64 = 50;

    #[test]
    fn lookup_gives_the_largest_at_or_below() {
        let list =
            [(100, 55), (200, 70)].map(|(timestamp, offset)| TimeEntry { timestamp, offset });
        let file = encode_all(BASE, &list);
        assert_eq!(file[..12], [0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 5]);
        for (timestamp, offset) in [
            (0, 50),
            (99, 50),
            (100, 55),
            (199, 55),
            (200, 70),
            (999, 70),
        ] {
            assert_eq!(lookup(&file, BASE, timestamp).offset, offset, "{timestamp}");
        }
        assert!(entries(&file, BASE).eq(list));
    }

    #[test]
    fn a_tail_of_zeros_or_of_odd_length_is_not_sane() {
        let file = encode_all(
            BASE,
            &[TimeEntry {
                timestamp: 9,
                offset: 51,
            }],
        );
        assert_eq!(
            check_tail(12, &file, BASE),
            Ok(Some(TimeEntry {
                timestamp: 9,
                offset: 51
            }))
        );
        assert_eq!(check_tail(0, &[], BASE), Ok(None));
        assert!(check_tail(13, &file, BASE).is_err());
        assert!(check_tail(24, &[0; 12], BASE).is_err());
    }
}
