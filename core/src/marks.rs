//! Marks: places in the code that an honest fuzz must reach sometimes.
//!
//! A fuzz that never cuts a torn tail says nothing about the cutting of torn tails. So such places
//! are counted in the simulator, and a fuzz of many seeds fails if one of them was never reached
//! (FoundationDB's `TEST` macro and TigerBeetle's coverage marks are the models). In a production
//! build [`Mark::reach`] is empty.

#[cfg(madsim)]
use core::sync::atomic::{AtomicU32, Ordering};

/// A place that a fuzz must reach sometimes.
#[derive(Debug)]
pub struct Mark {
    /// Its name.
    pub name: &'static str,
    /// What happens there.
    pub says: &'static str,
    #[cfg(madsim)]
    count: AtomicU32,
}

impl Mark {
    const fn new(name: &'static str, says: &'static str) -> Self {
        Self {
            name,
            says,
            #[cfg(madsim)]
            count: AtomicU32::new(0),
        }
    }

    /// Counts that the place was reached.
    #[inline]
    pub fn reach(&self) {
        #[cfg(madsim)]
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the place was reached by this process.
    #[cfg(madsim)]
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

macro_rules! marks {
    ($($name:ident: $says:literal,)*) => {
        $(
            #[doc = $says]
            pub static $name: Mark = Mark::new(stringify!($name), $says);
        )*

        /// All marks, in the order of the part of the code that they are in.
        pub static ALL: &[&Mark] = &[$(&$name),*];
    };
}

marks! {
    WRITTEN_AGAIN: "recovery writes once more what no sync is known to have covered",
    TORN_TAIL_CUT: "recovery cuts a torn end off a log",
    TORN_BASE_OFFSET_CUT: "recovery cuts a batch of which the base offset alone was torn",
    INDEX_REBUILT: "recovery builds a segment's indexes anew",
    RECOVERY_ANCHORED: "recovery begins within a segment, at a snapshot below the recovery point",
    PRODUCER_SNAPSHOT_BROKEN: "recovery passes over a snapshot of producers that is torn",
    DUPLICATE_RECOGNISED: "a producer's batch is recognised as one that was written",
    DUPLICATE_AFTER_RESTART: "the batch that a producer repeats was written before the broker's last start",
    SEQUENCE_GAP_REFUSED: "a producer's batch does not follow its last one",
    SEGMENT_FULL: "a segment is sealed since a batch no longer fits",
    INDEX_FULL: "a segment is sealed since an index is full",
    SEGMENT_TOO_OLD: "a segment is sealed since its time has come",
    SEGMENT_DELETED_BY_TIME: "a segment goes since its records are too old",
    SEGMENT_DELETED_BY_SIZE: "a segment goes since the log is too large",
    SEGMENT_DELETED_BELOW_START: "a segment goes since it lies below the log's start",
    ACTIVE_SEGMENT_TOO_OLD: "the active segment is sealed since it is to go",
    LOG_START_WITHIN_BATCH: "records are deleted up to an offset in the middle of a segment",
    READ_BELOW_LOG_START: "a reader asks for what was deleted",
    WRITE_TAKEN_BACK: "an append is taken back since the disk is full",
    PARTITION_LOST: "a partition goes offline after a failed write or sync",
    SYNC_SHARED: "a sync covers several appends that wait for it",
    FETCH_SESSION_RESUMED: "an incremental fetch continues its session",
    FETCH_SESSION_UNKNOWN: "a fetch names a session that is not there any more",
    FETCH_SESSION_EVICTED: "a fetch session yields to another",
    FETCH_SESSION_REFUSED: "there is no room for a fetch session",
    GROUP_SESSION_EXPIRED: "a member's session expires",
    GROUP_SESSION_EXPIRED_IN_REBALANCE: "a member's session expires while its group rebalances",
    GROUP_MEMBER_LEFT_BEHIND: "a rebalance ends without a member that did not join in time",
    GROUP_COMMIT_FENCED: "a commit of an earlier generation is refused",
    METADATA_TAKEN_BACK: "changes of the metadata are taken back since they cannot be written",
    METADATA_SNAPSHOT_MADE: "a snapshot of the metadata is made",
    CONNECTION_IDLE: "a connection is closed since nothing was heard of it",
    CONNECTION_STALLED: "a connection is closed since it stopped in the middle of a request",
    FRAME_REFUSED: "a connection is closed since what came is no frame",
    REQUEST_REFUSED: "a connection is closed since its request cannot be read",
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mark_has_a_name_and_a_sentence_of_its_own() {
        let names: BTreeSet<_> = ALL.iter().map(|mark| mark.name).collect();
        let sentences: BTreeSet<_> = ALL.iter().map(|mark| mark.says).collect();
        assert_eq!((names.len(), sentences.len()), (ALL.len(), ALL.len()));
    }
}
