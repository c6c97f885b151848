//! `NAME.txnindex`: the transactions that were aborted, in the order of their markers (KIP-98).
//! 34 bytes an entry: version (`i16`, 0), producer id, first and last offset, and the last stable
//! offset when it was written (`i64` each).
//!
//! A reader of committed records needs those that overlap what it fetches. An entry's last stable
//! offset says that no transaction with a later marker begins before it, which is where a search
//! may stop.

use alloc::vec::Vec;

use super::IndexError;
use crate::limits::TXN_INDEX_ENTRY_BYTES as SIZE;

const VERSION: i16 = 0;

/// An aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first record.
    pub first_offset: i64,
    /// Its abort marker.
    pub last_offset: i64,
    /// The last stable offset as the marker was written.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    /// As it stands in the file.
    #[must_use]
    pub fn encode(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        for (at, value) in [
            self.producer_id,
            self.first_offset,
            self.last_offset,
            self.last_stable_offset,
        ]
        .into_iter()
        .enumerate()
        {
            bytes[2 + 8 * at..][..8].copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    fn decode(entry: &[u8; SIZE]) -> (i16, Self) {
        let field = |at: usize| {
            entry[2 + 8 * at..]
                .first_chunk()
                .map_or(0, |bytes| i64::from_be_bytes(*bytes))
        };
        let this = Self {
            producer_id: field(0),
            first_offset: field(1),
            last_offset: field(2),
            last_stable_offset: field(3),
        };
        (i16::from_be_bytes([entry[0], entry[1]]), this)
    }
}

/// All entries of a file.
///
/// # Errors
/// Says what is wrong; the index must then be rebuilt.
pub fn decode_all(index: &[u8]) -> Result<Vec<AbortedTxn>, IndexError> {
    let (chunks, rest) = index.as_chunks();
    if !rest.is_empty() {
        return Err(IndexError::Length {
            len: index.len() as u64,
            entry: SIZE,
        });
    }
    let mut entries = Vec::<AbortedTxn>::with_capacity(chunks.len());
    for (at, chunk) in chunks.iter().enumerate() {
        let (version, entry) = AbortedTxn::decode(chunk);
        if version != VERSION {
            return Err(IndexError::Version {
                entry: at,
                expected: VERSION,
                got: version,
            });
        }
        if entries
            .last()
            .is_some_and(|last| last.last_offset >= entry.last_offset)
        {
            return Err(IndexError::NotRising { entry: at });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Adds to `found` those of `entries` that overlap offsets `from..upto`. Says whether the search is
/// complete; otherwise it goes on in the next segment.
pub fn collect(
    entries: impl IntoIterator<Item = AbortedTxn>,
    from: i64,
    upto: i64,
    found: &mut Vec<AbortedTxn>,
) -> bool {
    for entry in entries {
        if entry.last_offset >= from && entry.first_offset < upto {
            found.push(entry);
        }
        if entry.last_stable_offset >= upto {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn txn(
        producer_id: i64,
        first_offset: i64,
        last_offset: i64,
        last_stable_offset: i64,
    ) -> AbortedTxn {
        AbortedTxn {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset,
        }
    }

    #[test]
    fn entries_survive_the_file() {
        let list = [txn(1, 0, 10, 5), txn(2, 5, 20, 21)];
        let mut file: Vec<u8> = list.iter().flat_map(|entry| entry.encode()).collect();
        assert_eq!(file.len(), 68);
        assert_eq!(decode_all(&file).unwrap(), list);
        file.push(0);
        assert_eq!(
            decode_all(&file),
            Err(IndexError::Length { len: 69, entry: 34 })
        );
        file.truncate(34);
        file[1] = 1;
        assert_eq!(
            decode_all(&file),
            Err(IndexError::Version {
                entry: 0,
                expected: 0,
                got: 1
            })
        );
        let file: Vec<u8> = [list[1], list[0]]
            .iter()
            .flat_map(|entry| entry.encode())
            .collect();
        assert_eq!(decode_all(&file), Err(IndexError::NotRising { entry: 1 }));
    }

    #[test]
    fn a_search_gives_what_overlaps_and_stops_when_nothing_later_can() {
        let list = [
            txn(1, 0, 10, 11),
            txn(2, 12, 20, 15),
            txn(3, 15, 30, 31),
            txn(4, 40, 50, 51),
        ];
        let search = |from, upto| {
            let mut found = vec![];
            let complete = collect(list, from, upto, &mut found);
            (
                found.iter().map(|txn| txn.producer_id).collect::<Vec<_>>(),
                complete,
            )
        };
        assert_eq!(search(0, 11), (vec![1], true));
        assert_eq!(search(11, 16), (vec![2, 3], true));
        assert_eq!(search(21, 35), (vec![3], true));
        assert_eq!(search(21, 60), (vec![3, 4], false));
    }
}
