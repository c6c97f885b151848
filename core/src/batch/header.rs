//! The 61 bytes at the start of a version 2 record batch.

use crate::limits::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES};

/// A batch's header, as it is in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes after this field.
    pub length: i32,
    /// The epoch of the leader that appended it.
    pub partition_leader_epoch: i32,
    /// The format's version.
    pub magic: i8,
    /// CRC-32C of everything after this field.
    pub crc: u32,
    /// Compression (3 bits), timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// Offset of the last record less that of the first.
    pub last_offset_delta: i32,
    /// Timestamp of the first record.
    pub base_timestamp: i64,
    /// The largest timestamp.
    pub max_timestamp: i64,
    /// The producer's id, or -1.
    pub producer_id: i64,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// The first record's sequence number, or -1.
    pub base_sequence: i32,
    /// How many records.
    pub count: i32,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        field.copy_from_slice(found);
    }
    field
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; none if there are too few.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        Some(Self {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            length: i32::from_be_bytes(field(bytes, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            magic: i8::from_be_bytes(field(bytes, 16)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// The whole batch's size; none if the length field is impossible.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        let size = usize::try_from(self.length).ok()? + BATCH_OVERHEAD_BYTES;
        (BATCH_HEADER_BYTES..=BATCH_BYTES_MAX)
            .contains(&size)
            .then_some(size)
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The last record's sequence number, or -1; they go round from `i32::MAX` to 0.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    #[must_use]
    pub fn compression(&self) -> u8 {
        (self.attributes & 7) as u8
    }

    /// Whether timestamps are the leader's.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 8 != 0
    }

    /// Whether it belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & 16 != 0
    }

    /// Whether its records are markers and not data.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & 32 != 0
    }
}

/// The marker that ends a transaction: the record of a control batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Whether it commits.
    pub commit: bool,
    /// The epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker in a control batch's first record; none if it is of another kind.
    #[must_use]
    pub fn parse(batch: &[u8]) -> Option<Self> {
        let mut rest = batch.get(BATCH_HEADER_BYTES..)?;
        let _length = varint(&mut rest)?;
        rest = rest.get(1..)?;
        let _timestamp_delta = varint(&mut rest)?;
        let _offset_delta = varint(&mut rest)?;
        let key_len = usize::try_from(varint(&mut rest)?).ok()?;
        let (key, mut rest) = rest.split_at_checked(key_len)?;
        let value_len = usize::try_from(varint(&mut rest)?).ok()?;
        let value = rest.get(..value_len)?;
        let commit = match i16::from_be_bytes([*key.get(2)?, *key.get(3)?]) {
            0 => false,
            1 => true,
            _ => return None,
        };
        let coordinator_epoch = i32::from_be_bytes(*value.get(2..)?.first_chunk()?);
        Some(Self {
            commit,
            coordinator_epoch,
        })
    }
}

fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 127).checked_shl(shift)?;
        if byte < 128 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}
