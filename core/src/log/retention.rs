//! Letting go of old records, and stopping cleanly.
//!
//! Whole segments go, oldest first, and only what lies below the high watermark: retention never takes what
//! is not replicated. The producers forget their batches on their own time, not with the segments.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{Effect, FileName, Log, append::Undo, roll};
use crate::{marks, time::Timestamp};

/// Why the log's start cannot be moved there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogStartError {
    /// `OFFSET_OUT_OF_RANGE`: it lies above the high watermark.
    #[error("offset {got} lies above the high watermark {high_watermark}")]
    AboveHighWatermark {
        /// The offset asked for.
        got: i64,
        /// The high watermark.
        high_watermark: i64,
    },
}

/// What retention did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retained {
    /// How many segments go.
    pub segments: usize,
    /// How many bytes of log go.
    pub bytes: u64,
    /// Whether the active segment was sealed, because it is to go too.
    pub rolled: bool,
}

impl Log {
    /// Lets go of segments that are past `retention.ms` or `retention.bytes`, or lie below the log's start,
    /// and do not reach above `high_watermark`. Moves the log's start; the driver checkpoints it.
    ///
    /// The active segment is sealed if its time has come. That takes room on the disk, so it is done and
    /// undone as an append is ([`Log::written`]); the segment goes with the call after that.
    pub fn retain(
        &mut self,
        now: Timestamp,
        high_watermark: i64,
        out: &mut Vec<Effect>,
    ) -> Retained {
        // An append that may yet be undone must find its segment again.
        let held = self.undo.front().map_or(i64::MAX, |undo| undo.active.base);
        let mut excess = self.excess_bytes();
        let mut count = 0;
        let mut bytes = 0;
        let mut rolled = false;
        for (at, segment) in self.segments.iter().enumerate() {
            let end = self
                .segments
                .get(at + 1)
                .map_or(self.log_end, |next| next.base);
            let last = at + 1 == self.segments.len();
            let below_start = end <= self.log_start && !last;
            let oversize = excess.is_some_and(|excess| excess >= segment.size);
            let too_old = self.is_too_old(now, segment.largest.timestamp);
            let gone = below_start || too_old || oversize;
            if !gone || end > high_watermark || segment.base >= held || segment.size == 0 {
                break;
            }
            if last {
                // There is always an active segment.
                marks::ACTIVE_SEGMENT_TOO_OLD.reach();
                rolled = true;
                break;
            }
            match (below_start, too_old) {
                (true, _) => marks::SEGMENT_DELETED_BELOW_START.reach(),
                (_, true) => marks::SEGMENT_DELETED_BY_TIME.reach(),
                _ => marks::SEGMENT_DELETED_BY_SIZE.reach(),
            }
            // Whatever it goes for, the log is smaller without it.
            excess = excess.and_then(|excess| excess.checked_sub(segment.size));
            count += 1;
            bytes += segment.size;
        }
        self.delete_oldest(count, out);
        self.delete_snapshots_within_sealed(out);
        if rolled {
            self.seal_active(now, out);
        }
        Retained {
            segments: count,
            bytes,
            rolled,
        }
    }

    /// Begins a segment at the log's end, in such a way that it can be taken back.
    fn seal_active(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let (end, active) = (self.log_end, self.active().mark());
        let made = self.roll(now, end, out);
        self.undo
            .push_back(Undo::of_roll(end, active, made.then_some(end)));
    }

    /// Makes `offset` the first that can be read (`DeleteRecords`, or a leader's log start); does nothing if it
    /// is not higher than it is. Segments below it go with the next [`Log::retain`].
    ///
    /// # Errors
    /// If it lies above the high watermark.
    pub fn advance_log_start(
        &mut self,
        offset: i64,
        high_watermark: i64,
        out: &mut Vec<Effect>,
    ) -> Result<bool, LogStartError> {
        if offset > high_watermark {
            return Err(LogStartError::AboveHighWatermark {
                got: offset,
                high_watermark,
            });
        }
        if offset <= self.log_start {
            return Ok(false);
        }
        if self.segments.iter().all(|segment| segment.base != offset) {
            marks::LOG_START_WITHIN_BATCH.reach();
        }
        self.log_start = offset;
        self.producers.on_high_watermark(offset);
        if self.epochs.truncate_from_start(offset) {
            out.push(self.epochs_effect());
        }
        Ok(true)
    }

    /// Forgets producers that have been idle for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now: Timestamp) {
        self.producers
            .expire(now, self.config.producer_id_expiration);
    }

    /// Makes the log ready for a clean stop: everything durable, indexes complete, and a snapshot of
    /// the producers at the log's end, so that it opens without reading any record. To be called when
    /// everything is written; appends after it are allowed, the log is then merely not clean.
    pub fn close(&mut self, out: &mut Vec<Effect>) {
        if self.active().size > 0 {
            self.finish_time_index(out);
        }
        out.extend(roll::sync_segment(self.active()));
        if !self.snapshots.contains(&self.log_end) {
            self.push_snapshot(self.log_end, out);
        }
        out.push(Effect::SyncDir);
    }

    fn is_too_old(&self, now: Timestamp, largest: i64) -> bool {
        let retention = self.config.retention_ms.filter(|_| self.config.delete);
        // A segment without any timestamp is never too old: nothing says so.
        retention.is_some_and(|retention| {
            largest >= 0
                && i128::from(now.0) - i128::from(largest) > retention.as_millis().cast_signed()
        })
    }

    /// Bytes above `retention.bytes`.
    fn excess_bytes(&self) -> Option<u64> {
        let kept = self.config.retention_bytes.filter(|_| self.config.delete)?;
        self.size().checked_sub(kept)
    }

    /// Lets go of snapshots within segments that were sealed before the last sealed one: recovery
    /// seldom begins there, and can do without.
    fn delete_snapshots_within_sealed(&mut self, out: &mut Vec<Effect>) {
        let before = self.segments.len().saturating_sub(2);
        let bases: BTreeSet<i64> = self.segments.iter().map(|segment| segment.base).collect();
        let Some(below) = self.segments.get(before).map(|segment| segment.base) else {
            return;
        };
        let within = |offset: &i64| *offset < below && !bases.contains(offset);
        let gone: Vec<i64> = self.snapshots.iter().copied().filter(within).collect();
        if !gone.is_empty() {
            self.snapshots.retain(|offset| !gone.contains(offset));
            let files = gone.into_iter().map(FileName::ProducerSnapshot);
            out.push(Effect::Delete(files.collect()));
        }
    }

    fn delete_oldest(&mut self, count: usize, out: &mut Vec<Effect>) {
        if count == 0 {
            return;
        }
        let mut files = Vec::new();
        for segment in self.segments.drain(..count) {
            self.sealed_bytes -= segment.size;
            files.extend(segment.files());
        }
        let first = self
            .segments
            .front()
            .map_or(self.log_end, |segment| segment.base);
        // A snapshot below the first segment is of no use to recovery.
        let kept = self.snapshots.split_off(&first);
        files.extend(
            core::mem::replace(&mut self.snapshots, kept)
                .into_iter()
                .map(FileName::ProducerSnapshot),
        );
        out.extend([Effect::Delete(files), Effect::SyncDir]);
        self.log_start = self.log_start.max(first);
        if self.epochs.truncate_from_start(self.log_start) {
            out.push(self.epochs_effect());
        }
    }
}
