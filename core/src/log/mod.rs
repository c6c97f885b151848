//! A partition's log: segments of record batches, their indexes, and what is known of its leaders
//! and producers.
//!
//! [`Log`] decides and remembers; it neither reads nor writes. Its methods push [`Effect`]s, which a
//! driver performs in order, and give plans ([`ReadPlan`], [`TimePlan`]) that say where to read;
//! bytes that were read are judged by pure functions ([`read`], [`index`], [`find`]). Opening a
//! directory ([`Recovery`]) and cutting a log ([`Log::truncate_to`]) need to read before they decide: they are
//! small machines of their own that ask for reads one at a time.
//!
//! Files and formats are Kafka's (KIP-98, KIP-101, `DefaultRecordBatch`, `OffsetIndex`, `TimeIndex`,
//! `TransactionIndex`, `ProducerStateManager`): its tools read what is written here, and it starts on
//! our directories as we do on its.

mod append;
pub mod checkpoint;
mod config;
mod effect;
pub mod epochs;
mod files;
pub mod find;
pub mod index;
mod producers;
pub mod read;
mod recovery;
mod retention;
mod roll;
mod scan;
mod segment;
pub mod snapshot;
mod truncation;

use alloc::{
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};

pub use append::{Append, AppendError, Appended};
pub use config::{LogConfig, TimestampType};
pub use effect::Effect;
pub use files::{FileName, Mark};
pub use find::{TimeAnswer, TimePlan, TimeTarget};
pub use producers::{CompletedTxn, KeptBatch, ProducerEntry, ProducerError, Producers};
pub use read::{AbortedPlan, OffsetOutOfRange, ReadPlan, Start};
pub use recovery::{Cut, Listed, Recovered, Recovery, RecoveryError, RecoveryInput, Step};
pub use retention::{LogStartError, Retained};
pub use scan::Request;
pub use segment::Segment;
pub use truncation::{Truncation, TruncationStep};

use self::{
    append::Undo,
    epochs::{EpochEntry, LeaderEpochs},
    read::RecentBatch,
};
use crate::time::Timestamp;

/// A partition's log.
///
/// Call contract. Every method that takes `out` pushes effects that the driver performs in the order
/// pushed, over all calls. When those of an append have been performed, the driver says so with
/// [`Log::written`]; when one failed it stops, calls [`Log::undo_unwritten`], and goes on with what that
/// pushed. Reads may be planned at any time, but only below an offset that was reported written.
/// [`Log::truncate_to`] and [`Log::close`] want everything written ([`Log::is_written`]). After a failed sync the
/// log is dropped and opened anew.
#[derive(Debug)]
pub struct Log {
    config: LogConfig,
    /// Never empty; the last is the active one. Rising base offsets.
    segments: VecDeque<Segment>,
    log_start: i64,
    log_end: i64,
    written: i64,
    epochs: LeaderEpochs,
    producers: Producers,
    /// Offsets of the producer snapshot files that exist.
    snapshots: BTreeSet<i64>,
    undo: VecDeque<Undo>,
    recent: VecDeque<RecentBatch>,
    /// Where the log ended when it was opened.
    opened_at: i64,
    /// Drawn from for `segment.jitter.ms`.
    seed: u64,
    /// Bytes of all segments but the active one.
    sealed_bytes: u64,
}

impl Log {
    /// A new, empty log whose first record will have offset `start`. `seed` is for `segment.jitter.ms`.
    pub fn create(
        config: LogConfig,
        start: i64,
        now: Timestamp,
        seed: u64,
        out: &mut Vec<Effect>,
    ) -> Self {
        let segment = Segment::new(start, now);
        out.extend(roll::create_files(&segment));
        out.push(Effect::SyncDir);
        Self {
            config,
            segments: VecDeque::from([segment]),
            log_start: start,
            log_end: start,
            written: start,
            epochs: LeaderEpochs::default(),
            producers: Producers::default(),
            snapshots: BTreeSet::new(),
            undo: VecDeque::new(),
            recent: VecDeque::new(),
            opened_at: start,
            seed,
            sealed_bytes: 0,
        }
    }

    /// The offset the next record gets.
    #[must_use]
    pub fn log_end(&self) -> i64 {
        self.log_end
    }

    /// The first offset that can be read.
    #[must_use]
    pub fn log_start(&self) -> i64 {
        self.log_start
    }

    /// Up to where (exclusive) appends have been reported written.
    #[must_use]
    pub fn written_end(&self) -> i64 {
        self.written
    }

    /// Whether all appends have been reported written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.undo.is_empty()
    }

    /// Bytes of all its segments.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.sealed_bytes + self.active().size
    }

    /// Its segments, oldest first; the last is the active one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.segments.iter()
    }

    /// The file that appends go to: the one to sync for what was just appended.
    #[must_use]
    pub fn active_file(&self) -> FileName {
        FileName::Log(self.active().base)
    }

    /// The first offset of the segment that appends go to.
    #[must_use]
    pub fn active_base(&self) -> i64 {
        self.active().base
    }

    /// The leader epochs.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The producers.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The configuration it works by.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Works by another configuration from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The end of what readers of committed records may see, below `high_watermark` (KIP-98).
    #[must_use]
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        self.producers
            .first_unstable_offset()
            .map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Notes the high watermark, which makes ended transactions below it stable.
    pub fn on_high_watermark(&mut self, high_watermark: i64) {
        self.producers.on_high_watermark(high_watermark);
    }

    /// Notes that `epoch` begins at the log's end, before anything is written under it: for a new leader.
    pub fn assign_epoch(&mut self, epoch: i32, out: &mut Vec<Effect>) {
        if self.epochs.assign(EpochEntry {
            epoch,
            start_offset: self.log_end,
        }) {
            out.push(self.epochs_effect());
        }
    }

    /// Writes the leader epochs down.
    pub(crate) fn epochs_effect(&self) -> Effect {
        Effect::Replace {
            file: FileName::LeaderEpochCheckpoint,
            contents: checkpoint::format_epochs(self.epochs.entries()),
        }
    }

    fn active(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    fn active_mut(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// The place of the segment that holds `offset`, or would.
    fn segment_at(&self, offset: i64) -> usize {
        self.segments
            .partition_point(|segment| segment.base <= offset)
            .saturating_sub(1)
    }
}

#[cfg(test)]
mod tests;
