//! `OFFSET.snapshot`: the producers of a log as they stood before an offset, in Kafka's format.
//!
//! Version (`i16`, 1), CRC-32C of what follows, count (`i32`), and 46 bytes an entry. Kafka writes one
//! entry a producer, with its last batch: after a restart it no longer knows the four before it, and
//! a client whose five batches in flight were all written but never answered writes them twice. Here
//! each remembered batch is an entry, the oldest first. Kafka reads such a file as its own, because
//! the last entry of a producer is the one that it keeps.

use alloc::vec::Vec;

use bytes::{Buf as _, BufMut as _, Bytes};

use super::producers::{KeptBatch, ProducerEntry};
use crate::{batch, limits::PRODUCER_SNAPSHOT_ENTRY_BYTES};

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
/// The checksum covers what lies behind it.
const CRC_FROM: usize = 6;

/// Why a snapshot cannot be used. It is then deleted, and an older one taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Its length is not what its count says.
    #[error("{got} bytes, expected {expected}")]
    Length {
        /// From the count.
        expected: u64,
        /// The file's.
        got: u64,
    },
    /// Another version.
    #[error("version {got}, expected {VERSION}")]
    Version {
        /// The file's.
        got: i16,
    },
    /// The checksum does not match.
    #[error("checksum {expected:08x}, the bytes give {got:08x}")]
    Crc {
        /// The file's.
        expected: u32,
        /// The bytes'.
        got: u32,
    },
}

/// Writes a snapshot.
pub fn format<'a>(producers: impl ExactSizeIterator<Item = (i64, &'a ProducerEntry)>) -> Bytes {
    let mut out =
        Vec::with_capacity(HEADER_BYTES + producers.len() * PRODUCER_SNAPSHOT_ENTRY_BYTES);
    out.put_i16(VERSION);
    out.put_u32(0);
    out.put_i32(0);
    let mut count = 0;
    for (id, entry) in producers {
        if let Some((_, older)) = entry.batches().split_last() {
            for batch in older {
                put_entry(&mut out, id, entry, Some(batch), batch.timestamp, None);
            }
            count += older.len();
        }
        let open = entry.current_txn_first_offset;
        put_entry(
            &mut out,
            id,
            entry,
            entry.last_batch(),
            entry.last_timestamp,
            open,
        );
        count += 1;
    }
    out[CRC_FROM..HEADER_BYTES].copy_from_slice(&(count as i32).to_be_bytes());
    let crc = batch::crc32c(&out[CRC_FROM..]);
    out[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    out.into()
}

fn put_entry(
    out: &mut Vec<u8>,
    id: i64,
    entry: &ProducerEntry,
    batch: Option<&KeptBatch>,
    timestamp: i64,
    open: Option<i64>,
) {
    out.put_i64(id);
    out.put_i16(entry.producer_epoch);
    out.put_i32(batch.map_or(-1, |batch| batch.last_sequence));
    out.put_i64(batch.map_or(-1, |batch| batch.last_offset));
    out.put_i32(batch.map_or(0, |batch| batch.offset_delta));
    out.put_i64(timestamp);
    out.put_i32(entry.coordinator_epoch);
    out.put_i64(open.unwrap_or(-1));
}

/// Reads a snapshot, Kafka's or ours.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Vec<(i64, ProducerEntry)>, SnapshotError> {
    let length = |expected: usize| SnapshotError::Length {
        expected: expected as u64,
        got: bytes.len() as u64,
    };
    if bytes.len() < HEADER_BYTES {
        return Err(length(HEADER_BYTES));
    }
    let mut rest = bytes;
    let (version, expected) = (rest.get_i16(), rest.get_u32());
    if version != VERSION {
        return Err(SnapshotError::Version { got: version });
    }
    let got = batch::crc32c(rest);
    if got != expected {
        return Err(SnapshotError::Crc { expected, got });
    }
    let count = usize::try_from(rest.get_i32()).unwrap_or(usize::MAX);
    let entries = count.saturating_mul(PRODUCER_SNAPSHOT_ENTRY_BYTES);
    if rest.len() != entries {
        return Err(length(entries.saturating_add(HEADER_BYTES)));
    }
    let mut producers: Vec<(i64, ProducerEntry)> = Vec::with_capacity(count);
    while rest.len() >= PRODUCER_SNAPSHOT_ENTRY_BYTES {
        let (id, epoch, last_sequence, last_offset, offset_delta) = (
            rest.get_i64(),
            rest.get_i16(),
            rest.get_i32(),
            rest.get_i64(),
            rest.get_i32(),
        );
        let (timestamp, coordinator_epoch, first) =
            (rest.get_i64(), rest.get_i32(), rest.get_i64());
        let last = KeptBatch {
            last_sequence,
            last_offset,
            offset_delta,
            timestamp,
        };
        let last = (last_offset >= 0).then_some(last);
        let open = (first >= 0).then_some(first);
        let entry = ProducerEntry::from_snapshot(epoch, coordinator_epoch, timestamp, open, last);
        match producers.last_mut().filter(|(before, _)| *before == id) {
            Some((_, before)) => *before = entry.behind(before),
            None => producers.push((id, entry)),
        }
    }
    Ok(producers)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn producers_survive_the_file_and_damage_is_noticed() {
        let last = KeptBatch {
            last_sequence: 9,
            last_offset: 100,
            offset_delta: 4,
            timestamp: 77,
        };
        let older = KeptBatch {
            last_sequence: 4,
            last_offset: 50,
            offset_delta: 4,
            timestamp: 70,
        };
        let older = ProducerEntry::from_snapshot(0, -1, 70, None, Some(older));
        let newest = ProducerEntry::from_snapshot(0, -1, 77, None, Some(last));
        let producers = vec![
            (1, newest.behind(&older)),
            (5, ProducerEntry::from_snapshot(3, 2, 99, Some(40), None)),
        ];
        let file = format(producers.iter().map(|(id, entry)| (*id, entry)));
        assert_eq!(file.len(), 10 + 3 * 46);
        assert_eq!(parse(&file), Ok(producers));
        for at in 0..file.len() {
            let mut bad = file.to_vec();
            bad[at] ^= 1;
            assert!(parse(&bad).is_err(), "{at}");
            assert!(parse(&file[..at]).is_err(), "{at}");
        }
    }
}
