//! The records of a batch, read from its decompressed bytes.

use bytes::Bytes;

use super::{BatchHeader, TimestampType};
use crate::codec::varint::{self, VarintError};

/// Why the records of a batch could not be read. Positions count from its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end within a record, or a record's own length ends within a field.
    #[error("{needed} bytes are needed at {position}, {remaining} remain")]
    Short {
        /// Where the field begins.
        position: usize,
        /// How many bytes it needs.
        needed: usize,
        /// How many there are.
        remaining: usize,
    },
    /// A varint has more bits than its type.
    #[error("the varint at {position} is too long")]
    Varint {
        /// Where it begins.
        position: usize,
    },
    /// A length or count is negative where it must not be.
    #[error("the length at {position} is {length}")]
    NegativeLength {
        /// Where it begins.
        position: usize,
        /// What it says.
        length: i32,
    },
    /// A record is longer than its fields.
    #[error("the record ends at {end}, its fields at {position}")]
    Unused {
        /// Where the fields end.
        position: usize,
        /// Where the record does.
        end: usize,
    },
    /// An offset does not follow the one before it, or lies behind the batch's last.
    #[error("the offset delta at {position} is {got}, {least} to {most} are possible")]
    OffsetDelta {
        /// Where it lies.
        position: usize,
        /// What it says.
        got: i32,
        /// The least that is possible.
        least: i32,
        /// The most that is possible.
        most: i32,
    },
    /// A timestamp does not fit into 64 bits.
    #[error("the timestamp at {position} is {base} and {delta} more")]
    Timestamp {
        /// Where the delta lies.
        position: usize,
        /// The batch's.
        base: i64,
        /// The record's, from there.
        delta: i64,
    },
    /// Bytes are left behind the last record.
    #[error("{remaining} bytes are left at {position}, behind the last record")]
    Trailing {
        /// Where the last record ends.
        position: usize,
        /// How many bytes follow.
        remaining: usize,
    },
}

/// A record, borrowed from the bytes of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp: its own, or that of the batch's append.
    pub timestamp: i64,
    /// Its key, or null.
    pub key: Option<&'a [u8]>,
    /// Its value, or null: then it is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    /// How many bytes it takes in the batch, uncompressed.
    pub size: usize,
}

impl Record<'_> {
    /// The key and the value as slices that share `from`, of which this record was read.
    pub fn shared(&self, from: &Bytes) -> (Option<Bytes>, Option<Bytes>) {
        (
            self.key.map(|key| from.slice_ref(key)),
            self.value.map(|value| from.slice_ref(value)),
        )
    }
}

/// The headers of a record: in order, and the same key as often as it was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// Its key; text, but nothing on the way ever checked that.
    pub key: &'a [u8],
    /// Its value, or null.
    pub value: Option<&'a [u8]>,
}

impl RecordHeader<'_> {
    /// The key as text, if it is.
    pub fn key_str(&self) -> Option<&str> {
        core::str::from_utf8(self.key).ok()
    }
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordHeader<'a>> + use<'a> {
        let mut cursor = Cursor {
            bytes: self.bytes,
            at: 0,
        };
        // They were read once when the record was, so none fails now.
        (0..self.count).map_while(move |_| cursor.header().ok())
    }

    /// The last header of this key, which is the one that counts for most applications.
    pub fn last(&self, key: &str) -> Option<RecordHeader<'a>> {
        self.iter()
            .filter(|header| header.key == key.as_bytes())
            .last()
    }
}

/// Reads the records of a batch strictly: the count must be the header's, each length must be met
/// exactly, and offsets must rise and stay within the batch. The first error is the last item.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    cursor: Cursor<'a>,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    left: i32,
    least_delta: i32,
    last_delta: i32,
    consecutive: bool,
    failed: bool,
}

impl<'a> RecordIter<'a> {
    /// Reads `records`, the decompressed payload of the batch with this header.
    pub fn new(header: &BatchHeader, records: &'a [u8]) -> Self {
        let append_time = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        RecordIter {
            cursor: Cursor {
                bytes: records,
                at: 0,
            },
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time,
            left: header.records_count,
            least_delta: 0,
            last_delta: header.last_offset_delta,
            consecutive: false,
            failed: false,
        }
    }

    /// Wants every offset of the batch to have its record, as a producer must send them.
    #[must_use]
    pub fn consecutive(mut self) -> Self {
        self.consecutive = true;
        self
    }

    fn record(&mut self) -> Result<Record<'a>, RecordError> {
        let start = self.cursor.at;
        let length = self.cursor.length()?;
        let end = self.cursor.at + length;
        let mut cursor = Cursor {
            bytes: self.cursor.bytes.get(..end).unwrap_or_default(),
            at: self.cursor.at,
        };
        // The attributes; none is in use.
        cursor.take(1)?;
        let position = cursor.at;
        let (base, delta) = (self.base_timestamp, cursor.varlong()?);
        let timestamp = match self.append_time {
            Some(time) => time,
            None => base.checked_add(delta).ok_or(RecordError::Timestamp {
                position,
                base,
                delta,
            })?,
        };
        let delta = self.offset_delta(&mut cursor)?;
        let key = cursor.nullable()?;
        let value = cursor.nullable()?;
        let headers = cursor.headers()?;
        if cursor.at != end {
            return Err(RecordError::Unused {
                position: cursor.at,
                end,
            });
        }
        self.cursor.at = end;
        let offset = self.base_offset.saturating_add(i64::from(delta));
        Ok(Record {
            offset,
            timestamp,
            key,
            value,
            headers,
            size: end - start,
        })
    }

    fn offset_delta(&mut self, cursor: &mut Cursor<'a>) -> Result<i32, RecordError> {
        let position = cursor.at;
        let got = cursor.varint()?;
        let least = self.least_delta;
        let most = if self.consecutive {
            least.min(self.last_delta)
        } else {
            self.last_delta
        };
        if got < least || got > most {
            return Err(RecordError::OffsetDelta {
                position,
                got,
                least,
                most,
            });
        }
        self.least_delta = got.saturating_add(1);
        Ok(got)
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.left <= 0 {
            let (position, remaining) = (self.cursor.at, self.cursor.remaining());
            self.failed = true;
            return (remaining > 0).then_some(Err(RecordError::Trailing {
                position,
                remaining,
            }));
        }
        self.left -= 1;
        let record = self.record();
        self.failed = record.is_err();
        Some(record)
    }
}

#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, needed: usize) -> Result<&'a [u8], RecordError> {
        let (position, remaining) = (self.at, self.remaining());
        let bytes = self.bytes[position..]
            .get(..needed)
            .ok_or(RecordError::Short {
                position,
                needed,
                remaining,
            })?;
        self.at += needed;
        Ok(bytes)
    }

    fn number<T>(
        &mut self,
        read: impl Fn(&[u8]) -> Result<(T, usize), VarintError>,
    ) -> Result<T, RecordError> {
        let (position, remaining) = (self.at, self.remaining());
        let (value, len) = read(&self.bytes[position..]).map_err(|error| match error {
            VarintError::Short => RecordError::Short {
                position,
                needed: remaining + 1,
                remaining,
            },
            VarintError::TooLong => RecordError::Varint { position },
        })?;
        self.at += len;
        Ok(value)
    }

    fn varint(&mut self) -> Result<i32, RecordError> {
        self.number(varint::read_i32)
    }

    fn varlong(&mut self) -> Result<i64, RecordError> {
        self.number(varint::read_i64)
    }

    /// A length that must be there, and that the bytes at hand must have.
    fn length(&mut self) -> Result<usize, RecordError> {
        let position = self.at;
        let length = self.varint()?;
        let needed = usize::try_from(length)
            .map_err(|_| RecordError::NegativeLength { position, length })?;
        match self.remaining() {
            remaining if needed > remaining => Err(RecordError::Short {
                position: self.at,
                needed,
                remaining,
            }),
            _ => Ok(needed),
        }
    }

    /// Bytes behind their length; any negative one is null, as for Kafka.
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn header(&mut self) -> Result<RecordHeader<'a>, RecordError> {
        let length = self.length()?;
        let key = self.take(length)?;
        Ok(RecordHeader {
            key,
            value: self.nullable()?,
        })
    }

    fn headers(&mut self) -> Result<Headers<'a>, RecordError> {
        let position = self.at;
        let length = self.varint()?;
        let count = usize::try_from(length)
            .map_err(|_| RecordError::NegativeLength { position, length })?;
        let start = self.at;
        for _ in 0..count {
            self.header()?;
        }
        Ok(Headers {
            bytes: &self.bytes[start..self.at],
            count,
        })
    }
}
