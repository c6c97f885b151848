//! [`BatchBuilder`]: makes a batch of records.

use bytes::{BufMut, Bytes, BytesMut};

use super::header::at;
use super::{
    Attributes, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, NO_EPOCH, NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, RecordHeader, TimestampType, crc32c,
};
use crate::codec::varint;

/// Why a record does not go into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The offset does not follow those before it, or lies too far from the first.
    #[error(
        "the offset {got} cannot follow in a batch that begins at {base_offset} and goes on at {least}"
    )]
    Offset {
        /// The batch's first offset.
        base_offset: i64,
        /// The least that is possible.
        least: i64,
        /// The record's.
        got: i64,
    },
    /// The timestamp is too far from the batch's first.
    #[error("the timestamp {got} is too far from {base}")]
    Timestamp {
        /// The batch's first.
        base: i64,
        /// The record's.
        got: i64,
    },
    /// The batch would have more bytes than its length can say.
    #[error("the batch would have {length} bytes")]
    TooLong {
        /// How long it would be.
        length: usize,
    },
}

/// Collects records into a batch, in the very bytes that the batch will have.
///
/// The setters say what a broker or a producer must know of the batch as a whole; a fresh builder
/// makes a plain, uncompressed batch at offset 0 of no particular producer.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    buffer: BytesMut,
    header: BatchHeader,
    /// What the next record's offset delta is, unless it says otherwise.
    next_delta: i32,
    append_time: Option<i64>,
    delete_horizon: Option<i64>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::with_buffer(BytesMut::new())
    }

    /// An empty one that fills the memory of `buffer`, whatever it held.
    pub fn with_buffer(mut buffer: BytesMut) -> Self {
        buffer.clear();
        buffer.put_bytes(0, HEADER_LEN);
        BatchBuilder {
            buffer,
            header: BatchHeader {
                base_offset: 0,
                batch_length: 0,
                partition_leader_epoch: NO_EPOCH,
                crc: 0,
                attributes: Attributes::default(),
                last_offset_delta: -1,
                base_timestamp: NO_TIMESTAMP,
                max_timestamp: NO_TIMESTAMP,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            next_delta: 0,
            append_time: None,
            delete_horizon: None,
        }
    }

    /// An empty one for some of the records of another batch, as compaction makes it: all but the
    /// records themselves, their compression and their timestamps is that batch's, its last offset too.
    pub fn like(header: &BatchHeader) -> Self {
        let mut new = Self::new();
        new.delete_horizon = header.delete_horizon();
        if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
            new.append_time = Some(header.max_timestamp);
        }
        new.header = BatchHeader {
            attributes: header.attributes.with_compression(Compression::None),
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            records_count: 0,
            ..*header
        };
        new
    }

    /// The offset of the first record.
    #[must_use]
    pub fn base_offset(mut self, offset: i64) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// The epoch of the leader that appends the batch.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// The idempotent producer, and the sequence number of the first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn transactional(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(on);
        self
    }

    /// Whether it is a control batch.
    #[must_use]
    pub fn control(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_control(on);
        self
    }

    pub(super) fn make_control(&mut self) {
        self.header.attributes = self.header.attributes.with_control(true);
    }

    /// The time at which the leader appends the batch, which is then every record's.
    #[must_use]
    pub fn log_append_time(mut self, time: i64) -> Self {
        self.append_time = Some(time);
        self
    }

    /// From when on compaction may drop the tombstones. Before the first record only.
    #[must_use]
    pub fn delete_horizon(mut self, time: i64) -> Self {
        self.delete_horizon = Some(time);
        self
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.header.records_count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// How long the batch is so far, uncompressed.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// The offset of the next record.
    pub fn next_offset(&self) -> i64 {
        self.header.base_offset + i64::from(self.next_delta)
    }

    /// How long the batch would be with one more record, at most.
    pub fn size_with(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> usize {
        self.size() + varint::MAX_LEN_32 + body_len(i64::MIN, i32::MAX, key, value, headers)
    }

    /// Adds a record at the next offset.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), BuildError> {
        self.push_at(self.next_offset(), timestamp, key, value, &[])
    }

    /// Adds a record with headers at an offset that need not be the next, but not one before it.
    pub fn push_at(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> Result<(), BuildError> {
        let (base_offset, least) = (self.header.base_offset, self.next_offset());
        let delta = offset
            .checked_sub(base_offset)
            .and_then(|delta| i32::try_from(delta).ok());
        let delta = delta
            .filter(|&delta| delta >= self.next_delta && delta < i32::MAX)
            .ok_or(BuildError::Offset {
                base_offset,
                least,
                got: offset,
            })?;
        let base = match (self.delete_horizon, self.is_empty()) {
            (Some(horizon), _) => horizon,
            (None, true) => timestamp,
            (None, false) => self.header.base_timestamp,
        };
        let timestamp_delta = timestamp.checked_sub(base).ok_or(BuildError::Timestamp {
            base,
            got: timestamp,
        })?;
        let body = body_len(timestamp_delta, delta, key, value, headers);
        let length = self.size() + varint::MAX_LEN_32 + body;
        if i32::try_from(length).is_err() {
            return Err(BuildError::TooLong { length });
        }
        self.header.base_timestamp = base;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        self.header.records_count += 1;
        self.header.last_offset_delta = self.header.last_offset_delta.max(delta);
        self.next_delta = delta + 1;
        self.write(body, timestamp_delta, delta, key, value, headers);
        Ok(())
    }

    fn write(
        &mut self,
        body: usize,
        timestamp_delta: i64,
        delta: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) {
        self.buffer.reserve(body + varint::MAX_LEN_32);
        self.put_varint(body as i64);
        self.buffer.put_i8(0);
        self.put_varint(timestamp_delta);
        self.put_varint(i64::from(delta));
        self.put_nullable(key);
        self.put_nullable(value);
        self.put_varint(headers.len() as i64);
        for header in headers {
            self.put_nullable(Some(header.key));
            self.put_nullable(header.value);
        }
    }

    fn put_varint(&mut self, value: i64) {
        let (bytes, len) = varint::encode_u64(varint::zigzag(value));
        self.buffer.put_slice(&bytes[..len]);
    }

    fn put_nullable(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.put_varint(bytes.len() as i64);
                self.buffer.put_slice(bytes);
            }
            None => self.put_varint(-1),
        }
    }

    /// The batch, uncompressed.
    pub fn build(mut self) -> Bytes {
        let header = self.finished_header(self.buffer.len(), Compression::None);
        seal(&mut self.buffer, header);
        self.buffer.freeze()
    }

    /// The batch with its records compressed by `compress`, which is given them as they are.
    pub fn build_with<E>(
        self,
        compression: Compression,
        compress: impl FnOnce(&[u8]) -> Result<alloc::vec::Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        if compression == Compression::None {
            return Ok(self.build());
        }
        let payload = compress(&self.buffer[HEADER_LEN..])?;
        let mut whole = BytesMut::with_capacity(HEADER_LEN + payload.len());
        whole.put_bytes(0, HEADER_LEN);
        whole.put_slice(&payload);
        let header = self.finished_header(whole.len(), compression);
        seal(&mut whole, header);
        Ok(whole.freeze())
    }

    fn finished_header(&self, size: usize, compression: Compression) -> BatchHeader {
        let mut header = self.header;
        let of = if self.append_time.is_some() {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        };
        header.attributes = header
            .attributes
            .with_compression(compression)
            .with_timestamp_type(of)
            .with_delete_horizon(self.delete_horizon.is_some());
        header.base_timestamp = self.delete_horizon.unwrap_or(header.base_timestamp);
        header.max_timestamp = self.append_time.unwrap_or(header.max_timestamp);
        // Each record was refused that would make the batch longer than this can say.
        header.batch_length = (size - LOG_OVERHEAD) as i32;
        header.last_offset_delta = header.last_offset_delta.max(0);
        header
    }
}

/// Writes the header into the room that was left for it, and the checksum of all.
fn seal(batch: &mut [u8], header: BatchHeader) {
    let mut bytes = [0; HEADER_LEN];
    header.write(&mut bytes);
    batch[..HEADER_LEN].copy_from_slice(&bytes);
    let crc = crc32c(&batch[at::ATTRIBUTES..]);
    batch[at::CRC..at::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}

/// How long a record is behind its length.
fn body_len(
    timestamp_delta: i64,
    delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[RecordHeader<'_>],
) -> usize {
    let attributes = 1;
    let headers_len: usize = headers
        .iter()
        .map(|header| nullable_len(Some(header.key)) + nullable_len(header.value))
        .sum();
    attributes
        + varint::len_i64(timestamp_delta)
        + varint::len_i64(i64::from(delta))
        + nullable_len(key)
        + nullable_len(value)
        + varint::len_i64(headers.len() as i64)
        + headers_len
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len_i64(bytes.len() as i64) + bytes.len())
}
