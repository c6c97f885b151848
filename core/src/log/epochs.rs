//! Which leader epoch began at which offset (KIP-101, KIP-279).
//!
//! A follower compares these with its leader's to find where their logs part; a consumer to see
//! whether what it read is still there. Entries rise strictly in both epoch and start offset. The
//! list is kept in the file `leader-epoch-checkpoint`; losing the file's last entries is harmless,
//! because each batch carries its epoch and recovery assigns them again, and entries past the log's
//! end are cut when the log is opened.

use alloc::vec::Vec;

/// One epoch and where it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader epoch.
    pub epoch: i32,
    /// The offset of its first record.
    pub start_offset: i64,
}

/// The end of what was written under an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOffset {
    /// The largest known epoch that is not above the one asked for (the one asked for itself if it is below all).
    pub epoch: i32,
    /// Where it ends: the start of the next one, or the log's end.
    pub end_offset: i64,
}

/// The epochs of a log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// Takes entries as read from a file; those that do not rise are dropped as an assignment in
    /// the file's order would have dropped them.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = EpochEntry>) -> Self {
        let mut epochs = Self::default();
        for entry in entries {
            epochs.assign(entry);
        }
        epochs
    }

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// Notes that `entry.epoch` begins at `entry.start_offset`; removes entries that this belies
    /// (a larger or equal epoch or offset). Says whether anything changed.
    pub fn assign(&mut self, entry: EpochEntry) -> bool {
        if !self.would_change(entry) {
            return false;
        }
        while self.latest().is_some_and(|last| {
            last.epoch >= entry.epoch || last.start_offset >= entry.start_offset
        }) {
            self.entries.pop();
        }
        self.entries.push(entry);
        true
    }

    /// Whether [`Self::assign`] would change anything.
    #[must_use]
    pub fn would_change(&self, entry: EpochEntry) -> bool {
        let known =
            |last: EpochEntry| last.epoch == entry.epoch && last.start_offset <= entry.start_offset;
        entry.epoch >= 0 && entry.start_offset >= 0 && !self.latest().is_some_and(known)
    }

    /// Where the records of `epoch` end (`OffsetsForLeaderEpoch`); none if it is newer than any known.
    #[must_use]
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<EndOffset> {
        if self.latest()?.epoch == epoch {
            return Some(EndOffset {
                epoch,
                end_offset: log_end,
            });
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end_offset = self.entries.get(above)?.start_offset;
        let floor = above
            .checked_sub(1)
            .map_or(epoch, |at| self.entries[at].epoch);
        Some(EndOffset {
            epoch: floor,
            end_offset,
        })
    }

    /// The epoch of the record at `offset`, if it is known.
    #[must_use]
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries[after.checked_sub(1)?].epoch)
    }

    /// Drops epochs that begin at or after `end_offset`. Says whether any did.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let kept = self
            .entries
            .partition_point(|entry| entry.start_offset < end_offset);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Drops epochs that ended at or before `start_offset`; the one that holds it then begins there.
    /// Says whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let below = self
            .entries
            .partition_point(|entry| entry.start_offset <= start_offset);
        let Some(holder) = below.checked_sub(1) else {
            return false;
        };
        if holder == 0 && self.entries[0].start_offset == start_offset {
            return false;
        }
        self.entries.drain(..holder);
        self.entries[0].start_offset = start_offset;
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn entry(epoch: i32, start_offset: i64) -> EpochEntry {
        EpochEntry {
            epoch,
            start_offset,
        }
    }

    fn sample() -> LeaderEpochs {
        LeaderEpochs::new([entry(2, 5), entry(4, 10), entry(7, 30)])
    }

    #[test]
    fn assigning_a_known_epoch_again_changes_nothing() {
        let mut epochs = sample();
        assert!(!epochs.assign(entry(7, 31)));
        assert!(!epochs.assign(entry(7, 30)));
        assert_eq!(epochs, sample());
    }

    #[test]
    fn assigning_removes_what_it_belies() {
        let mut epochs = sample();
        assert!(epochs.assign(entry(8, 10)));
        assert_eq!(epochs.entries(), [entry(2, 5), entry(8, 10)]);
        assert!(epochs.assign(entry(3, 40)));
        assert_eq!(epochs.entries(), [entry(2, 5), entry(3, 40)]);
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let epochs = sample();
        assert_eq!(
            epochs.end_offset_for(7, 50),
            Some(EndOffset {
                epoch: 7,
                end_offset: 50
            })
        );
        assert_eq!(
            epochs.end_offset_for(5, 50),
            Some(EndOffset {
                epoch: 4,
                end_offset: 30
            })
        );
        assert_eq!(
            epochs.end_offset_for(2, 50),
            Some(EndOffset {
                epoch: 2,
                end_offset: 10
            })
        );
        assert_eq!(
            epochs.end_offset_for(1, 50),
            Some(EndOffset {
                epoch: 1,
                end_offset: 5
            })
        );
        assert_eq!(epochs.end_offset_for(8, 50), None);
        assert_eq!(LeaderEpochs::default().end_offset_for(0, 50), None);
    }

    #[test]
    fn offsets_have_the_epoch_that_began_last_before_them() {
        let epochs = sample();
        for (offset, epoch) in [
            (4, None),
            (5, Some(2)),
            (9, Some(2)),
            (10, Some(4)),
            (99, Some(7)),
        ] {
            assert_eq!(epochs.epoch_for_offset(offset), epoch, "{offset}");
        }
    }

    #[test]
    fn truncating_keeps_the_epoch_that_holds_the_new_edge() {
        let mut epochs = sample();
        assert!(epochs.truncate_from_end(30));
        assert!(!epochs.truncate_from_end(30));
        assert_eq!(epochs.entries(), [entry(2, 5), entry(4, 10)]);
        assert!(epochs.truncate_from_start(12));
        assert!(!epochs.truncate_from_start(12));
        assert_eq!(epochs.entries(), vec![entry(4, 12)]);
        let mut epochs = sample();
        assert!(!epochs.truncate_from_start(3));
        assert!(!epochs.truncate_from_start(5));
        assert!(epochs.truncate_from_start(100));
        assert_eq!(epochs.entries(), [entry(7, 100)]);
    }
}
