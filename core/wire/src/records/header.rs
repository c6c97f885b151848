//! The header of a batch, field by field.

use core::fmt;
use core::str::FromStr;

/// How long the header is; the records follow.
pub const HEADER_LEN: usize = 61;
/// How long the base offset and the length are, which the length does not count.
pub const LOG_OVERHEAD: usize = 12;
/// The format that is written and read here.
pub const MAGIC: i8 = 2;
/// No leader's epoch.
pub const NO_EPOCH: i32 = -1;
/// The producer is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// The producer is not idempotent.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// The producer is not idempotent, or the batch is a control batch.
pub const NO_SEQUENCE: i32 = -1;
/// No timestamp.
pub const NO_TIMESTAMP: i64 = -1;

/// Where each field lies.
pub(super) mod at {
    pub(in crate::records) const BASE_OFFSET: usize = 0;
    pub(in crate::records) const BATCH_LENGTH: usize = 8;
    pub(in crate::records) const LEADER_EPOCH: usize = 12;
    pub(in crate::records) const MAGIC: usize = 16;
    pub(in crate::records) const CRC: usize = 17;
    /// What the checksum covers begins here.
    pub(in crate::records) const ATTRIBUTES: usize = 21;
    pub(in crate::records) const LAST_OFFSET_DELTA: usize = 23;
    pub(in crate::records) const BASE_TIMESTAMP: usize = 27;
    pub(in crate::records) const MAX_TIMESTAMP: usize = 35;
    pub(in crate::records) const PRODUCER_ID: usize = 43;
    pub(in crate::records) const PRODUCER_EPOCH: usize = 51;
    pub(in crate::records) const BASE_SEQUENCE: usize = 53;
    pub(in crate::records) const RECORDS_COUNT: usize = 57;
}

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy, in the framing of the Java library.
    Snappy = 2,
    /// LZ4, in its frame format.
    Lz4 = 3,
    /// Zstandard (KIP-110).
    Zstd = 4,
}

/// A codec that is not one of Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no compression {0}")]
pub struct UnknownCompression(pub u8);

impl Compression {
    /// All of them.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// Kafka's name, as in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl TryFrom<u8> for Compression {
    type Error = UnknownCompression;
    fn try_from(code: u8) -> Result<Self, UnknownCompression> {
        Compression::ALL
            .get(usize::from(code))
            .copied()
            .ok_or(UnknownCompression(code))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;
    fn from_str(name: &str) -> Result<Self, UnknownCompression> {
        Compression::ALL
            .into_iter()
            .find(|c| c.name() == name)
            .ok_or(UnknownCompression(u8::MAX))
    }
}

/// What the timestamps of a batch mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimestampType {
    /// When the producer made each record.
    #[default]
    CreateTime,
    /// When the leader appended the batch: its max timestamp, for every record.
    LogAppendTime,
}

/// The flags of a batch.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// How the records are compressed.
    pub fn compression(self) -> Result<Compression, UnknownCompression> {
        Compression::try_from((self.0 & Self::COMPRESSION) as u8)
    }

    /// What the timestamps mean.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether its records are for brokers and clients themselves, not for applications.
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time from which compaction may drop its tombstones (KIP-534).
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// With another compression.
    #[must_use]
    pub const fn with_compression(self, compression: Compression) -> Self {
        Attributes(self.0 & !Self::COMPRESSION | compression as i16)
    }

    /// With another meaning of timestamps.
    #[must_use]
    pub const fn with_timestamp_type(self, of: TimestampType) -> Self {
        self.with(
            Self::LOG_APPEND_TIME,
            matches!(of, TimestampType::LogAppendTime),
        )
    }

    /// Of a transaction or not.
    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// A control batch or not.
    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    /// With a delete horizon or not.
    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    const fn with(self, flag: i16, on: bool) -> Self {
        Attributes(if on { self.0 | flag } else { self.0 & !flag })
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes")
            .field("compression", &self.compression())
            .field("timestamp_type", &self.timestamp_type())
            .field("transactional", &self.is_transactional())
            .field("control", &self.is_control())
            .field("delete_horizon", &self.has_delete_horizon())
            .finish()
    }
}

/// The header of a batch, in the order of its fields. The magic is always [`MAGIC`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, or of what was the first before compaction.
    pub base_offset: i64,
    /// How many bytes follow this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// CRC-32C of all that follows this field.
    pub crc: u32,
    /// The flags.
    pub attributes: Attributes,
    /// The offset of the last record from the base, compaction or not.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from; with a delete horizon, that too.
    pub base_timestamp: i64,
    /// The largest timestamp.
    pub max_timestamp: i64,
    /// The idempotent producer, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The sequence number of the first record.
    pub base_sequence: i32,
    /// How many records there are.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the fields as they are; whether they make sense is for [`super::batches`] to say.
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        BatchHeader {
            base_offset: i64::from_be_bytes(get(bytes, at::BASE_OFFSET)),
            batch_length: i32::from_be_bytes(get(bytes, at::BATCH_LENGTH)),
            partition_leader_epoch: i32::from_be_bytes(get(bytes, at::LEADER_EPOCH)),
            crc: u32::from_be_bytes(get(bytes, at::CRC)),
            attributes: Attributes(i16::from_be_bytes(get(bytes, at::ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(get(bytes, at::LAST_OFFSET_DELTA)),
            base_timestamp: i64::from_be_bytes(get(bytes, at::BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(get(bytes, at::MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(get(bytes, at::PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(get(bytes, at::PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(get(bytes, at::BASE_SEQUENCE)),
            records_count: i32::from_be_bytes(get(bytes, at::RECORDS_COUNT)),
        }
    }

    /// Writes the fields.
    pub fn write(&self, bytes: &mut [u8; HEADER_LEN]) {
        put(bytes, at::BASE_OFFSET, self.base_offset.to_be_bytes());
        put(bytes, at::BATCH_LENGTH, self.batch_length.to_be_bytes());
        put(
            bytes,
            at::LEADER_EPOCH,
            self.partition_leader_epoch.to_be_bytes(),
        );
        put(bytes, at::MAGIC, MAGIC.to_be_bytes());
        put(bytes, at::CRC, self.crc.to_be_bytes());
        put(bytes, at::ATTRIBUTES, self.attributes.0.to_be_bytes());
        put(
            bytes,
            at::LAST_OFFSET_DELTA,
            self.last_offset_delta.to_be_bytes(),
        );
        put(bytes, at::BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put(bytes, at::MAX_TIMESTAMP, self.max_timestamp.to_be_bytes());
        put(bytes, at::PRODUCER_ID, self.producer_id.to_be_bytes());
        put(bytes, at::PRODUCER_EPOCH, self.producer_epoch.to_be_bytes());
        put(bytes, at::BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(bytes, at::RECORDS_COUNT, self.records_count.to_be_bytes());
    }

    /// How long the batch is, header included.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or_default()
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Whether the producer is idempotent.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// The sequence number of the last record, or [`NO_SEQUENCE`].
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence {
            NO_SEQUENCE => NO_SEQUENCE,
            base => increment_sequence(base, self.last_offset_delta),
        }
    }

    /// From when on compaction may drop the batch's tombstones (KIP-534).
    pub fn delete_horizon(&self) -> Option<i64> {
        self.attributes
            .has_delete_horizon()
            .then_some(self.base_timestamp)
    }
}

/// The sequence number `by` records on; behind `i32::MAX` comes 0.
pub fn increment_sequence(sequence: i32, by: i32) -> i32 {
    (i64::from(sequence) + i64::from(by)).rem_euclid(1 << 31) as i32
}

/// The sequence number `by` records before.
pub fn decrement_sequence(sequence: i32, by: i32) -> i32 {
    (i64::from(sequence) - i64::from(by)).rem_euclid(1 << 31) as i32
}

fn get<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

fn put<const N: usize>(bytes: &mut [u8; HEADER_LEN], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
        assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(decrement_sequence(0, 1), i32::MAX);
        assert_eq!(decrement_sequence(5, 2), 3);
    }

    #[test]
    fn flags_do_not_touch_each_other() {
        let all = Attributes::default()
            .with_compression(Compression::Zstd)
            .with_timestamp_type(TimestampType::LogAppendTime)
            .with_transactional(true)
            .with_control(true)
            .with_delete_horizon(true);
        assert_eq!(all.0, 0b111_1100);
        assert_eq!(
            all.with_compression(Compression::Gzip).compression(),
            Ok(Compression::Gzip)
        );
        assert_eq!(all.with_control(false).0, 0b101_1100);
        assert_eq!(Attributes(7).compression(), Err(UnknownCompression(7)));
    }

    #[test]
    fn a_header_comes_back() {
        let header = BatchHeader {
            base_offset: 1 << 40,
            batch_length: 1000,
            partition_leader_epoch: 7,
            crc: 0xdead_beef,
            attributes: Attributes(0x19),
            last_offset_delta: 9,
            base_timestamp: 123,
            max_timestamp: 456,
            producer_id: 77,
            producer_epoch: 3,
            base_sequence: i32::MAX - 3,
            records_count: 10,
        };
        let mut bytes = [0; HEADER_LEN];
        header.write(&mut bytes);
        assert_eq!(BatchHeader::read(&bytes), header);
        assert_eq!(bytes[16], 2);
        assert_eq!(
            (header.next_offset(), header.last_sequence()),
            ((1 << 40) + 10, 5)
        );
    }
}
