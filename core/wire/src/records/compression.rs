//! The four codecs of Kafka, each in the framing that its clients write and read.
//!
//! Decompression is always bounded, since a few bytes can claim gigabytes: at most `max` bytes come
//! out, and memory grows with what really comes out. The codecs work on streams, which needs std;
//! that is why they lie behind a feature and the machines of the core do without them.

extern crate std;

use alloc::vec::Vec;
use core::cell::RefCell;
use std::io::{self, Read, Write};

use bytes::Bytes;
use zstd::zstd_safe::{DCtx, ResetDirective};

use super::{BatchBuilder, BatchView, Compression, HEADER_LEN};

/// Why bytes could not be compressed or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// More comes out than was allowed.
    #[error("{codec} data gives more than {max} bytes")]
    TooLarge {
        /// The codec.
        codec: Compression,
        /// How much was allowed.
        max: usize,
    },
    /// The bytes are not what the codec makes.
    #[error("bad {codec} data: {error}")]
    Corrupt {
        /// The codec.
        codec: Compression,
        /// What it says.
        error: io::Error,
    },
    /// The batch names a codec that is none of Kafka's.
    #[error("there is no compression {code}")]
    Unknown {
        /// The codec's number.
        code: u8,
    },
}

/// Where the Java library's stream of Snappy blocks begins: its magic, then two versions.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_LEN: usize = 16;
/// How much the Java library puts into a block.
const XERIAL_BLOCK: usize = 32 * 1024;
/// A Snappy element of three bytes yields at most 64.
const SNAPPY_MAX_RATIO: usize = 22;
/// The largest window that Kafka's zstd reads, as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A context that a large batch has grown beyond this is not kept.
const ZSTD_KEPT_MAX: usize = 4 << 20;

std::thread_local! {
    // To make a context costs more than a small batch. None outlives its thread.
    static ZSTD_DECODER: RefCell<DCtx<'static>> = RefCell::default();
    static ZSTD_ENCODER: RefCell<zstd::bulk::Compressor<'static>> = RefCell::default();
}

/// Undoes `codec`; at most `max` bytes come out.
pub fn decompress(
    codec: Compression,
    input: &[u8],
    max: usize,
) -> Result<Vec<u8>, CompressionError> {
    let corrupt = |error| CompressionError::Corrupt { codec, error };
    let too_large = CompressionError::TooLarge { codec, max };
    match codec {
        Compression::None if input.len() > max => Err(too_large),
        Compression::None => Ok(input.to_vec()),
        Compression::Gzip => read_bounded(codec, flate2::read::MultiGzDecoder::new(input), max),
        Compression::Snappy => snappy(input, max)?.ok_or(too_large),
        Compression::Lz4 => read_bounded(codec, lz4_flex::frame::FrameDecoder::new(input), max),
        Compression::Zstd => ZSTD_DECODER.with_borrow_mut(|context| {
            context
                .reset(ResetDirective::SessionAndParameters)
                .map_err(|_| corrupt(io::Error::other("the decoder cannot be used again")))?;
            let mut decoder = zstd::stream::read::Decoder::with_context(input, context);
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(corrupt)?;
            let done = read_bounded(codec, decoder, max);
            if context.sizeof() > ZSTD_KEPT_MAX {
                *context = DCtx::default();
            }
            done
        }),
    }
}

fn read_bounded(
    codec: Compression,
    from: impl Read,
    max: usize,
) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    from.take(max as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| CompressionError::Corrupt { codec, error })?;
    if out.len() > max {
        return Err(CompressionError::TooLarge { codec, max });
    }
    Ok(out)
}

/// Reads one raw block, or the Java library's stream of blocks; `None` is too large.
fn snappy(input: &[u8], max: usize) -> Result<Option<Vec<u8>>, CompressionError> {
    let mut out = Vec::new();
    let fits = if input.starts_with(&XERIAL_MAGIC) {
        snappy_stream(input, max, &mut out)
    } else {
        snappy_block(input, max, &mut out)
    };
    let corrupt = |error| CompressionError::Corrupt {
        codec: Compression::Snappy,
        error,
    };
    Ok(fits.map_err(corrupt)?.then_some(out))
}

fn snappy_stream(mut input: &[u8], max: usize, out: &mut Vec<u8>) -> io::Result<bool> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    while !input.is_empty() {
        // Streams may be joined, each with its header.
        if input.starts_with(&XERIAL_MAGIC) {
            input = input.get(XERIAL_HEADER_LEN..).ok_or_else(short)?;
            continue;
        }
        let (length, rest) = input.split_first_chunk::<4>().ok_or_else(short)?;
        let block = rest
            .get(..u32::from_be_bytes(*length) as usize)
            .ok_or_else(short)?;
        input = &rest[block.len()..];
        if !snappy_block(block, max, out)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn snappy_block(block: &[u8], max: usize, out: &mut Vec<u8>) -> io::Result<bool> {
    let length = snap::raw::decompress_len(block)?;
    if length > max - out.len() {
        return Ok(false);
    }
    if length > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a block claims more than it can hold",
        ));
    }
    let start = out.len();
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[start..])?;
    out.truncate(start + written);
    Ok(true)
}

/// Applies `codec` at a level of its own, or at Kafka's default. Snappy and this LZ4 have no levels.
pub fn compress(
    codec: Compression,
    level: Option<i32>,
    input: &[u8],
) -> Result<Vec<u8>, CompressionError> {
    let done = match codec {
        Compression::None => Ok(input.to_vec()),
        Compression::Gzip => {
            let level = level
                .and_then(|level| u32::try_from(level).ok())
                .filter(|level| *level <= 9);
            let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::with_capacity(input.len() / 2), level);
            encoder.write_all(input).and_then(|()| encoder.finish())
        }
        Compression::Snappy => to_snappy_stream(input),
        Compression::Lz4 => to_lz4_frame(input),
        Compression::Zstd => ZSTD_ENCODER.with_borrow_mut(|encoder| {
            encoder.set_compression_level(level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))?;
            let done = encoder.compress(input);
            if encoder.context_mut().sizeof() > ZSTD_KEPT_MAX {
                *encoder = zstd::bulk::Compressor::default();
            }
            done
        }),
    };
    done.map_err(|error| CompressionError::Corrupt { codec, error })
}

fn to_snappy_stream(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_LEN + input.len() / 2);
    out.extend_from_slice(&XERIAL_MAGIC);
    // Its own version, and the oldest that reads it.
    out.extend_from_slice(&1u32.to_be_bytes());
    out.extend_from_slice(&1u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in input.chunks(XERIAL_BLOCK) {
        let block = encoder.compress_vec(chunk)?;
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(out)
}

fn to_lz4_frame(input: &[u8]) -> io::Result<Vec<u8>> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    // Kafka's own reader wants independent blocks, and writes them of this size.
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(input.len() / 2));
    encoder.write_all(input)?;
    encoder.finish().map_err(io::Error::other)
}

impl BatchView {
    /// The records, decompressed where they are compressed, else shared; at most `max` bytes.
    pub fn records(&self, max: usize) -> Result<Bytes, CompressionError> {
        match self.header().attributes.compression() {
            Ok(Compression::None) => Ok(self.shared().slice(HEADER_LEN..)),
            Ok(codec) => decompress(codec, self.payload(), max).map(Bytes::from),
            Err(unknown) => Err(CompressionError::Unknown { code: unknown.0 }),
        }
    }
}

impl BatchBuilder {
    /// The batch, its records compressed.
    pub fn build_compressed(
        self,
        codec: Compression,
        level: Option<i32>,
    ) -> Result<Bytes, CompressionError> {
        self.build_with(codec, |records| compress(codec, level, records))
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test fails where something went wrong"
)]
mod tests {
    use std::vec;

    use super::*;

    const CODECS: [Compression; 4] = [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    #[test]
    fn what_was_left_in_the_middle_or_was_no_data_does_not_show_in_what_comes_next() {
        let plain: Vec<u8> = (0..300_000_u32).map(|at| (at % 251 / 7) as u8).collect();
        for codec in CODECS {
            let packed = compress(codec, None, &plain).unwrap();
            for _ in 0..3 {
                assert!(
                    decompress(codec, &packed, plain.len() - 1).is_err(),
                    "{codec}"
                );
                assert!(decompress(codec, &packed[..packed.len() / 2], 1 << 20).is_err());
                assert!(decompress(codec, &[7; 40], 1 << 20).is_err(), "{codec}");
                assert_eq!(decompress(codec, &packed, 1 << 20).unwrap(), plain);
                assert_eq!(compress(codec, None, &plain).unwrap(), packed, "{codec}");
            }
        }
    }

    #[test]
    fn a_level_holds_for_one_batch_and_a_large_one_leaves_no_large_context() {
        let plain = vec![3; 9 << 20];
        let usual = compress(Compression::Zstd, None, &plain[..1000]).unwrap();
        let packed = compress(Compression::Zstd, Some(19), &plain).unwrap();
        assert_eq!(
            decompress(Compression::Zstd, &packed, plain.len()).unwrap(),
            plain
        );
        assert_eq!(
            compress(Compression::Zstd, None, &plain[..1000]).unwrap(),
            usual
        );
        assert!(ZSTD_ENCODER.with_borrow_mut(|one| one.context_mut().sizeof()) <= ZSTD_KEPT_MAX);
        assert!(ZSTD_DECODER.with_borrow(DCtx::sizeof) <= ZSTD_KEPT_MAX);
    }
}
