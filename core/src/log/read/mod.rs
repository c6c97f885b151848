//! Reading: where to begin, and which of the bytes read a reader gets.
//!
//! A plan costs a search among the segments and, for the segment that is written to, among its index entries in
//! memory. In a sealed segment the driver looks the position up in the mapped index ([`Start::resolve`]).
//! Then it reads from there, and [`trim`] gives the whole batches from the one that holds the wanted
//! offset on: bytes as they lie in the log. A batch that cannot be one is damage, reported with its
//! place; nothing is skipped silently.

use alloc::vec::Vec;

use bytes::Bytes;
use ottla_wire::records::MAGIC;

use super::{
    FileName, Log,
    index::{self, txn::AbortedTxn},
};
use crate::{
    batch::{self, BatchHeader},
    limits::{BATCH_HEADER_BYTES, INDEX_TAIL_ENTRIES_MAX, RECENT_BATCHES_MAX},
    marks,
};

/// Where in a segment's log file a scan begins: at a batch at or before the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this position.
    At(u64),
    /// To be looked up in an index file, in its first `len` bytes, which change no more.
    Lookup {
        /// The offset index.
        index: FileName,
        /// How much of it to map.
        len: u64,
        /// The segment's base offset.
        base: i64,
        /// The offset to look up.
        offset: i64,
    },
}

impl Start {
    /// The position, given the mapped index if one is to be looked up.
    #[must_use]
    pub fn resolve(self, mapped: &[u8]) -> u64 {
        match self {
            Self::At(position) => position,
            Self::Lookup { base, offset, .. } => {
                u64::from(index::offset::lookup(mapped, base, offset).position)
            }
        }
    }
}

/// What to read for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// The segment, by base offset; its file is `FileName::Log(segment)`.
    pub segment: i64,
    /// Where to begin.
    pub start: Start,
    /// Do not read at or past this position.
    pub end: u64,
    /// The wanted offset.
    pub from: i64,
    /// Give nothing at or past this offset.
    pub upto: i64,
    /// No batch of the segment ends at or past this offset.
    pub bound: i64,
    /// Give at most so many bytes,
    pub max_bytes: usize,
    /// but at least one batch, however large.
    pub min_one: bool,
    /// The base offset of the next segment: where to go on if this one has nothing at or past `from`.
    pub next_segment: Option<i64>,
    /// Whether offsets may be missing below `upto`: compaction takes records out.
    pub holes: bool,
}

impl ReadPlan {
    /// How many bytes to read at first, given the position from which.
    #[must_use]
    pub fn read_len(&self, position: u64, index_interval_bytes: u32) -> usize {
        // The wanted batch may begin an index interval behind the position.
        let slack = index_interval_bytes as usize + BATCH_HEADER_BYTES;
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        self.max_bytes.saturating_add(slack).min(left)
    }
}

/// `OFFSET_OUT_OF_RANGE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} is not between {log_start} and {log_end}")]
pub struct OffsetOutOfRange {
    /// The offset asked for.
    pub offset: i64,
    /// The first that can be read.
    pub log_start: i64,
    /// The log's end.
    pub log_end: i64,
}

/// Where a batch near the log's end begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecentBatch {
    pub(super) segment: i64,
    pub(super) last: i64,
    pub(super) position: u64,
}

/// Where aborted transactions of a stretch of the log are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortedPlan {
    /// Here they are.
    Memory(Vec<AbortedTxn>),
    /// In the first `len` bytes of this file.
    File {
        /// The transaction index.
        file: FileName,
        /// Its length.
        len: u64,
    },
}

impl Log {
    /// Plans a read of offsets `from..upto`; none if that is empty.
    ///
    /// # Errors
    /// If `from` lies outside the log.
    pub fn plan_read(
        &self,
        from: i64,
        upto: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Option<ReadPlan>, OffsetOutOfRange> {
        let (log_start, log_end) = (self.log_start, self.log_end);
        if from < log_start || from > log_end {
            if from < log_start {
                marks::READ_BELOW_LOG_START.reach();
            }
            return Err(OffsetOutOfRange {
                offset: from,
                log_start,
                log_end,
            });
        }
        let upto = upto.min(log_end);
        if from >= upto {
            return Ok(None);
        }
        let at = self.segment_at(from);
        let segment = &self.segments[at];
        let next_segment = self.segments.get(at + 1).map(|next| next.base);
        Ok(Some(ReadPlan {
            segment: segment.base,
            start: self
                .recent_start(segment.base, from)
                .unwrap_or_else(|| segment.start_for(from)),
            end: segment.size,
            from,
            upto,
            bound: next_segment.unwrap_or(log_end),
            max_bytes,
            min_one,
            next_segment,
            holes: self.config.compact,
        }))
    }

    /// Plans the look-up of transactions that were aborted and overlap offsets `from..upto`: search these
    /// in order with [`index::txn::collect`] until it is complete.
    #[must_use]
    pub fn plan_aborted(&self, from: i64) -> Vec<AbortedPlan> {
        let segments = self
            .segments
            .range(self.segment_at(from)..)
            .filter(|segment| segment.has_txn_index());
        segments
            .map(|segment| {
                if segment.aborted.len() as u64 == segment.aborted_count {
                    return AbortedPlan::Memory(segment.aborted.clone());
                }
                let [.., (file, len)] = segment.lengths();
                AbortedPlan::File { file, len }
            })
            .collect()
    }

    /// The exact place of a batch near the end.
    fn recent_start(&self, segment: i64, from: i64) -> Option<Start> {
        let at = self.recent.partition_point(|batch| batch.last < from);
        let batch = self.recent.get(at)?;
        // The first one remembered is the right one only if the one before it was remembered too.
        let known = at > 0 || batch.position == 0;
        (known && batch.segment == segment).then_some(Start::At(batch.position))
    }
}

/// What [`trim`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trimmed {
    /// Whole batches; none if nothing fits or the wanted one is not below `upto`.
    Batches {
        /// As they lie in the log.
        bytes: Bytes,
        /// The offset behind them (the wanted one, if there are none).
        next_offset: i64,
    },
    /// Read again: at least `len` bytes from this position.
    More {
        /// From where.
        at: u64,
        /// How much.
        len: usize,
    },
    /// The segment holds nothing at or past the wanted offset: go on in the next one.
    End,
}

/// Bytes in a log that are no batch, where there must be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no batch at position {position} of the segment at {segment}: {reason}")]
pub struct Damaged {
    /// The segment's base offset.
    pub segment: i64,
    /// Where.
    pub position: u64,
    /// What is wrong.
    pub reason: Damage,
}

/// What is wrong with bytes that should be a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// They end before the batch does.
    #[error("{needed} bytes are needed, {left} are left")]
    Torn {
        /// The batch's size, or a header's.
        needed: u64,
        /// What there is.
        left: u64,
    },
    /// A length field that no batch has.
    #[error("length field {0}")]
    Length(i32),
    /// A format other than 2.
    #[error("magic {0}")]
    Magic(i8),
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Crc,
    /// Its offsets go on where those of the next segment begin, or the log has ended.
    #[error("last offset {last}, less than {bound} was expected")]
    Last {
        /// The first offset that is not the segment's.
        bound: i64,
        /// The batch's last.
        last: i64,
    },
    /// Its offsets do not follow those before.
    #[error("first offset {got}, at least {expected} was expected")]
    Offset {
        /// The end of what is before.
        expected: i64,
        /// The batch's first.
        got: i64,
    },
}

/// Looks at the batch header at the start of `rest`: header and size, if it can be one.
pub(super) fn header_at(rest: &[u8]) -> Result<(BatchHeader, usize), Damage> {
    let torn = Damage::Torn {
        needed: BATCH_HEADER_BYTES as u64,
        left: rest.len() as u64,
    };
    let header = batch::read_header(rest).ok_or(torn)?;
    let magic = batch::magic_of(rest);
    if magic != MAGIC {
        return Err(Damage::Magic(magic));
    }
    let size = batch::size_of(&header).ok_or(Damage::Length(header.batch_length))?;
    if header.base_offset < 0 || header.last_offset_delta < 0 || header.last_offset() == i64::MAX {
        return Err(Damage::Offset {
            expected: 0,
            got: header.base_offset,
        });
    }
    Ok((header, size))
}

/// Gives the whole batches of `bytes`, which were read at `position`, that `plan` asks for. `bytes`
/// may end anywhere.
///
/// # Errors
/// If there is something else than a batch where one must be.
pub fn trim(bytes: &Bytes, position: u64, plan: &ReadPlan) -> Result<Trimmed, Damaged> {
    let mut found: Option<(usize, i64)> = None;
    let mut at = 0;
    let mut least = plan.segment;
    loop {
        let here = position + at as u64;
        let rest = &bytes[at..];
        let damaged = |reason| Damaged {
            segment: plan.segment,
            position: here,
            reason,
        };
        if here >= plan.end {
            break;
        }
        let left = plan.end - here;
        if left < BATCH_HEADER_BYTES as u64 {
            return Err(damaged(Damage::Torn {
                needed: BATCH_HEADER_BYTES as u64,
                left,
            }));
        }
        if rest.len() < BATCH_HEADER_BYTES {
            if found.is_some() {
                break;
            }
            return Ok(Trimmed::More {
                at: here,
                len: want(plan, BATCH_HEADER_BYTES, left),
            });
        }
        let (header, size) = header_at(rest).map_err(damaged)?;
        if header.base_offset < least {
            return Err(damaged(Damage::Offset {
                expected: least,
                got: header.base_offset,
            }));
        }
        if size as u64 > left {
            return Err(damaged(Damage::Torn {
                needed: size as u64,
                left,
            }));
        }
        let last = header.last_offset();
        least = last + 1;
        if last < plan.from {
            if size > rest.len() {
                // The wanted batch lies behind what was read.
                let next = here + size as u64;
                if next >= plan.end {
                    return end(plan, least);
                }
                return Ok(Trimmed::More {
                    at: next,
                    len: want(plan, BATCH_HEADER_BYTES, plan.end - next),
                });
            }
            at += size;
            continue;
        }
        if found.is_none() && header.base_offset >= plan.upto && !plan.holes {
            // No checksum covers a base offset.
            return Err(damaged(Damage::Offset {
                expected: plan.from,
                got: header.base_offset,
            }));
        }
        if found.is_none() && last >= plan.bound {
            // A reader would be told that there is nothing for it yet, again and again.
            let bound = plan.bound;
            return Err(damaged(Damage::Last { bound, last }));
        }
        let first = found.map_or(at, |(first, _)| first);
        let fits = at + size - first <= plan.max_bytes || (found.is_none() && plan.min_one);
        if last >= plan.upto || !fits {
            found = found.or(Some((first, plan.from)));
            break;
        }
        if size > rest.len() {
            if found.is_some() {
                break;
            }
            return Ok(Trimmed::More {
                at: here,
                len: want(plan, size, left),
            });
        }
        found = Some((first, last + 1));
        at += size;
        // What lies behind may be a write under way: it is not looked at.
        if last + 1 >= plan.upto {
            break;
        }
    }
    Ok(match found {
        Some((first, next_offset)) => Trimmed::Batches {
            bytes: bytes.slice(first..at),
            next_offset,
        },
        None => end(plan, least)?,
    })
}

/// The segment has nothing at or past the wanted offset. A log's last one ends with its last record, so
/// there the offset of one that was passed over is not what was written.
fn end(plan: &ReadPlan, next_offset: i64) -> Result<Trimmed, Damaged> {
    if plan.next_segment.is_some() || plan.end == 0 {
        return Ok(Trimmed::End);
    }
    Err(Damaged {
        segment: plan.segment,
        position: plan.end,
        reason: Damage::Offset {
            expected: plan.from,
            got: next_offset,
        },
    })
}

fn want(plan: &ReadPlan, least: usize, left: u64) -> usize {
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    plan.max_bytes.max(least).min(left)
}

const _: () = assert!(RECENT_BATCHES_MAX > 1 && INDEX_TAIL_ENTRIES_MAX > 1);
