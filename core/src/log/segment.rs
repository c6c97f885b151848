//! A segment: one `.log` file and its indexes, as far as the log must know them.
//!
//! A sealed segment costs a few words, however large it is; the index entries of the one that is
//! written to are held in memory until they are written, and a while longer.

use alloc::vec::Vec;

use super::{
    FileName,
    index::{Entry as _, Looked, Tail, offset::OffsetEntry, time::TimeEntry, txn::AbortedTxn},
    read::Start,
};
use crate::{limits::TXN_INDEX_ENTRY_BYTES, time::Timestamp};

/// A segment of a log.
#[derive(Clone, Debug)]
pub struct Segment {
    pub(super) base: i64,
    /// Bytes of the log file, planned writes included.
    pub(super) size: u64,
    /// The largest timestamp and the last offset of the batch that has it; timestamp -1 if there is none.
    pub(super) largest: TimeEntry,
    /// The largest timestamp of the first batch.
    pub(super) first_timestamp: Option<i64>,
    /// When it was made, or found on opening.
    pub(super) created: Timestamp,
    /// Bytes of log since the last index entry.
    pub(super) since_index: u64,
    /// Its size when the producers were last written to a snapshot.
    pub(super) snapshot_size: u64,
    pub(super) offsets: Tail<OffsetEntry>,
    pub(super) times: Tail<TimeEntry>,
    /// Entries of the transaction index; `aborted` holds those of the active segment.
    pub(super) aborted_count: u64,
    pub(super) aborted: Vec<AbortedTxn>,
}

/// What an append changes of a segment, to be put back if it is undone.
#[derive(Clone, Debug)]
pub(super) struct SegmentMark {
    pub(super) base: i64,
    size: u64,
    largest: TimeEntry,
    first_timestamp: Option<i64>,
    since_index: u64,
    snapshot_size: u64,
    offsets: u64,
    times: u64,
    aborted: u64,
    pub(super) created: Timestamp,
}

impl Segment {
    pub(super) fn new(base: i64, created: Timestamp) -> Self {
        Self {
            base,
            size: 0,
            largest: TimeEntry {
                timestamp: -1,
                offset: base,
            },
            first_timestamp: None,
            created,
            since_index: 0,
            snapshot_size: 0,
            offsets: Tail::new(),
            times: Tail::new(),
            aborted_count: 0,
            aborted: Vec::new(),
        }
    }

    /// Its first offset, after which its files are named.
    #[must_use]
    pub fn base_offset(&self) -> i64 {
        self.base
    }

    /// Bytes of its log file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The largest timestamp of its records, or -1.
    #[must_use]
    pub fn largest_timestamp(&self) -> i64 {
        self.largest.timestamp
    }

    /// Whether it has a transaction index.
    #[must_use]
    pub fn has_txn_index(&self) -> bool {
        self.aborted_count > 0
    }

    /// All files it may have.
    #[must_use]
    pub fn files(&self) -> [FileName; 4] {
        [
            FileName::Log(self.base),
            FileName::OffsetIndex(self.base),
            FileName::TimeIndex(self.base),
            FileName::TxnIndex(self.base),
        ]
    }

    /// Where a scan for `offset` begins.
    pub(super) fn start_for(&self, offset: i64) -> Start {
        match self.offsets.lookup(offset) {
            Looked::Entry(entry) => Start::At(u64::from(entry.position)),
            Looked::None => Start::At(0),
            Looked::InFile { len } => Start::Lookup {
                index: FileName::OffsetIndex(self.base),
                len,
                base: self.base,
                offset,
            },
        }
    }

    pub(super) fn mark(&self) -> SegmentMark {
        SegmentMark {
            base: self.base,
            size: self.size,
            largest: self.largest,
            first_timestamp: self.first_timestamp,
            since_index: self.since_index,
            snapshot_size: self.snapshot_size,
            offsets: self.offsets.count(),
            times: self.times.count(),
            aborted: self.aborted_count,
            created: self.created,
        }
    }

    /// Puts back what `mark` remembers. Gives the lengths its files then have.
    pub(super) fn reset(&mut self, mark: &SegmentMark) -> [(FileName, u64); 4] {
        self.size = mark.size;
        self.largest = mark.largest;
        self.first_timestamp = mark.first_timestamp;
        self.since_index = mark.since_index;
        self.snapshot_size = mark.snapshot_size;
        self.offsets.undo_to(mark.offsets);
        self.times.undo_to(mark.times);
        let undone = self.aborted_count - mark.aborted;
        self.aborted
            .truncate(self.aborted.len().saturating_sub(undone as usize));
        self.aborted_count = mark.aborted;
        self.lengths()
    }

    /// The length of each of its files.
    pub(super) fn lengths(&self) -> [(FileName, u64); 4] {
        [
            (FileName::Log(self.base), self.size),
            (FileName::OffsetIndex(self.base), self.offsets.len()),
            (FileName::TimeIndex(self.base), self.times.len()),
            (
                FileName::TxnIndex(self.base),
                self.aborted_count * TXN_INDEX_ENTRY_BYTES as u64,
            ),
        ]
    }

    /// Adds a batch at the end, and the index entries it is due. Kafka's rules: an entry before the
    /// first batch that begins more than an interval behind the last entry; a time entry with it,
    /// if time has moved on.
    pub(super) fn push_batch(
        &mut self,
        last_offset: i64,
        max_timestamp: i64,
        size: u64,
        interval: u64,
    ) {
        if max_timestamp > self.largest.timestamp {
            self.largest = TimeEntry {
                timestamp: max_timestamp,
                offset: last_offset,
            };
        }
        if self.size == 0 {
            self.first_timestamp = Some(max_timestamp);
        }
        if self.since_index > interval {
            self.offsets.push(OffsetEntry {
                offset: last_offset,
                position: self.size as u32,
            });
            self.push_time_entry();
            self.since_index = 0;
        }
        self.size += size;
        self.since_index += size;
    }

    /// Passes over a batch at the end that the indexes have entries for already, if it was due any.
    pub(super) fn pass_batch(&mut self, last_offset: i64, max_timestamp: i64, size: u64) {
        self.note_timestamp(max_timestamp, last_offset);
        self.size += size;
        self.since_index += size;
    }

    /// Notes a batch's largest timestamp.
    pub(super) fn note_timestamp(&mut self, timestamp: i64, offset: i64) {
        if timestamp > self.largest.timestamp {
            self.largest = TimeEntry { timestamp, offset };
        }
    }

    /// Adds the largest timestamp to the time index, unless it is there.
    pub(super) fn push_time_entry(&mut self) -> bool {
        let newer = self.largest.timestamp > self.times.last().map_or(-1, |last| last.timestamp)
            && self
                .times
                .last()
                .is_none_or(|last| last.offset() < self.largest.offset);
        if newer {
            self.times.push(self.largest);
        }
        newer
    }

    pub(super) fn push_aborted(&mut self, entry: AbortedTxn) {
        self.aborted.push(entry);
        self.aborted_count += 1;
    }

    /// Entries of batches below `written` are in the files: forgets what need not be in memory.
    pub(super) fn shed(&mut self, written: i64, active: bool) {
        self.offsets.written(written, active);
        self.times.written(written, active);
        if !active
            && self
                .aborted
                .last()
                .is_none_or(|last| last.last_offset < written)
        {
            self.aborted = Vec::new();
        }
    }

    pub(super) fn encode_offsets_from(&self, count: u64) -> Vec<u8> {
        self.offsets
            .from(count)
            .flat_map(|entry| entry.encode(self.base))
            .collect()
    }

    pub(super) fn encode_times_from(&self, count: u64) -> Vec<u8> {
        self.times
            .from(count)
            .flat_map(|entry| entry.encode(self.base))
            .collect()
    }

    pub(super) fn encode_aborted_from(&self, count: u64) -> Vec<u8> {
        let new = self.aborted_count.saturating_sub(count) as usize;
        let first = self.aborted.len().saturating_sub(new);
        self.aborted[first..]
            .iter()
            .flat_map(|entry| entry.encode())
            .collect()
    }
}
