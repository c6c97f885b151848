//! Rolling: when a segment is sealed and the next one begun, and what that takes.
//!
//! The order matters for a crash: the sealed segment is durable before the next one's name is, so only the last
//! segment can have a torn end; the producers as they stood are in a snapshot named for the new
//! segment, so recovery of that segment needs nothing older.

use alloc::vec::Vec;

use super::{Effect, FileName, Log, Segment, snapshot};
use crate::{limits, marks, time::Timestamp};

/// Makes the files of a new segment. Its transaction index is made when it is first written.
pub(super) fn create_files(segment: &Segment) -> [Effect; 3] {
    [
        Effect::Create(FileName::Log(segment.base)),
        Effect::Create(FileName::OffsetIndex(segment.base)),
        Effect::Create(FileName::TimeIndex(segment.base)),
    ]
}

impl Log {
    /// Whether a batch must go to a new segment.
    pub(super) fn roll_is_due(
        &self,
        now: Timestamp,
        base: i64,
        last: i64,
        timestamp: i64,
        size: u64,
    ) -> bool {
        let segment = self.active();
        let too_far = last - segment.base > limits::SEGMENT_OFFSETS_MAX;
        if segment.size == 0 {
            // Nothing to seal; only its name can be wrong, after a jump of a follower's offsets.
            return too_far && base > segment.base;
        }
        let full = segment.size + size > self.config.segment_bytes_max();
        let index_full = segment.offsets.count() >= self.config.offset_index_entries_max()
            || segment.times.count() >= self.config.time_index_entries_max();
        let too_old = self.waited_for_roll(now, timestamp) > self.segment_ms();
        for (is_due, mark) in [
            (full, &marks::SEGMENT_FULL),
            (index_full, &marks::INDEX_FULL),
            (too_old, &marks::SEGMENT_TOO_OLD),
        ] {
            if is_due {
                mark.reach();
            }
        }
        too_far || full || index_full || too_old
    }

    /// How long the active segment has waited: by its records' time if they have one.
    fn waited_for_roll(&self, now: Timestamp, timestamp: i64) -> i64 {
        let segment = self.active();
        match segment.first_timestamp {
            Some(first) if first >= 0 => timestamp.saturating_sub(first),
            _ => now.0.saturating_sub(segment.created.0),
        }
    }

    /// `segment.ms` less this segment's jitter.
    fn segment_ms(&self) -> i64 {
        let whole = i64::try_from(self.config.segment_ms.as_millis()).unwrap_or(i64::MAX);
        let jitter = u64::try_from(self.config.segment_jitter_ms.as_millis()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return whole;
        }
        let drawn =
            mix(self.seed ^ self.active().base.cast_unsigned()) % jitter.min(i64::MAX as u64);
        whole.saturating_sub(drawn.cast_signed().min(whole))
    }

    /// Seals the active segment and begins one at `base`. Says whether that made a snapshot.
    pub(super) fn roll(&mut self, now: Timestamp, base: i64, out: &mut Vec<Effect>) -> bool {
        let old = self.active_mut();
        let old_base = old.base;
        if old.size == 0 {
            let files = old.files().to_vec();
            self.segments.pop_back();
            out.push(Effect::Delete(files));
        } else {
            self.finish_time_index(out);
            self.sealed_bytes += self.active().size;
            out.extend(sync_segment(self.active()));
        }
        let segment = Segment::new(base, now);
        out.extend(create_files(&segment));
        // One that is there (from a clean stop at this offset) says the same.
        let made = old_base != base && !self.snapshots.contains(&base);
        if made {
            self.push_snapshot(base, out);
        }
        out.push(Effect::SyncDir);
        self.segments.push_back(segment);
        made
    }

    /// Whether enough was written since the producers were last written to a snapshot.
    pub(super) fn snapshot_is_due(&self) -> bool {
        let segment = self.active();
        segment.size - segment.snapshot_size >= self.config.snapshot_interval_bytes.max(1)
    }

    /// Writes a snapshot at the log's end, within the active segment. The indexes are made durable before it,
    /// so that recovery may rely on them up to there. Says where, if it was not there already.
    pub(super) fn snapshot_within_segment(&mut self, out: &mut Vec<Effect>) -> Option<i64> {
        let (offset, segment) = (self.log_end, self.active_mut());
        segment.snapshot_size = segment.size;
        if self.snapshots.contains(&offset) {
            return None;
        }
        // The log itself is synced by those who wait for it.
        out.extend(sync_segment(self.active()).skip(1));
        self.push_snapshot(offset, out);
        out.push(Effect::SyncDir);
        Some(offset)
    }

    /// Adds the largest timestamp to the active segment's time index.
    pub(super) fn finish_time_index(&mut self, out: &mut Vec<Effect>) {
        let segment = self.active_mut();
        let (count, at) = (segment.times.count(), segment.times.len());
        if segment.push_time_entry() {
            let pieces = alloc::vec![segment.encode_times_from(count).into()];
            out.push(Effect::Write {
                file: FileName::TimeIndex(segment.base),
                at,
                pieces,
            });
        }
    }

    /// Writes the producers, as they stand before `offset`, to a snapshot, durably.
    pub(super) fn push_snapshot(&mut self, offset: i64, out: &mut Vec<Effect>) {
        let file = FileName::ProducerSnapshot(offset);
        let contents = snapshot::format(self.producers.iter());
        out.extend([
            Effect::Create(file),
            Effect::Write {
                file,
                at: 0,
                pieces: alloc::vec![contents],
            },
            Effect::Sync(file),
        ]);
        self.snapshots.insert(offset);
    }
}

/// Makes a segment's files durable.
pub(super) fn sync_segment(segment: &Segment) -> impl Iterator<Item = Effect> {
    let kept = if segment.has_txn_index() { 4 } else { 3 };
    segment.files().into_iter().take(kept).map(Effect::Sync)
}

/// SplitMix64's finisher: spreads a counter.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
