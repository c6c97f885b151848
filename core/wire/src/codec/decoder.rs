//! [`Decoder`]: reads a frame that a stranger sent.
//!
//! Three rules keep a hostile frame from costing more than it is worth. Each length is compared with
//! the bytes at hand before anything is sliced or reserved. An array of `n` elements is refused
//! unless `n` times the smallest element of that version fits into what remains. And all that one
//! frame makes us allocate is charged against a budget in proportion to its length, because a wire
//! element of two bytes may be a struct of sixty. Strings and byte fields are slices of the frame.

use core::str::Utf8Error;

use bytes::Bytes;

use super::varint::{self, VarintError};
use crate::{Str, Uuid};

/// How many bytes of memory each byte of a frame may claim.
///
/// The densest frames in real use (lists of partitions, of topic ids) need five to eight; a list of
/// names of two letters needs fourteen.
pub const ALLOCATION_FACTOR: usize = 16;

/// What any frame may claim, however short it is.
pub const ALLOCATION_FLOOR: usize = 1 << 20;

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends before the value does.
    #[error("{needed} bytes are needed at {at}, {remaining} remain")]
    Short {
        /// Where the value begins.
        at: usize,
        /// How many bytes it needs.
        needed: usize,
        /// How many there are.
        remaining: usize,
    },
    /// A length is negative and not the one that means null.
    #[error("the length {length} at {at} is negative")]
    NegativeLength {
        /// Where the length lies.
        at: usize,
        /// What it says.
        length: i64,
    },
    /// A string is longer than Kafka lets any be, which a compact length could say.
    #[error("the string at {at} has {length} bytes, {max} are allowed")]
    StringTooLong {
        /// Where the text begins.
        at: usize,
        /// How long it is.
        length: usize,
        /// The longest that is allowed.
        max: usize,
    },
    /// An array claims more elements than the bytes at hand could hold.
    #[error(
        "{count} elements of at least {min_size} bytes are claimed at {at}, {remaining} bytes remain"
    )]
    ArrayTooLong {
        /// Where the elements begin.
        at: usize,
        /// How many are claimed.
        count: usize,
        /// The smallest that one can be.
        min_size: usize,
        /// How many bytes there are.
        remaining: usize,
    },
    /// The frame would take more memory than its length justifies.
    #[error("{needed} more bytes of memory are wanted at {at}, {allowed} are left to the frame")]
    TooLarge {
        /// Where the value begins.
        at: usize,
        /// How much memory it needs.
        needed: usize,
        /// How much the frame may still claim.
        allowed: usize,
    },
    /// Null where this version does not allow it.
    #[error("null is not allowed at {at}")]
    Null {
        /// Where it lies.
        at: usize,
    },
    /// A string is not UTF-8.
    #[error("the string at {at} is no UTF-8: {error}")]
    Utf8 {
        /// Where the text begins.
        at: usize,
        /// What is wrong in it.
        error: Utf8Error,
    },
    /// A varint has more bits than its type.
    #[error("the varint at {at} is too long")]
    Varint {
        /// Where it begins.
        at: usize,
    },
    /// A tagged field is longer than the value in it.
    #[error("a tagged field ends at {end}, its value at {at}")]
    TagLength {
        /// Where the value ends.
        at: usize,
        /// Where the field should.
        end: usize,
    },
    /// Bytes are left behind the message.
    #[error("{remaining} bytes are left at {at}, behind the message")]
    Trailing {
        /// Where the message ends.
        at: usize,
        /// How many bytes follow.
        remaining: usize,
    },
    /// The message has no such version.
    #[error("{message} has versions {min} to {max}, not {version}")]
    UnsupportedVersion {
        /// The name of the message.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// The oldest there is.
        min: i16,
        /// The newest there is.
        max: i16,
    },
    /// A record names a type that is not known here.
    #[error("there is no record of type {key}")]
    UnknownRecordType {
        /// The number of the type.
        key: i16,
    },
    /// A metadata record is framed in a way that is not known here.
    #[error("the frame of a metadata record has version {got}, not {expected}")]
    FrameVersion {
        /// The only version known.
        expected: u32,
        /// What the frame says.
        got: u32,
    },
}

/// Reads values one after the other from a frame. See the module's documentation for its rules.
#[derive(Debug)]
pub struct Decoder {
    frame: Bytes,
    at: usize,
    end: usize,
    budget: usize,
}

impl Decoder {
    /// Reads `frame` from its first byte.
    pub fn new(frame: Bytes) -> Self {
        let budget = frame
            .len()
            .saturating_mul(ALLOCATION_FACTOR)
            .saturating_add(ALLOCATION_FLOOR);
        Decoder::with_budget(frame, budget)
    }

    /// Like [`Decoder::new`], with a bound on the memory that the frame may claim.
    pub fn with_budget(frame: Bytes, budget: usize) -> Self {
        Decoder {
            at: 0,
            end: frame.len(),
            frame,
            budget,
        }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// All that is left, as a slice of the frame.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.frame.slice(self.at..self.end);
        self.at = self.end;
        rest
    }

    /// Fails unless everything has been read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(DecodeError::Trailing {
                at: self.at,
                remaining,
            }),
        }
    }

    /// Charges `needed` bytes of memory to the frame.
    pub(super) fn charge(&mut self, needed: usize) -> Result<(), DecodeError> {
        self.budget = self
            .budget
            .checked_sub(needed)
            .ok_or(DecodeError::TooLarge {
                at: self.at,
                needed,
                allowed: self.budget,
            })?;
        Ok(())
    }

    /// Moves past `needed` bytes and gives where they began.
    fn take(&mut self, needed: usize) -> Result<usize, DecodeError> {
        let (at, remaining) = (self.at, self.remaining());
        if needed > remaining {
            return Err(DecodeError::Short {
                at,
                needed,
                remaining,
            });
        }
        self.at += needed;
        Ok(at)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (at, remaining) = (self.at, self.remaining());
        let bytes = self.frame[at..self.end]
            .first_chunk::<N>()
            .ok_or(DecodeError::Short {
                at,
                needed: N,
                remaining,
            })?;
        self.at += N;
        Ok(*bytes)
    }

    /// The next `length` bytes, as a slice of the frame.
    pub fn slice(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let at = self.take(length)?;
        Ok(self.frame.slice(at..at + length))
    }

    /// One byte; any but zero is true, as for Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// One byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// Two bytes.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// Eight bytes.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid)
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        self.varint_with(varint::read_u32)
    }

    /// A zigzag varint of 32 bits.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        self.varint_with(varint::read_i32)
    }

    /// A zigzag varint of 64 bits.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        self.varint_with(varint::read_i64)
    }

    fn varint_with<T>(
        &mut self,
        read: impl Fn(&[u8]) -> Result<(T, usize), VarintError>,
    ) -> Result<T, DecodeError> {
        let (at, remaining) = (self.at, self.remaining());
        match read(&self.frame[at..self.end]) {
            Ok((value, len)) => {
                self.at += len;
                Ok(value)
            }
            Err(VarintError::Short) => Err(DecodeError::Short {
                at,
                needed: remaining + 1,
                remaining,
            }),
            Err(VarintError::TooLong) => Err(DecodeError::Varint { at }),
        }
    }

    /// A length: compact, or of the given width. `None` is null.
    pub(super) fn length(&mut self, flex: bool, short: bool) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        if flex {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        let length = if short {
            i64::from(self.i16()?)
        } else {
            i64::from(self.i32()?)
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::NegativeLength { at, length }),
        }
    }

    /// Refuses null where it is not allowed.
    pub(super) fn null(&self, allowed: bool) -> Result<(), DecodeError> {
        if allowed {
            Ok(())
        } else {
            Err(DecodeError::Null { at: self.at })
        }
    }

    /// A string that must be there.
    pub fn str(&mut self, flex: bool) -> Result<Str, DecodeError> {
        Ok(self.opt_str(flex, false)?.unwrap_or_default())
    }

    /// A string, or null where that is allowed.
    pub fn opt_str(&mut self, flex: bool, nullable: bool) -> Result<Option<Str>, DecodeError> {
        let Some(length) = self.length(flex, true)? else {
            self.null(nullable)?;
            return Ok(None);
        };
        let at = self.at;
        // Kafka bounds a string so even where its length is compact. What is kept of it would not fit
        // into a record whose strings are plain.
        let max = i16::MAX as usize;
        if length > max {
            return Err(DecodeError::StringTooLong { at, length, max });
        }
        let bytes = self.slice(length)?;
        Str::from_utf8(bytes)
            .map(Some)
            .map_err(|error| DecodeError::Utf8 { at, error })
    }

    /// Bytes that must be there.
    pub fn bytes(&mut self, flex: bool) -> Result<Bytes, DecodeError> {
        Ok(self.opt_bytes(flex, false)?.unwrap_or_default())
    }

    /// Bytes, or null where that is allowed.
    pub fn opt_bytes(&mut self, flex: bool, nullable: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flex, false)? {
            Some(length) => self.slice(length).map(Some),
            None => self.null(nullable).map(|()| None),
        }
    }

    /// Bounds what is read to the next `length` bytes, and gives the bound that was.
    pub(super) fn enter(&mut self, length: usize) -> Result<usize, DecodeError> {
        let at = self.take(length)?;
        self.at = at;
        Ok(core::mem::replace(&mut self.end, at + length))
    }

    /// Takes the bound back that [`Decoder::enter`] gave; all within it must have been read.
    pub(super) fn leave(&mut self, end: usize) -> Result<(), DecodeError> {
        if self.at != self.end {
            return Err(DecodeError::TagLength {
                at: self.at,
                end: self.end,
            });
        }
        self.end = end;
        Ok(())
    }
}
