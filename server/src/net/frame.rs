//! Frames: a length in four bytes, and that many bytes of request.
//!
//! The length comes from a stranger. Nothing is allocated because of it: the buffer grows with the
//! bytes that have arrived, fourfold each time, so that a sender must send a quarter of what it
//! makes us hold. A connection that has completed a frame of some size is given that much at once
//! for the next. How large the buffer may be is the reader's caller's to say.

use std::{
    io::Result as IoResult,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use ottla_core::limits::FRAME_GROWTH;
use tokio::io::{AsyncRead, ReadBuf};

/// The length before a frame.
const LEN_SIZE: usize = 4;

/// How much is read at once into the stack while a connection has nothing buffered, so that an idle
/// connection holds no buffer.
const SCRATCH_SIZE: usize = 8 * 1024;

/// What begins a connection that is no Kafka client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// An HTTP request.
    Http,
    /// A TLS handshake.
    Tls,
}

/// Why the bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The length is negative.
    #[error("a frame announces a negative length ({len})")]
    Negative {
        /// The length.
        len: i32,
    },
    /// The length is more than is allowed.
    #[error("a frame announces {len} bytes, more than socket.request.max.bytes ({max})")]
    TooLong {
        /// The length.
        len: i32,
        /// `socket.request.max.bytes`.
        max: usize,
    },
    /// An HTTP client.
    #[error("it speaks HTTP, but this listener speaks Kafka's protocol")]
    Http,
    /// A client that wants TLS.
    #[error("it speaks TLS, but this listener is plaintext (security.protocol is PLAINTEXT)")]
    Tls,
}

/// What the buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Buffered {
    /// Less than a length.
    Nothing,
    /// A part of a frame of this length.
    Part {
        /// The frame's length.
        len: usize,
    },
    /// A whole frame of this length.
    Whole {
        /// The frame's length.
        len: usize,
    },
}

/// Collects frames from a stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
    /// The largest frame that this connection has completed.
    completed_max: usize,
    frame_max: usize,
    is_first: bool,
}

impl FrameReader {
    /// For frames up to `frame_max` bytes.
    pub(crate) fn new(frame_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            completed_max: 0,
            frame_max,
            is_first: true,
        }
    }

    /// What is buffered.
    pub(crate) fn buffered(&self) -> Result<Buffered, FrameError> {
        let Some(len) = self.buffer.first_chunk::<LEN_SIZE>() else {
            return Ok(Buffered::Nothing);
        };
        if self.is_first {
            match stranger(*len) {
                Some(Stranger::Http) => return Err(FrameError::Http),
                Some(Stranger::Tls) => return Err(FrameError::Tls),
                None => {}
            }
        }
        let announced = i32::from_be_bytes(*len);
        let len =
            usize::try_from(announced).map_err(|_| FrameError::Negative { len: announced })?;
        if len > self.frame_max {
            return Err(FrameError::TooLong {
                len: announced,
                max: self.frame_max,
            });
        }
        match self.buffer.len() - LEN_SIZE {
            arrived if arrived < len => Ok(Buffered::Part { len }),
            _ => Ok(Buffered::Whole { len }),
        }
    }

    /// The key of the API that the buffered frame asks for.
    pub(crate) fn api_key(&self) -> Option<i16> {
        let key = self.buffer.get(LEN_SIZE..)?.first_chunk()?;
        Some(i16::from_be_bytes(*key))
    }

    /// Takes the whole frame of `len` bytes that is buffered.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        self.is_first = false;
        self.completed_max = self.completed_max.max(len);
        self.buffer.advance(LEN_SIZE);
        let frame = self.buffer.split_to(len).freeze();
        if self.buffer.is_empty() {
            // What is left of the allocation would keep the frame's memory.
            self.buffer = BytesMut::new();
        }
        frame
    }

    /// How many bytes are buffered.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// How many bytes of a frame of `len` are to be held next, given what has arrived.
    pub(crate) fn next_share(&self, len: usize) -> usize {
        let trusted = self.completed_max;
        len.min(self.len().saturating_mul(FRAME_GROWTH).max(trusted))
    }

    /// Reads what the stream has, once, into a buffer of at most `allowed` bytes, of which some must
    /// be left. `Ok(0)` is the stream's end.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        allowed: usize,
        cx: &mut Context<'_>,
    ) -> Poll<IoResult<usize>> {
        if !self.buffer.is_empty() {
            self.make_room(allowed);
            return read_into(&mut self.buffer, stream, cx);
        }
        let expected = (self.completed_max + LEN_SIZE).min(allowed);
        if expected > SCRATCH_SIZE {
            // Kept only if something came.
            let mut buffer = BytesMut::with_capacity(expected);
            let count = ready!(read_into(&mut buffer, stream, cx))?;
            self.buffer = buffer;
            return Poll::Ready(Ok(count));
        }
        let mut scratch = [MaybeUninit::uninit(); SCRATCH_SIZE];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Makes room for the next read.
    fn make_room(&mut self, allowed: usize) {
        let have = self.buffer.len();
        let wanted = match self.buffered() {
            Ok(Buffered::Part { len }) => (len + LEN_SIZE).min(allowed),
            _ => SCRATCH_SIZE.min(allowed),
        };
        // There is always room for one byte more, so that a read makes progress.
        let wanted = wanted.max(have + 1);
        if self.buffer.capacity() < wanted {
            // As much as that and no more: `reserve` would round up.
            let mut larger = BytesMut::with_capacity(wanted);
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
    }
}

/// Reads once into what `buffer` has room for.
fn read_into<S: AsyncRead + Unpin>(
    buffer: &mut BytesMut,
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<IoResult<usize>> {
    let mut read = ReadBuf::uninit(buffer.spare_capacity_mut());
    ready!(Pin::new(stream).poll_read(cx, &mut read))?;
    let count = read.filled().len();
    let filled = buffer.len() + count;
    // SAFETY: `ReadBuf` vouches for the first `count` bytes of the spare capacity.
    unsafe { buffer.set_len(filled) };
    Poll::Ready(Ok(count))
}

/// Tells the first bytes of other protocols. Read as a length, each is above any limit or is a
/// frame that nobody sends first (TLS: 0x16030100, 369 MB).
fn stranger(first: [u8; 4]) -> Option<Stranger> {
    match &first {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"PRI " => {
            Some(Stranger::Http)
        }
        [0x16, 0x03, _, _] => Some(Stranger::Tls),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ottla_core::limits::FRAME_BYTES_AT_ONCE;

    use super::*;

    fn poll<S: AsyncRead + Unpin>(reader: &mut FrameReader, stream: &mut S) -> usize {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // As a connection does that gets leave for all it asks for.
        let share = match reader.buffered() {
            Ok(Buffered::Part { len }) => reader.next_share(len) + LEN_SIZE,
            _ => 0,
        };
        let allowed = share.max(FRAME_BYTES_AT_ONCE);
        match reader.poll_read(stream, allowed, &mut cx) {
            Poll::Ready(Ok(count)) => count,
            other => panic!("{other:?}"),
        }
    }

    fn frame(len: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(len).unwrap().to_be_bytes().to_vec();
        bytes.extend((0..len).map(|at| (at % 251) as u8));
        bytes
    }

    #[test]
    fn frames_of_any_size_come_out_whole_and_in_order() {
        let lens = [0, 1, 8_188, 8_189, 100_000, 3, 2_000_000, 2_000_000, 17];
        let mut stream = Cursor::new(lens.map(frame).concat());
        let mut reader = FrameReader::new(10_000_000);
        for len in lens {
            while !matches!(reader.buffered(), Ok(Buffered::Whole { .. })) {
                assert!(poll(&mut reader, &mut stream) > 0);
            }
            assert_eq!(reader.buffered(), Ok(Buffered::Whole { len }));
            assert_eq!(reader.take(len), frame(len)[4..]);
        }
        assert_eq!(poll(&mut reader, &mut stream), 0);
    }

    #[test]
    fn buffer_follows_what_arrived_not_what_was_announced() {
        let mut bytes = 99_000_000_u32.to_be_bytes().to_vec();
        bytes.resize(300_000, 0);
        let mut stream = Cursor::new(bytes);
        let mut reader = FrameReader::new(100_000_000);
        while poll(&mut reader, &mut stream) > 0 {
            let most = FRAME_BYTES_AT_ONCE.max(reader.len() * FRAME_GROWTH + LEN_SIZE);
            assert!(reader.buffer.capacity() <= most);
        }
        assert_eq!(reader.buffered(), Ok(Buffered::Part { len: 99_000_000 }));
    }

    #[test]
    fn a_connection_trusted_with_much_holds_little_without_leave() {
        let mut bytes = frame(1 << 20);
        bytes.extend_from_slice(&frame(1 << 20)[..100]);
        let mut stream = Cursor::new(bytes);
        let mut reader = FrameReader::new(10_000_000);
        while reader.buffered() != Ok(Buffered::Whole { len: 1 << 20 }) {
            assert!(poll(&mut reader, &mut stream) > 0);
        }
        reader.take(1 << 20);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let read = reader.poll_read(&mut stream, FRAME_BYTES_AT_ONCE, &mut cx);
        assert!(matches!(read, Poll::Ready(Ok(100))));
        assert!(reader.buffer.capacity() <= FRAME_BYTES_AT_ONCE);
        assert_eq!(reader.next_share(1 << 20), 1 << 20);
    }

    #[test]
    fn wrong_lengths_and_other_protocols_are_told() {
        let told = |first: &[u8]| {
            let mut reader = FrameReader::new(1000);
            poll(&mut reader, &mut Cursor::new(first.to_vec()));
            reader.buffered().unwrap_err()
        };
        assert_eq!(told(&[0xff; 4]), FrameError::Negative { len: -1 });
        assert_eq!(
            told(&[0, 0, 4, 0]),
            FrameError::TooLong {
                len: 1024,
                max: 1000
            }
        );
        assert_eq!(told(b"GET / HTTP/1.1\r\n"), FrameError::Http);
        assert_eq!(told(&[0x16, 0x03, 0x01, 0x02]), FrameError::Tls);
    }
}
