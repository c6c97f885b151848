//! [`Encoder`]: writes a message as pieces.
//!
//! Everything small goes into one buffer; a byte field of [`SHARE_FROM`] bytes or more (records,
//! mostly) is kept as the slice it is, and its place in the buffer noted. [`Encoder::finish`] then
//! cuts the buffer at those places, so that a payload is never copied between log and socket.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

use super::varint;
use crate::{Str, Uuid};

/// From this size on a byte field is passed on as a slice. Below, one copy is cheaper than one more
/// piece in a vectored write.
pub const SHARE_FROM: usize = 1024;

/// The first size of a frame's buffer: most answers are smaller.
const FRAME_ROOM: usize = 256;

/// Why a message could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is set that this version does not have, and that may not be dropped silently.
    #[error("{field} is set, but version {version} does not have it")]
    Lacks {
        /// The struct and the field.
        field: &'static str,
        /// The version to be written.
        version: i16,
    },
    /// A field is null that this version does not allow to be.
    #[error("{field} is null, which this version does not allow")]
    Null {
        /// The struct and the field.
        field: &'static str,
    },
    /// A field is longer than its length can say.
    #[error("{field} has a length of {length}, {max} is the most")]
    TooLong {
        /// The struct and the field.
        field: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
    /// Unknown tagged fields are not in ascending order, or one has the tag of a known field.
    #[error("the tag {tag} does not belong behind {previous}")]
    TagOrder {
        /// The tag out of order.
        tag: u32,
        /// The one before it.
        previous: u32,
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
}

/// The error for a set field that a version lacks.
pub(crate) fn lacks(field: &'static str, version: i16) -> EncodeError {
    EncodeError::Lacks { field, version }
}

/// Writes values one after the other. See the module's documentation.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
    /// Slices, and where in the buffer each belongs; in order.
    shared: Vec<(usize, Bytes)>,
    shared_len: usize,
    framed: bool,
}

/// Where a tagged field begins, and so where its length goes.
#[derive(Debug)]
#[must_use]
pub struct TagStart {
    at: usize,
    shared: usize,
    shared_len: usize,
}

impl Encoder {
    /// An empty one.
    pub fn new() -> Self {
        Encoder::default()
    }

    /// One that already holds `buffer`, to reuse its memory or to go on behind a header.
    pub fn with_buffer(buffer: BytesMut) -> Self {
        Encoder {
            buffer,
            ..Encoder::default()
        }
    }

    /// One whose result begins with its own length in four bytes, as frames on a socket do.
    pub fn framed() -> Self {
        let mut e = Encoder {
            buffer: BytesMut::with_capacity(FRAME_ROOM),
            framed: true,
            ..Encoder::default()
        };
        e.i32(0);
        e
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.shared_len
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts the buffer at the slices.
    pub fn finish(mut self) -> Pieces {
        let len = self.len();
        if self.framed {
            // A frame has less than 2^31 bytes, as each field in it has; the server bounds it far below.
            let length = i32::try_from(len - 4).unwrap_or(i32::MAX);
            self.buffer[..4].copy_from_slice(&length.to_be_bytes());
        }
        let mut pieces = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut cut = 0;
        for (at, slice) in self.shared {
            if at > cut {
                pieces.push(self.buffer.split_to(at - cut).freeze());
                cut = at;
            }
            pieces.push(slice);
        }
        if !self.buffer.is_empty() {
            pieces.push(self.buffer.freeze());
        }
        Pieces { pieces, len }
    }

    /// Copies bytes in, without a length.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Takes bytes in, without a length: as a slice where that is worth it.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_FROM {
            self.buffer.put_slice(bytes);
        } else {
            self.shared_len += bytes.len();
            self.shared.push((self.buffer.len(), bytes.clone()));
        }
    }

    /// One byte, 1 for true.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Two bytes.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Eight bytes.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(&value.0);
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, value: u32) {
        self.put_varint(u64::from(value));
    }

    /// A zigzag varint of 32 bits.
    pub fn varint(&mut self, value: i32) {
        self.put_varint(varint::zigzag(i64::from(value)));
    }

    /// A zigzag varint of 64 bits.
    pub fn varlong(&mut self, value: i64) {
        self.put_varint(varint::zigzag(value));
    }

    fn put_varint(&mut self, value: u64) {
        let (bytes, len) = varint::encode_u64(value);
        self.buffer.put_slice(&bytes[..len]);
    }

    /// A length: compact, or of the given width.
    pub(super) fn length(
        &mut self,
        flex: bool,
        short: bool,
        length: usize,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        // Kafka bounds a string so even where its length is compact, and reads lengths as `int`.
        let max = if short {
            i16::MAX as usize
        } else {
            i32::MAX as usize - 1
        };
        if length > max {
            return Err(EncodeError::TooLong { field, length, max });
        }
        match (flex, short) {
            (true, _) => self.uvarint(length as u32 + 1),
            (false, true) => self.i16(length as i16),
            (false, false) => self.i32(length as i32),
        }
        Ok(())
    }

    /// The length that means null, where that is allowed.
    pub(super) fn null(
        &mut self,
        flex: bool,
        short: bool,
        nullable: bool,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match (nullable, flex, short) {
            (false, ..) => return Err(EncodeError::Null { field }),
            (true, true, _) => self.uvarint(0),
            (true, false, true) => self.i16(-1),
            (true, false, false) => self.i32(-1),
        }
        Ok(())
    }

    /// A string that must be there. `at` names the field in an error.
    pub fn str(&mut self, flex: bool, text: &Str, at: &'static str) -> Result<(), EncodeError> {
        self.length(flex, true, text.len(), at)?;
        self.buffer.put_slice(text.as_bytes());
        Ok(())
    }

    /// A string, or null where that is allowed.
    pub fn opt_str(
        &mut self,
        flex: bool,
        nullable: bool,
        text: Option<&Str>,
        at: &'static str,
    ) -> Result<(), EncodeError> {
        match text {
            Some(text) => self.str(flex, text, at),
            None => self.null(flex, true, nullable, at),
        }
    }

    /// Bytes that must be there.
    pub fn bytes(
        &mut self,
        flex: bool,
        bytes: &Bytes,
        at: &'static str,
    ) -> Result<(), EncodeError> {
        self.length(flex, false, bytes.len(), at)?;
        self.put_bytes(bytes);
        Ok(())
    }

    /// Bytes, or null where that is allowed.
    pub fn opt_bytes(
        &mut self,
        flex: bool,
        nullable: bool,
        bytes: Option<&Bytes>,
        at: &'static str,
    ) -> Result<(), EncodeError> {
        match bytes {
            Some(bytes) => self.bytes(flex, bytes, at),
            None => self.null(flex, false, nullable, at),
        }
    }

    /// Begins something whose length goes before it.
    pub(super) fn start(&self) -> TagStart {
        TagStart {
            at: self.buffer.len(),
            shared: self.shared.len(),
            shared_len: self.shared_len,
        }
    }

    /// Puts the length of all that was written since `start` before it.
    pub(super) fn insert_length(&mut self, start: TagStart) {
        let length = self.buffer.len() - start.at + self.shared_len - start.shared_len;
        let (bytes, len) = varint::encode_u64(length as u64);
        let old_end = self.buffer.len();
        self.buffer.put_slice(&bytes[..len]);
        self.buffer.copy_within(start.at..old_end, start.at + len);
        self.buffer[start.at..start.at + len].copy_from_slice(&bytes[..len]);
        for (at, _) in &mut self.shared[start.shared..] {
            *at += len;
        }
    }
}

/// A message as it goes to a socket: small pieces of header between shared slices of payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Pieces {
    /// How many bytes all pieces hold.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order; none is empty.
    pub fn iter(&self) -> core::slice::Iter<'_, Bytes> {
        self.pieces.iter()
    }

    /// Adds a piece behind the others.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// All in one; copies unless there is one piece only.
    pub fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() <= 1 {
            return self.pieces.pop().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.len);
        self.pieces.iter().for_each(|piece| all.put_slice(piece));
        all.freeze()
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        let mut pieces = Pieces::default();
        pieces.push(bytes);
        pieces
    }
}

impl IntoIterator for Pieces {
    type Item = Bytes;
    type IntoIter = alloc::vec::IntoIter<Bytes>;
    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

impl<'a> IntoIterator for &'a Pieces {
    type Item = &'a Bytes;
    type IntoIter = core::slice::Iter<'a, Bytes>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
