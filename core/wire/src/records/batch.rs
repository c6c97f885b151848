//! A batch as it lies in memory, the splitting of many, and what may be written into one in place.

use bytes::Bytes;

use super::header::at;
use super::{BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC, TimestampType, crc32c};

/// What is wrong with a batch, and where in the input it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The input ends within the batch: a torn write, or a fetch that was cut at its limit.
    #[error("the batch at {position} needs {needed} bytes, {remaining} remain")]
    TooShort {
        /// Where the batch begins.
        position: usize,
        /// How long it is, as far as its bytes say.
        needed: usize,
        /// How many bytes there are.
        remaining: usize,
    },
    /// A message set of format 0 or 1, which Kafka 4 no longer has.
    #[error("the batch at {position} is of the old format {magic}")]
    OldMagic {
        /// Where it begins.
        position: usize,
        /// 0 or 1.
        magic: i8,
    },
    /// No known format.
    #[error("the batch at {position} has the magic {magic}")]
    BadMagic {
        /// Where it begins.
        position: usize,
        /// What stands in its place.
        magic: i8,
    },
    /// The length cannot be that of a batch.
    #[error("the batch at {position} claims a length of {length}")]
    BadLength {
        /// Where it begins.
        position: usize,
        /// What it claims.
        length: i32,
    },
    /// The checksum does not match.
    #[error(
        "the batch at {position} has the checksum {expected:08x}, its bytes have {computed:08x}"
    )]
    BadCrc {
        /// Where it begins.
        position: usize,
        /// What its header says.
        expected: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The codec is none of Kafka's.
    #[error("the batch at {position} has the unknown compression {code}")]
    BadCompression {
        /// Where it begins.
        position: usize,
        /// The codec's number.
        code: u8,
    },
    /// The number of records does not go with the offsets.
    #[error("the batch at {position} has {count} records up to offset delta {last_offset_delta}")]
    BadCount {
        /// Where it begins.
        position: usize,
        /// How many it claims.
        count: i32,
        /// The last offset from the base.
        last_offset_delta: i32,
    },
    /// The base offset is negative, or the last does not fit.
    #[error("the batch at {position} has the offsets {base_offset} + {last_offset_delta}")]
    BadOffset {
        /// Where it begins.
        position: usize,
        /// The first offset.
        base_offset: i64,
        /// The last from the first.
        last_offset_delta: i32,
    },
    /// The producer's id, epoch and sequence do not go together.
    #[error(
        "the batch at {position} has the producer {producer_id}, epoch {producer_epoch}, sequence {base_sequence}"
    )]
    BadProducer {
        /// Where it begins.
        position: usize,
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        producer_epoch: i16,
        /// The first sequence number.
        base_sequence: i32,
    },
    /// A producer sent a control batch, which only brokers write.
    #[error("the batch at {position} is a control batch, from a producer")]
    Control {
        /// Where it begins.
        position: usize,
    },
}

/// One batch: its header, read, and all of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<B> {
    bytes: B,
    header: BatchHeader,
    position: usize,
}

/// A batch that shares the bytes it was split from.
pub type BatchView = Batch<Bytes>;

impl<B: AsRef<[u8]>> Batch<B> {
    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The bytes, header included.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Where in the split input the batch begins.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How long it is, header included.
    pub fn size(&self) -> usize {
        self.bytes().len()
    }

    /// The offset of the first record.
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.header.last_offset()
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        let position = self.position;
        self.header
            .attributes
            .compression()
            .map_err(|e| BatchError::BadCompression {
                position,
                code: e.0,
            })
    }

    /// The records as they lie there, compressed or not.
    pub fn payload(&self) -> &[u8] {
        &self.bytes()[HEADER_LEN..]
    }

    /// Compares the checksum with the bytes.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let (expected, computed) = (self.header.crc, crc32c(&self.bytes()[at::ATTRIBUTES..]));
        if expected != computed {
            return Err(BatchError::BadCrc {
                position: self.position,
                expected,
                computed,
            });
        }
        Ok(())
    }

    /// Checks all that must hold of a batch in a log, the checksum included; the records are not read.
    pub fn validate(&self) -> Result<(), BatchError> {
        self.check_crc()?;
        self.compression()?;
        let (header, position) = (&self.header, self.position);
        let (count, last_offset_delta) = (header.records_count, header.last_offset_delta);
        // Compaction may drop records, and all of them, but it keeps the offsets.
        if count < 0 || last_offset_delta < 0 || i64::from(count) > i64::from(last_offset_delta) + 1
        {
            return Err(BatchError::BadCount {
                position,
                count,
                last_offset_delta,
            });
        }
        if header.base_offset < 0
            || header
                .base_offset
                .checked_add(i64::from(last_offset_delta) + 1)
                .is_none()
        {
            return Err(BatchError::BadOffset {
                position,
                base_offset: header.base_offset,
                last_offset_delta,
            });
        }
        Ok(())
    }

    /// Checks all that must hold of a batch that a producer sends, the checksum included: records for
    /// all of its offsets, no control batch, and a sequence number where there is a producer's id.
    pub fn validate_produced(&self) -> Result<(), BatchError> {
        self.validate()?;
        let (header, position) = (&self.header, self.position);
        let (count, last_offset_delta) = (header.records_count, header.last_offset_delta);
        if count < 1 || i64::from(count) != i64::from(last_offset_delta) + 1 {
            return Err(BatchError::BadCount {
                position,
                count,
                last_offset_delta,
            });
        }
        if header.attributes.is_control() {
            return Err(BatchError::Control { position });
        }
        let unsequenced = header.base_sequence < 0 || header.producer_epoch < 0;
        let bad = if header.has_producer_id() {
            unsequenced
        } else {
            header.attributes.is_transactional()
        };
        if bad {
            return Err(BatchError::BadProducer {
                position,
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
            });
        }
        Ok(())
    }
}

impl BatchView {
    /// Reads the one batch at the head of `bytes`; what follows it is ignored.
    pub fn new(bytes: &Bytes) -> Result<Self, BatchError> {
        let header = head(bytes, 0)?;
        Ok(Batch {
            bytes: bytes.slice(..header.size()),
            header,
            position: 0,
        })
    }

    /// The bytes, header included.
    pub fn shared(&self) -> &Bytes {
        &self.bytes
    }

    /// The records as they lie there, compressed or not.
    pub fn shared_payload(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// The batch at another offset and epoch: a new head of 21 bytes, and the rest as it is. For
    /// bytes that are shared; [`stamp`] is for those that are not.
    pub fn stamped(&self, base_offset: i64, leader_epoch: i32) -> [Bytes; 2] {
        let mut head = [0; at::ATTRIBUTES];
        head.copy_from_slice(&self.bytes[..at::ATTRIBUTES]);
        stamp(&mut head, base_offset, leader_epoch);
        [
            Bytes::copy_from_slice(&head),
            self.bytes.slice(at::ATTRIBUTES..),
        ]
    }
}

/// Reads the header at `position` and checks that the batch lies there in full.
fn head(bytes: &[u8], position: usize) -> Result<BatchHeader, BatchError> {
    let rest = &bytes[position..];
    let remaining = rest.len();
    let too_short = |needed| BatchError::TooShort {
        position,
        needed,
        remaining,
    };
    // The magic lies at the same place in every format.
    let Some(&magic) = rest.get(at::MAGIC) else {
        return Err(too_short(HEADER_LEN));
    };
    match magic as i8 {
        MAGIC => {}
        magic @ 0..=1 => return Err(BatchError::OldMagic { position, magic }),
        magic => return Err(BatchError::BadMagic { position, magic }),
    }
    let header = BatchHeader::read(rest.first_chunk().ok_or_else(|| too_short(HEADER_LEN))?);
    let length = header.batch_length;
    if length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
        return Err(BatchError::BadLength { position, length });
    }
    if header.size() > remaining {
        return Err(too_short(header.size()));
    }
    Ok(header)
}

/// The batches in some bytes, one after the other. The first error is the last item.
#[derive(Clone, Debug)]
pub struct Batches<B> {
    bytes: B,
    position: usize,
    failed: bool,
}

/// Splits shared bytes into batches that share them. Checksums are for each batch to check.
pub fn batches(bytes: Bytes) -> Batches<Bytes> {
    Batches {
        bytes,
        position: 0,
        failed: false,
    }
}

/// Splits borrowed bytes into batches.
pub fn batches_in(bytes: &[u8]) -> Batches<&[u8]> {
    Batches {
        bytes,
        position: 0,
        failed: false,
    }
}

impl<B: AsRef<[u8]>> Batches<B> {
    /// Where the next batch begins: behind the last good one.
    pub fn position(&self) -> usize {
        self.position
    }

    fn next_header(&mut self) -> Option<Result<(usize, BatchHeader), BatchError>> {
        let bytes = self.bytes.as_ref();
        let position = self.position;
        if self.failed || position == bytes.len() {
            return None;
        }
        let header = head(bytes, position);
        match &header {
            Ok(header) => self.position += header.size(),
            Err(_) => self.failed = true,
        }
        Some(header.map(|header| (position, header)))
    }
}

impl Iterator for Batches<Bytes> {
    type Item = Result<BatchView, BatchError>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_header()?.map(|(position, header)| {
            let bytes = self.bytes.slice(position..position + header.size());
            Batch {
                bytes,
                header,
                position,
            }
        }))
    }
}

impl<'a> Iterator for Batches<&'a [u8]> {
    type Item = Result<Batch<&'a [u8]>, BatchError>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_header()?.map(|(position, header)| {
            let bytes = &self.bytes[position..position + header.size()];
            Batch {
                bytes,
                header,
                position,
            }
        }))
    }
}

/// Writes the offset and the leader's epoch into the head of a batch (its first 21 bytes suffice).
/// The checksum does not cover them.
///
/// # Panics
/// If there are fewer than 16 bytes; split them first.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[at::BASE_OFFSET..at::BATCH_LENGTH].copy_from_slice(&base_offset.to_be_bytes());
    batch[at::LEADER_EPOCH..at::MAGIC].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Writes what the timestamps mean and the largest into a batch that lies there in full, and its new
/// checksum: the leader's clock, where the topic asks for that.
///
/// # Panics
/// If there are fewer bytes than a header; split them first.
pub fn stamp_timestamp(batch: &mut [u8], of: TimestampType, max_timestamp: i64) {
    let old = super::Attributes(i16::from_be_bytes([
        batch[at::ATTRIBUTES],
        batch[at::ATTRIBUTES + 1],
    ]));
    let attributes = old.with_timestamp_type(of).0;
    batch[at::ATTRIBUTES..at::LAST_OFFSET_DELTA].copy_from_slice(&attributes.to_be_bytes());
    batch[at::MAX_TIMESTAMP..at::PRODUCER_ID].copy_from_slice(&max_timestamp.to_be_bytes());
    let crc = crc32c(&batch[at::ATTRIBUTES..]);
    batch[at::CRC..at::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}
