//! Record batches on their way into a log.
//!
//! A batch is judged by its header and its checksum. The records of a client's batch that is not
//! compressed are walked as well, without copying any: their number, lengths, offsets and timestamps
//! must be what readers will believe. Compressed ones are not opened here. What a client, a
//! coordinator or a leader may send differs, so each has its own way to a [`Batches`], and a log only
//! takes a `Batches`.

mod marker;

use alloc::vec::Vec;

use bytes::Bytes;

pub use marker::EndTxnMarker;
pub use ottla_wire::records::BatchHeader;
pub(crate) use ottla_wire::records::crc32c;
use ottla_wire::records::{Compression, MAGIC, RecordError, RecordIter, TimestampType};

use crate::{
    limits::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES},
    time::Timestamp,
};

/// Who sends batches; decides how far a log checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer: everything is checked.
    Client,
    /// A coordinator of this node, for its own records, offset commits and transaction markers:
    /// producers' epochs are checked, sequence numbers are not.
    Coordinator,
    /// The leader of the metadata quorum.
    RaftLeader,
    /// Another replica that has taken them already: nothing is refused.
    Replication,
}

/// Why batches are refused before a log sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// `INVALID_RECORD`: nothing in it.
    #[error("there is no batch")]
    Empty,
    /// `CORRUPT_MESSAGE`: a batch is not whole.
    #[error("the batch at byte {at} needs {needed} bytes, {left} are left")]
    Torn {
        /// Where the batch begins.
        at: usize,
        /// What its length field says, or a header's length.
        needed: usize,
        /// What there is.
        left: usize,
    },
    /// `CORRUPT_MESSAGE`: a length field no batch can have.
    #[error("the batch at byte {at} has length field {got}")]
    Length {
        /// Where the batch begins.
        at: usize,
        /// The field.
        got: i32,
    },
    /// `UNSUPPORTED_FOR_MESSAGE_FORMAT`: a message format of before Kafka 0.11.
    #[error("the batch at byte {at} has magic {got}, only 2 is supported")]
    Magic {
        /// Where the batch begins.
        at: usize,
        /// Its magic.
        got: i8,
    },
    /// `CORRUPT_MESSAGE`: the checksum does not match.
    #[error("the batch at byte {at} has checksum {expected:08x}, its bytes {got:08x}")]
    Crc {
        /// Where the batch begins.
        at: usize,
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        got: u32,
    },
    /// `MESSAGE_TOO_LARGE`.
    #[error("a batch of {got} bytes, {max} are allowed")]
    TooLarge {
        /// Its size.
        got: usize,
        /// `max.message.bytes`.
        max: usize,
    },
    /// `INVALID_RECORD`: the header contradicts itself.
    #[error("{count} records, last offset delta {last_offset_delta}")]
    Count {
        /// The record count.
        count: i32,
        /// The last offset delta, which should be one less.
        last_offset_delta: i32,
    },
    /// `INVALID_RECORD`: a producer numbers from zero.
    #[error("base offset {got}, a producer's is 0")]
    BaseOffset {
        /// The base offset.
        got: i64,
    },
    /// `INVALID_RECORD`: the records are not those that the header announces.
    #[error("its records cannot be read: {0}")]
    Records(#[from] RecordError),
    /// `INVALID_TIMESTAMP`: the time of the append is the broker's to say.
    #[error("a batch from a client with the time of its append")]
    AppendTime,
    /// `INVALID_RECORD`: only one batch a partition may be in a produce request.
    #[error("more than one batch")]
    ManyBatches,
    /// `INVALID_RECORD`: clients may not write control batches.
    #[error("a control batch from a client")]
    Control,
    /// `INVALID_RECORD`: a producer id without epoch or sequence number.
    #[error("producer {producer_id} with epoch {producer_epoch}, sequence {base_sequence}")]
    Producer {
        /// The id.
        producer_id: i64,
        /// The epoch.
        producer_epoch: i16,
        /// The first sequence number.
        base_sequence: i32,
    },
    /// `UNSUPPORTED_COMPRESSION_TYPE`.
    #[error("compression type {got}")]
    Compression {
        /// The attribute's value.
        got: u8,
    },
}

/// One or more whole batches whose checksums match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batches {
    bytes: Bytes,
    origin: Origin,
    /// The least and the largest timestamp of the records, where they were looked at.
    times: Option<(Timestamp, Timestamp)>,
}

impl Batches {
    /// A producer's one batch, checked as Kafka's `LogValidator` does: all of it if it is not
    /// compressed, else as far as its header goes. A false largest timestamp is put right.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn from_client(bytes: Bytes, max_message_bytes: usize) -> Result<Self, BatchError> {
        let mut rest = Split::new(&bytes);
        let (_, header, batch) = rest.next().ok_or(BatchError::Empty)??;
        if header.base_offset != 0 {
            return Err(BatchError::BaseOffset {
                got: header.base_offset,
            });
        }
        if batch.len() > max_message_bytes {
            return Err(BatchError::TooLarge {
                got: batch.len(),
                max: max_message_bytes,
            });
        }
        check_crc(0, &header, batch)?;
        if batch.len() != bytes.len() {
            return Err(BatchError::ManyBatches);
        }
        if header.attributes.is_control() {
            return Err(BatchError::Control);
        }
        let compression = header
            .attributes
            .compression()
            .map_err(|unknown| BatchError::Compression { got: unknown.0 })?;
        if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
            return Err(BatchError::AppendTime);
        }
        check_count(&header)?;
        let BatchHeader {
            producer_id,
            producer_epoch,
            base_sequence,
            ..
        } = header;
        if producer_id >= 0 && (producer_epoch < 0 || base_sequence < 0) {
            return Err(BatchError::Producer {
                producer_id,
                producer_epoch,
                base_sequence,
            });
        }
        let times = match compression {
            Compression::None => Some(walk(&header, &batch[BATCH_HEADER_BYTES..])?),
            _ => None,
        };
        let bytes = match times {
            Some((_, max)) if max.0 != header.max_timestamp => {
                Bytes::from(with_max_timestamp(batch, max))
            }
            _ => bytes,
        };
        Ok(Self {
            bytes,
            origin: Origin::Client,
            times,
        })
    }

    /// Batches made by this node's own coordinators or raft leader; any number.
    ///
    /// # Errors
    /// If they are not whole, too large, or contradict themselves.
    pub fn from_node(
        bytes: Bytes,
        origin: Origin,
        max_message_bytes: usize,
    ) -> Result<Self, BatchError> {
        let mut any = false;
        for batch in Split::new(&bytes) {
            let (_, header, batch) = batch?;
            if batch.len() > max_message_bytes {
                return Err(BatchError::TooLarge {
                    got: batch.len(),
                    max: max_message_bytes,
                });
            }
            check_count(&header)?;
            any = true;
        }
        if any {
            Ok(Self {
                bytes,
                origin,
                times: None,
            })
        } else {
            Err(BatchError::Empty)
        }
    }

    /// Batches fetched from a leader. A last one that is not whole is left out, as fetch responses may end in one.
    ///
    /// # Errors
    /// [`BatchError::Empty`] if not even one is whole; otherwise what is wrong with one.
    pub fn from_leader(bytes: Bytes) -> Result<Self, BatchError> {
        let mut whole = 0;
        for batch in Split::new(&bytes) {
            let (at, header, batch) = match batch {
                Ok(batch) => batch,
                Err(BatchError::Torn { .. }) if whole > 0 => break,
                Err(error) => return Err(error),
            };
            check_crc(at, &header, batch)?;
            whole = at + batch.len();
        }
        if whole == 0 {
            Err(BatchError::Empty)
        } else {
            Ok(Self {
                bytes: bytes.slice(..whole),
                origin: Origin::Replication,
                times: None,
            })
        }
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Who sent them.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The least and the largest timestamp of a client's records, leaving out those without one;
    /// none where they were not looked at.
    #[must_use]
    pub fn times(&self) -> Option<(Timestamp, Timestamp)> {
        self.times
    }

    /// Each batch's header and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (BatchHeader, Bytes)> + '_ {
        // They were all parsed once, so none is lost here.
        Split::new(&self.bytes)
            .filter_map(Result::ok)
            .map(|(at, header, batch)| (header, self.bytes.slice(at..at + batch.len())))
    }

    /// All headers.
    #[must_use]
    pub fn headers(&self) -> Vec<BatchHeader> {
        self.iter().map(|(header, _)| header).collect()
    }
}

/// Splits bytes into batches: position, header and bytes of each. Ends after the first error.
pub(crate) struct Split<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Split<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<(usize, BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
        self.at = usize::MAX;
        let Some(header) = read_header(rest) else {
            return Some(Err(BatchError::Torn {
                at,
                needed: BATCH_HEADER_BYTES,
                left: rest.len(),
            }));
        };
        Some(whole(at, &header, rest).map(|size| {
            self.at = at + size;
            (at, header, &rest[..size])
        }))
    }
}

fn whole(at: usize, header: &BatchHeader, rest: &[u8]) -> Result<usize, BatchError> {
    let magic = magic_of(rest);
    if magic != MAGIC {
        return Err(BatchError::Magic { at, got: magic });
    }
    let size = size_of(header).ok_or(BatchError::Length {
        at,
        got: header.batch_length,
    })?;
    if size > rest.len() {
        Err(BatchError::Torn {
            at,
            needed: size,
            left: rest.len(),
        })
    } else {
        Ok(size)
    }
}

/// The header at the start of `bytes`, as it is; none if there are too few.
pub(crate) fn read_header(bytes: &[u8]) -> Option<BatchHeader> {
    bytes.first_chunk().map(BatchHeader::read)
}

/// The version of the format of what `bytes` begin with. Any version's header has it at this place.
pub(crate) fn magic_of(bytes: &[u8]) -> i8 {
    bytes.get(16).map_or(-1, |byte| byte.cast_signed())
}

/// The whole batch's size; none if the length field is impossible.
pub(crate) fn size_of(header: &BatchHeader) -> Option<usize> {
    let size = usize::try_from(header.batch_length).ok()? + BATCH_OVERHEAD_BYTES;
    (BATCH_HEADER_BYTES..=BATCH_BYTES_MAX)
        .contains(&size)
        .then_some(size)
}

fn check_crc(at: usize, header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let got = crc32c(&batch[BATCH_OVERHEAD_BYTES + 9..]);
    if got == header.crc {
        Ok(())
    } else {
        Err(BatchError::Crc {
            at,
            expected: header.crc,
            got,
        })
    }
}

fn check_count(header: &BatchHeader) -> Result<(), BatchError> {
    let BatchHeader {
        records_count: count,
        last_offset_delta,
        ..
    } = *header;
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(BatchError::Count {
            count,
            last_offset_delta,
        });
    }
    Ok(())
}

/// Looks at every record of a batch that is not compressed. The least and the largest timestamp of
/// those that have one.
fn walk(header: &BatchHeader, records: &[u8]) -> Result<(Timestamp, Timestamp), RecordError> {
    let (mut min, mut max) = (i64::MAX, Timestamp::NONE.0);
    for record in RecordIter::new(header, records).consecutive() {
        let timestamp = record?.timestamp;
        if timestamp != Timestamp::NONE.0 {
            min = min.min(timestamp);
            max = max.max(timestamp);
        }
    }
    Ok((Timestamp(min.min(max)), Timestamp(max)))
}

/// `batch` with another largest timestamp, and the checksum that goes with it.
fn with_max_timestamp(batch: &[u8], max: Timestamp) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    bytes[35..43].copy_from_slice(&max.0.to_be_bytes());
    let crc = crc32c(&bytes[BATCH_OVERHEAD_BYTES + 9..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The header of `batch` as a leader with log append time writes it; what follows the header is unchanged.
#[must_use]
pub(crate) fn with_log_append_time(batch: &[u8], now: Timestamp) -> [u8; BATCH_HEADER_BYTES] {
    let mut header = [0; BATCH_HEADER_BYTES];
    let (old, payload) = batch
        .split_at_checked(BATCH_HEADER_BYTES)
        .unwrap_or((&[], &[]));
    header[..old.len()].copy_from_slice(old);
    header[22] |= 8;
    header[35..43].copy_from_slice(&now.0.to_be_bytes());
    let crc = ottla_wire::records::crc32c_pieces(&[&header[21..], payload]);
    header[17..21].copy_from_slice(&crc.to_be_bytes());
    header
}

/// Whether a batch's checksum matches its bytes.
#[must_use]
pub fn crc_matches(header: &BatchHeader, batch: &[u8]) -> bool {
    check_crc(0, header, batch).is_ok()
}

#[cfg(test)]
mod tests;
