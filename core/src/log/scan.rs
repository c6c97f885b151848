//! Walking a log file batch by batch, in chunks that somebody else reads.
//!
//! Every batch that a scan gives has a plausible header, whole bytes and a matching checksum, and its
//! offsets rise; anything else ends the scan with what is wrong and where. Recovery, truncation
//! and the rebuilding of producers all read through it, so damage is noticed whoever meets it.

use bytes::Bytes;

use super::{
    FileName, Mark,
    read::{Damage, header_at},
};
use crate::{
    batch::{self, BatchHeader},
    limits::{BATCH_HEADER_BYTES, SCAN_CHUNK_BYTES, SEGMENT_OFFSETS_MAX},
};

/// Bytes that are wanted from a file: exactly `len` of them unless the file ends before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The file.
    pub file: FileName,
    /// A mark on its name.
    pub mark: Option<Mark>,
    /// From where.
    pub at: u64,
    /// How many. Bounded by [`SCAN_CHUNK_BYTES`], a batch's size, or a small file's.
    pub len: usize,
}

/// A scan of one log file, from a batch on to an end.
#[derive(Debug)]
pub(super) struct Scan {
    file: FileName,
    mark: Option<Mark>,
    /// Position of the next batch.
    pub(super) at: u64,
    end: u64,
    /// The next batch's first offset is not below this.
    pub(super) next_offset: i64,
    chunk: Bytes,
    chunk_at: u64,
    requested: usize,
}

/// What a scan met next.
#[derive(Debug)]
pub(super) enum Scanned {
    Batch {
        header: BatchHeader,
        bytes: Bytes,
        position: u64,
    },
    /// Give these bytes to [`Scan::supply`].
    Need(Request),
    End,
    Damaged {
        position: u64,
        reason: Damage,
    },
}

impl Scan {
    pub(super) fn new(base: i64, mark: Option<Mark>, at: u64, end: u64, next_offset: i64) -> Self {
        Self {
            file: FileName::Log(base),
            mark,
            at,
            end,
            next_offset,
            chunk: Bytes::new(),
            chunk_at: at,
            requested: 0,
        }
    }

    pub(super) fn supply(&mut self, bytes: Bytes) {
        // Fewer bytes than were asked for: the file is shorter than it was listed.
        if bytes.len() < self.requested {
            self.end = self.end.min(self.at + bytes.len() as u64);
        }
        self.chunk = bytes;
        self.chunk_at = self.at;
    }

    pub(super) fn next(&mut self) -> Scanned {
        let position = self.at;
        let left = self.end.saturating_sub(position);
        if left == 0 {
            return Scanned::End;
        }
        let damaged = |reason| Scanned::Damaged { position, reason };
        if left < BATCH_HEADER_BYTES as u64 {
            return damaged(Damage::Torn {
                needed: BATCH_HEADER_BYTES as u64,
                left,
            });
        }
        let start = usize::try_from(position - self.chunk_at)
            .unwrap_or(usize::MAX)
            .min(self.chunk.len());
        let rest = self.chunk.slice(start..);
        if rest.len() < BATCH_HEADER_BYTES {
            return self.need(SCAN_CHUNK_BYTES, left);
        }
        let (header, size) = match header_at(&rest) {
            Ok(found) => found,
            Err(reason) => return damaged(reason),
        };
        // No checksum covers a base offset. An index could not name one so far from the segment's.
        let first = self.file.base_offset().unwrap_or(0);
        let too_far = header.last_offset().saturating_sub(first) > SEGMENT_OFFSETS_MAX;
        if header.base_offset < self.next_offset || too_far {
            return damaged(Damage::Offset {
                expected: self.next_offset,
                got: header.base_offset,
            });
        }
        if size as u64 > left {
            return damaged(Damage::Torn {
                needed: size as u64,
                left,
            });
        }
        if size > rest.len() {
            return self.need(size.max(SCAN_CHUNK_BYTES), left);
        }
        let bytes = rest.slice(..size);
        if !batch::crc_matches(&header, &bytes) {
            return damaged(Damage::Crc);
        }
        self.at += size as u64;
        self.next_offset = header.last_offset() + 1;
        Scanned::Batch {
            header,
            bytes,
            position,
        }
    }

    fn need(&mut self, len: usize, left: u64) -> Scanned {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
        self.requested = len;
        Scanned::Need(Request {
            file: self.file,
            mark: self.mark,
            at: self.at,
            len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::batch_of;

    #[test]
    fn a_file_shorter_than_listed_ends_where_it_ends() {
        let batch = batch_of(0, 1, 10);
        let mut scan = Scan::new(0, None, 0, batch.len() as u64 * 2, 0);
        let Scanned::Need(request) = scan.next() else {
            panic!()
        };
        assert_eq!((request.at, request.len), (0, batch.len() * 2));
        scan.supply(batch);
        assert!(matches!(scan.next(), Scanned::Batch { position: 0, .. }));
        assert!(matches!(scan.next(), Scanned::End));
    }

    #[test]
    fn a_flipped_bit_is_damage_at_its_batch() {
        let batch = batch_of(0, 1, 10);
        for at in [8, 16, 17, 30, 70] {
            let mut bytes = [&batch[..], &batch_of(1, 1, 10)[..]].concat();
            bytes[batch.len() + at] ^= 0x40;
            let mut scan = Scan::new(0, None, 0, bytes.len() as u64, 0);
            assert!(matches!(scan.next(), Scanned::Need(_)));
            scan.supply(bytes.into());
            assert!(matches!(scan.next(), Scanned::Batch { .. }));
            assert!(
                matches!(scan.next(), Scanned::Damaged { position, .. } if position == batch.len() as u64),
                "{at}"
            );
        }
    }
}
