//! Finding offsets by time (`ListOffsets`, KIP-734).
//!
//! A log plans the search segment by segment, by their largest timestamps; within a segment the time index
//! gives an offset, the offset index a position, and from there batches are scanned by their headers until one
//! reaches the wanted time ([`search`]). Only that one batch is decoded by the caller, which then
//! takes the record with [`pick`].

use bytes::Bytes;

use super::{
    FileName, Log, Start,
    index::{self, Looked},
    read::{Damage, Damaged, header_at},
};
use crate::limits::BATCH_HEADER_BYTES;

/// Which record is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeTarget {
    /// The first stamped at this time or later.
    AtOrAfter(i64),
    /// The first with the largest timestamp.
    Largest(i64),
}

impl TimeTarget {
    fn timestamp(self) -> i64 {
        match self {
            Self::AtOrAfter(timestamp) | Self::Largest(timestamp) => timestamp,
        }
    }
}

/// A search in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimePlan {
    /// The segment, by base offset.
    pub segment: i64,
    /// What is wanted.
    pub target: TimeTarget,
    /// Records below this offset do not count.
    pub from: i64,
    /// Nor do those at or past this one.
    pub upto: i64,
    /// Do not read at or past this position.
    pub end: u64,
    /// The first `len` bytes of this time index are to be searched with [`TimePlan::offset`]; none: nothing need be read.
    pub lookup: Option<(FileName, u64)>,
    known: i64,
}

impl TimePlan {
    /// An offset at or before the wanted record, given the mapped time index if one is to be searched.
    #[must_use]
    pub fn offset(&self, mapped: &[u8]) -> i64 {
        match self.lookup {
            // The entry is at or below the wanted time, so for the exact time its batch may be the wanted one.
            Some(_) => {
                index::time::lookup(mapped, self.segment, self.target.timestamp() - 1).offset
            }
            None => self.known,
        }
        .max(self.segment)
    }
}

impl Log {
    /// Plans the search for the first record at or past `timestamp` among offsets `log_start..upto`. None if no segment
    /// reaches that time. `after`: the segment that was searched in vain.
    #[must_use]
    pub fn plan_time(&self, timestamp: i64, upto: i64, after: Option<i64>) -> Option<TimePlan> {
        let first = after.map_or(0, |base| {
            self.segments
                .partition_point(|segment| segment.base <= base)
        });
        let mut segments = self.segments.range(first..).enumerate();
        let (at, _) = segments.find(|(at, segment)| {
            let end = self
                .segments
                .get(first + at + 1)
                .map_or(self.log_end, |next| next.base);
            segment.largest.timestamp >= timestamp && end > self.log_start && segment.base < upto
        })?;
        Some(self.time_plan(first + at, TimeTarget::AtOrAfter(timestamp), upto))
    }

    /// Plans the search for the record with the largest timestamp; none if there is none.
    #[must_use]
    pub fn plan_max_timestamp(&self) -> Option<TimePlan> {
        let largest = |at: usize| self.segments[at].largest.timestamp;
        // Of equals the first.
        let at = (0..self.segments.len())
            .rev()
            .max_by_key(|&at| largest(at))?;
        (largest(at) >= 0)
            .then(|| self.time_plan(at, TimeTarget::Largest(largest(at)), self.log_end))
    }

    /// Where in a segment a scan for `offset` begins.
    #[must_use]
    pub fn plan_position(&self, segment: i64, offset: i64) -> Start {
        let at = self.segment_at(segment);
        self.segments[at].start_for(offset)
    }

    fn time_plan(&self, at: usize, target: TimeTarget, upto: i64) -> TimePlan {
        let segment = &self.segments[at];
        let (lookup, known) = match segment.times.lookup(target.timestamp() - 1) {
            Looked::Entry(entry) => (None, entry.offset),
            Looked::None => (None, segment.base),
            Looked::InFile { len } => {
                (Some((FileName::TimeIndex(segment.base), len)), segment.base)
            }
        };
        let (end, from) = (segment.size, self.log_start);
        TimePlan {
            segment: segment.base,
            target,
            from,
            upto,
            end,
            lookup,
            known,
        }
    }
}

/// How a search in some bytes of a segment went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeAnswer {
    /// The wanted record is in this batch, unless its header lies: decode it, and [`pick`] the record.
    Batch {
        /// The batch.
        bytes: Bytes,
        /// Where the search goes on if the record is not in it.
        next: u64,
    },
    /// Read again: at least `len` bytes from this position.
    More {
        /// From where.
        at: u64,
        /// How much.
        len: usize,
    },
    /// Not in this segment.
    None,
}

/// Searches bytes that were read at `position` for the batch that `plan` wants, by headers.
///
/// # Errors
/// If there is something else than a batch where one must be.
pub fn search(bytes: &Bytes, position: u64, plan: &TimePlan) -> Result<TimeAnswer, Damaged> {
    let mut at = 0;
    loop {
        let here = position + at as u64;
        let left = plan.end.saturating_sub(here);
        let damaged = |reason| Damaged {
            segment: plan.segment,
            position: here,
            reason,
        };
        if left == 0 {
            return Ok(TimeAnswer::None);
        }
        if left < BATCH_HEADER_BYTES as u64 {
            return Err(damaged(Damage::Torn {
                needed: BATCH_HEADER_BYTES as u64,
                left,
            }));
        }
        let Some(rest) = bytes
            .get(at..)
            .filter(|rest| rest.len() >= BATCH_HEADER_BYTES)
        else {
            return Ok(TimeAnswer::More {
                at: here,
                len: BATCH_HEADER_BYTES,
            });
        };
        let (header, size) = header_at(rest).map_err(damaged)?;
        if size as u64 > left {
            return Err(damaged(Damage::Torn {
                needed: size as u64,
                left,
            }));
        }
        if header.base_offset >= plan.upto {
            return Ok(TimeAnswer::None);
        }
        let wanted =
            header.max_timestamp >= plan.target.timestamp() && header.last_offset() >= plan.from;
        if wanted && size > rest.len() {
            return Ok(TimeAnswer::More {
                at: here,
                len: size,
            });
        }
        if wanted {
            return Ok(TimeAnswer::Batch {
                bytes: bytes.slice(at..at + size),
                next: here + size as u64,
            });
        }
        at += size;
        if header.last_offset() + 1 >= plan.upto {
            return Ok(TimeAnswer::None);
        }
    }
}

/// The wanted one of a batch's records, given as offset and timestamp each.
pub fn pick(records: impl IntoIterator<Item = (i64, i64)>, plan: &TimePlan) -> Option<(i64, i64)> {
    records.into_iter().find(|&(offset, timestamp)| {
        (plan.from..plan.upto).contains(&offset) && timestamp >= plan.target.timestamp()
    })
}
