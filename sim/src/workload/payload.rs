//! The value of a workload's record: it says who wrote it, where to and as which, and is checked.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    event::{Contents, RecordId, TopicPartition},
    hash::digest,
};

/// Producer, sequence, digest of the place, digest of all before it.
const FIXED: usize = 4 + 8 + 8 + 8;

/// The value of a record with `filler` bytes beside what identifies it.
#[must_use]
pub fn encode(record: RecordId, partition: &TopicPartition, filler: usize) -> Bytes {
    let mut value = BytesMut::with_capacity(FIXED + filler);
    value.put_u32(record.producer);
    value.put_u64(record.sequence);
    value.put_u64(place(partition));
    fill(&mut value, record.sequence, filler);
    let sum = digest(&[&value]);
    value.put_u64(sum);
    value.freeze()
}

/// Bytes that differ from record to record: a period of 256 that each begins at a place of its own.
fn fill(value: &mut BytesMut, sequence: u64, filler: usize) {
    const PERIOD: [u8; 256] = {
        let mut bytes = [0; 256];
        let mut at = 0;
        while at < bytes.len() {
            bytes[at] = (at * 31) as u8;
            at += 1;
        }
        bytes
    };
    // 223 is the inverse of 31: the first byte is the sequence number's lowest.
    let start = usize::from((sequence as u8).wrapping_mul(223));
    let mut left = filler;
    let mut piece = &PERIOD[start..];
    while left > 0 {
        let len = left.min(piece.len());
        value.put_slice(&piece[..len]);
        left -= len;
        piece = &PERIOD;
    }
}

/// What a value that was read at `partition` holds.
#[must_use]
pub fn decode(value: &[u8], partition: &TopicPartition) -> Contents {
    whole(value, partition).map_or_else(
        || Contents::Changed {
            digest: digest(&[value]),
        },
        Contents::Whole,
    )
}

fn whole(value: &[u8], partition: &TopicPartition) -> Option<RecordId> {
    let (body, sum) = value.split_last_chunk::<8>()?;
    let (producer, rest) = body.split_first_chunk::<4>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let found = rest.first_chunk::<8>()?;
    let fits = u64::from_be_bytes(*sum) == digest(&[body])
        && u64::from_be_bytes(*found) == place(partition);
    fits.then_some(RecordId {
        producer: u32::from_be_bytes(*producer),
        sequence: u64::from_be_bytes(*sequence),
    })
}

fn place(partition: &TopicPartition) -> u64 {
    digest(&[
        partition.topic.as_bytes(),
        &partition.partition.to_be_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_again_and_a_changed_or_misplaced_one_is_not() {
        let at = |partition| TopicPartition {
            topic: "t".into(),
            partition,
        };
        let record = RecordId {
            producer: 7,
            sequence: 9,
        };
        let value = encode(record, &at(1), 20);
        assert_eq!(decode(&value, &at(1)), Contents::Whole(record));
        assert!(matches!(decode(&value, &at(2)), Contents::Changed { .. }));
        for byte in 0..value.len() {
            let mut changed = value.to_vec();
            changed[byte] ^= 1;
            assert!(
                matches!(decode(&changed, &at(1)), Contents::Changed { .. }),
                "byte {byte}"
            );
        }
    }
}
