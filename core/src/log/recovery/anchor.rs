//! Where a scan after a crash may begin within the segment that holds the recovery point.
//!
//! The producers are written to a snapshot every so often within a segment, and the segment's indexes are
//! made durable before it ([`Log::append`](crate::log::Log::append)); closing does the same. So below the newest
//! snapshot at or below the recovery point everything is on the disk: batches, indexes and producers.
//! That snapshot's offset is the anchor. The indexes are read (a small fraction of the segment), their entries
//! below the anchor are kept, and the scan begins at the batch of the last of them.
//!
//! Nothing is taken on trust that can be checked at no cost: entries must rise and lie within the
//! file, the first batch of the scan must be the one the index names, and a batch must begin at the
//! anchor. Entries above it may be torn, and a torn one may pass for one below: so the last that is kept
//! of each index is looked up in the log (of the offset index it is where the scan begins). If anything is otherwise, the segment is read whole, as any later one is.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use super::{Directory, Found, RecoveryError, whole};
use crate::{
    batch::{self, BatchHeader},
    limits::{
        BATCH_HEADER_BYTES, INDEX_FILE_BYTES_MAX, OFFSET_INDEX_ENTRY_BYTES, TIME_INDEX_ENTRY_BYTES,
    },
    log::{
        FileName, Segment,
        index::{Tail, offset, time, txn},
        scan::{Request, Scan, Scanned},
    },
    time::Timestamp,
};

/// The place in a segment below which nothing is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    /// The snapshot's offset; indexes and producers are complete below it.
    pub(super) offset: i64,
    /// The last offset of the batch at which the scan begins, if an index entry named it.
    pub(super) first_last_offset: Option<i64>,
}

/// What reading below an anchor came to.
#[derive(Debug)]
pub(super) enum Anchored {
    /// Bytes are wanted first.
    Read(Request),
    /// The segment at this place, as it is below the anchor.
    At {
        at: usize,
        segment: Box<Segment>,
        anchor: Anchor,
    },
    /// It cannot be relied on.
    Nowhere,
}

/// Reads what there is below an anchor.
#[derive(Debug)]
pub(super) struct Anchoring {
    at: usize,
    anchor: Anchor,
    segment: Segment,
    part: Part,
    /// Entries to be looked up in the log.
    witnesses: Vec<Witness>,
    scan: Option<Scan>,
}

/// What the batch that ends at an offset must be.
#[derive(Clone, Copy, Debug)]
struct Witness {
    offset: i64,
    says: Says,
}

#[derive(Clone, Copy, Debug)]
enum Says {
    MaxTimestamp(i64),
    MarkerOf(i64),
}

impl Witness {
    fn agrees(self, header: &BatchHeader) -> bool {
        header.last_offset() == self.offset
            && match self.says {
                Says::MaxTimestamp(timestamp) => header.max_timestamp == timestamp,
                Says::MarkerOf(producer_id) => {
                    header.attributes.is_control() && header.producer_id == producer_id
                }
            }
    }
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Offsets,
    Times,
    Aborted,
    FirstHeader,
}

impl Anchoring {
    /// Begins, if there is an anchor for the segment that holds the recovery point.
    pub(super) fn new(
        segments: &[Found],
        directory: &Directory,
        recovery_point: i64,
        now: Timestamp,
    ) -> Option<Self> {
        let at = segments.iter().position(|found| found.rebuild)?;
        let base = segments[at].segment.base;
        let end = segments
            .get(at + 1)
            .map_or(i64::MAX, |next| next.segment.base);
        let (offset, _) = directory.newest_snapshot(recovery_point.min(end - 1))?;
        (offset > base && directory.has_indexes(base)).then(|| Self {
            at,
            anchor: Anchor {
                offset,
                first_last_offset: None,
            },
            segment: Segment::new(base, now),
            part: Part::Offsets,
            witnesses: Vec::new(),
            scan: None,
        })
    }

    /// The segment's base offset.
    pub(super) fn base(&self) -> i64 {
        self.segment.base
    }

    /// Goes on, with what was read. Asks for bytes, or is finished.
    pub(super) fn step(
        &mut self,
        mut read: Option<Bytes>,
        directory: &Directory,
        log_len: u64,
    ) -> Result<Anchored, RecoveryError> {
        while self.scan.is_none() {
            let base = self.segment.base;
            let file = match self.part {
                Part::Offsets => FileName::OffsetIndex(base),
                Part::Times => FileName::TimeIndex(base),
                Part::Aborted => FileName::TxnIndex(base),
                Part::FirstHeader => FileName::Log(base),
            };
            let len = match self.part {
                Part::FirstHeader => BATCH_HEADER_BYTES as u64,
                _ => directory.len(file).unwrap_or(0),
            };
            let bytes = match read.take() {
                None if len > INDEX_FILE_BYTES_MAX => return Ok(Anchored::Nowhere),
                None if len > 0 => {
                    return Ok(Anchored::Read(whole(file, len, INDEX_FILE_BYTES_MAX)?));
                }
                None => Bytes::new(),
                Some(bytes) => bytes,
            };
            let Some(next) = self.take(&bytes, len, log_len) else {
                return Ok(Anchored::Nowhere);
            };
            match next {
                Some(part) => self.part = part,
                None => break,
            }
        }
        match self.look_up(read, log_len) {
            Some(Some(request)) => Ok(Anchored::Read(request)),
            Some(None) => Ok(Anchored::At {
                at: self.at,
                segment: Box::new(self.segment.clone()),
                anchor: self.anchor,
            }),
            None => Ok(Anchored::Nowhere),
        }
    }

    /// Looks up each witness; none if one disagrees. Asks for bytes, or is finished.
    #[expect(clippy::option_option, reason = "unsound, or finished, or a read")]
    fn look_up(&mut self, mut read: Option<Bytes>, log_len: u64) -> Option<Option<Request>> {
        while let Some(&witness) = self.witnesses.last() {
            let segment = &self.segment;
            let scan = self.scan.get_or_insert_with(|| {
                let (from, upto) = stretch(segment, witness.offset);
                let upto = upto.unwrap_or(log_len).min(log_len);
                Scan::new(segment.base, None, from, upto, segment.base)
            });
            if let Some(bytes) = read.take() {
                scan.supply(bytes);
            }
            match scan.next() {
                Scanned::Need(request) => return Some(Some(request)),
                Scanned::Batch { header, .. } if header.last_offset() < witness.offset => {}
                Scanned::Batch { header, .. } if witness.agrees(&header) => {
                    self.scan = None;
                    self.witnesses.pop();
                }
                Scanned::Batch { .. } | Scanned::End | Scanned::Damaged { .. } => return None,
            }
        }
        Some(None)
    }

    /// Takes one file's bytes; none if they cannot be right. Gives the next file to read, if there is one.
    #[expect(clippy::option_option, reason = "unsound, or finished, or a next one")]
    fn take(&mut self, bytes: &[u8], len: u64, log_len: u64) -> Option<Option<Part>> {
        let (segment, below) = (&mut self.segment, self.anchor.offset);
        if bytes.len() as u64 != len {
            return None;
        }
        match self.part {
            Part::Offsets => {
                segment.offsets = offsets_below(bytes, segment.base, below)?;
                if let Some(last) = segment.offsets.last() {
                    segment.size = u64::from(last.position);
                    self.anchor.first_last_offset = Some(last.offset);
                }
                (segment.size < log_len).then_some(Some(Part::Times))
            }
            Part::Times => {
                segment.times = times_below(bytes, segment.base, below)?;
                if let Some(last) = segment.times.last() {
                    segment.largest = last;
                    self.witnesses.push(Witness {
                        offset: last.offset,
                        says: Says::MaxTimestamp(last.timestamp),
                    });
                }
                Some(Some(Part::Aborted))
            }
            Part::Aborted => {
                segment.aborted = txn::decode_all(bytes).ok()?;
                segment.aborted.retain(|entry| entry.last_offset < below);
                segment.aborted_count = segment.aborted.len() as u64;
                self.witnesses
                    .extend(segment.aborted.last().map(|last| Witness {
                        offset: last.last_offset,
                        says: Says::MarkerOf(last.producer_id),
                    }));
                Some(Some(Part::FirstHeader))
            }
            Part::FirstHeader => {
                let header = batch::read_header(bytes)?;
                segment.first_timestamp = Some(header.max_timestamp);
                Some(None)
            }
        }
    }
}

/// Where the batch that ends at `offset` lies: from the last index entry at or below it to the next one.
fn stretch(segment: &Segment, offset: i64) -> (u64, Option<u64>) {
    let (mut from, mut upto) = (0, None);
    for entry in segment.offsets.from(0) {
        if entry.offset > offset {
            upto = Some(u64::from(entry.position));
            break;
        }
        from = u64::from(entry.position);
    }
    (from, upto)
}

/// The entries of an offset index below an offset; none if they do not rise, the rest of the file included.
fn offsets_below(bytes: &[u8], base: i64, below: i64) -> Option<Tail<offset::OffsetEntry>> {
    let sound = bytes.len().is_multiple_of(OFFSET_INDEX_ENTRY_BYTES);
    let entries: Vec<_> = offset::entries(bytes, base).collect();
    let rising = entries.is_sorted_by(|a, b| a.offset < b.offset && a.position < b.position);
    let first = entries.first().is_none_or(|first| first.offset >= base);
    let mut tail = Tail::new();
    for entry in entries.into_iter().take_while(|entry| entry.offset < below) {
        tail.push(entry);
    }
    (sound && rising && first).then_some(tail)
}

/// The entries of a time index below an offset; none if they do not rise, the rest of the file included.
fn times_below(bytes: &[u8], base: i64, below: i64) -> Option<Tail<time::TimeEntry>> {
    let sound = bytes.len().is_multiple_of(TIME_INDEX_ENTRY_BYTES);
    let entries: Vec<_> = time::entries(bytes, base).collect();
    let rising = entries.is_sorted_by(|a, b| a.offset < b.offset && a.timestamp < b.timestamp);
    let first = entries
        .first()
        .is_none_or(|first| first.offset >= base && first.timestamp >= 0);
    let mut tail = Tail::new();
    for entry in entries.into_iter().take_while(|entry| entry.offset < below) {
        tail.push(entry);
    }
    (sound && rising && first).then_some(tail)
}
