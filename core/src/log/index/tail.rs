//! The end of an index that is being written: the entries in memory, and how many lie before them
//! in the file only.

use alloc::collections::VecDeque;

use super::{offset::OffsetEntry, time::TimeEntry};
use crate::limits::{INDEX_TAIL_ENTRIES_MAX, OFFSET_INDEX_ENTRY_BYTES, TIME_INDEX_ENTRY_BYTES};

/// An entry that can be searched for.
pub(in crate::log) trait Entry: Copy {
    const SIZE: u64;
    /// What entries are sorted by.
    fn key(self) -> i64;
    /// The last offset of the batch it stands for.
    fn offset(self) -> i64;
}

impl Entry for OffsetEntry {
    const SIZE: u64 = OFFSET_INDEX_ENTRY_BYTES as u64;
    fn key(self) -> i64 {
        self.offset
    }
    fn offset(self) -> i64 {
        self.offset
    }
}

impl Entry for TimeEntry {
    const SIZE: u64 = TIME_INDEX_ENTRY_BYTES as u64;
    fn key(self) -> i64 {
        self.timestamp
    }
    fn offset(self) -> i64 {
        self.offset
    }
}

/// What a look-up gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Looked<E> {
    /// The largest entry at or below.
    Entry(E),
    /// There is none.
    None,
    /// It is among the first `len` bytes of the file.
    InFile { len: u64 },
}

#[derive(Clone, Debug, Default)]
pub(in crate::log) struct Tail<E> {
    /// Entries before `entries`, in the file only.
    in_file: u64,
    entries: VecDeque<E>,
    /// The last entry in the file, if `entries` is empty.
    last_in_file: Option<E>,
}

impl<E: Entry> Tail<E> {
    pub(in crate::log) const fn new() -> Self {
        Self {
            in_file: 0,
            entries: VecDeque::new(),
            last_in_file: None,
        }
    }

    /// An index of which `count` entries are in the file and none in memory.
    pub(in crate::log) const fn in_file(count: u64, last: Option<E>) -> Self {
        Self {
            in_file: count,
            entries: VecDeque::new(),
            last_in_file: last,
        }
    }

    pub(in crate::log) fn count(&self) -> u64 {
        self.in_file + self.entries.len() as u64
    }

    pub(in crate::log) fn len(&self) -> u64 {
        self.count() * E::SIZE
    }

    pub(in crate::log) fn last(&self) -> Option<E> {
        self.entries.back().copied().or(self.last_in_file)
    }

    pub(in crate::log) fn push(&mut self, entry: E) {
        self.entries.push_back(entry);
    }

    /// Takes back entries that were pushed since the index had `count`; they are still in memory.
    pub(in crate::log) fn undo_to(&mut self, count: u64) {
        self.entries
            .truncate(count.saturating_sub(self.in_file) as usize);
    }

    /// The entries since the index had `count`, which must be in memory.
    pub(in crate::log) fn from(&self, count: u64) -> impl Iterator<Item = E> + '_ {
        self.entries
            .iter()
            .skip(count.saturating_sub(self.in_file) as usize)
            .copied()
    }

    /// Whether entries that reach `offset` may be among those that are in the file only.
    pub(in crate::log) fn reaches_into_file(&self, offset: i64) -> bool {
        self.in_file > 0
            && self
                .entries
                .front()
                .is_none_or(|first| first.offset() >= offset)
    }

    /// The length of the part that is in the file only.
    pub(in crate::log) fn file_len(&self) -> u64 {
        self.in_file * E::SIZE
    }

    /// Drops entries that reach `offset`, all of which are in memory.
    pub(in crate::log) fn truncate(&mut self, offset: i64) {
        let kept = self
            .entries
            .partition_point(|entry| entry.offset() < offset);
        self.entries.truncate(kept);
    }

    pub(in crate::log) fn lookup(&self, key: i64) -> Looked<E> {
        match self
            .entries
            .partition_point(|entry| entry.key() <= key)
            .checked_sub(1)
        {
            Some(at) => Looked::Entry(self.entries[at]),
            None if self.in_file > 0 => Looked::InFile {
                len: self.in_file * E::SIZE,
            },
            None => Looked::None,
        }
    }

    /// All entries of batches below `upto` are in the file: forgets those that are not worth keeping
    /// (`keep`: the segment is still written to).
    pub(in crate::log) fn written(&mut self, upto: i64, keep: bool) {
        let most = if keep { INDEX_TAIL_ENTRIES_MAX } else { 0 };
        while self.entries.len() > most
            && self
                .entries
                .front()
                .is_some_and(|entry| entry.offset() < upto)
        {
            self.last_in_file = self.entries.pop_front();
            self.in_file += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: i64) -> OffsetEntry {
        OffsetEntry {
            offset,
            position: offset as u32 * 10,
        }
    }

    #[test]
    fn entries_leave_memory_when_written_and_are_then_in_the_file() {
        let mut tail = Tail::new();
        for offset in [3, 6, 9] {
            tail.push(entry(offset));
        }
        assert_eq!(tail.lookup(2), Looked::None);
        assert_eq!(tail.lookup(8), Looked::Entry(entry(6)));
        tail.written(7, true);
        assert_eq!(tail.lookup(8), Looked::Entry(entry(6)));
        tail.written(7, false);
        assert_eq!(tail.lookup(8), Looked::InFile { len: 16 });
        assert_eq!(tail.lookup(9), Looked::Entry(entry(9)));
        assert_eq!(
            (tail.count(), tail.len(), tail.last()),
            (3, 24, Some(entry(9)))
        );
        tail.undo_to(2);
        assert_eq!((tail.count(), tail.last()), (2, Some(entry(6))));
    }
}
