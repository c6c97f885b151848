//! Appending: offsets and epochs are assigned, producers checked, segments rolled.
//!
//! A leader stamps the base offset and its epoch into the sixteen bytes before a batch's checksum; the
//! payload is passed on as a slice of what arrived. Only a topic with log append time makes it
//! read the payload, for a new checksum. Until an append is reported written, what it changed
//! is remembered, so that a failed write is undone without a trace.

use alloc::vec::Vec;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    Effect, FileName, Log, ProducerError, Segment, TimestampType,
    epochs::{EpochEntry, LeaderEpochs},
    producers::ProducerUndo,
    read::RecentBatch,
    roll,
    segment::SegmentMark,
};
use crate::{
    batch::{self, BatchHeader, Batches, EndTxnMarker, Origin},
    limits,
    log::{index::txn::AbortedTxn, producers::CompletedTxn},
    marks,
    time::Timestamp,
};

/// As what batches are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// As the leader of `epoch`: offsets are assigned.
    Leader {
        /// The leader's epoch.
        epoch: i32,
    },
    /// As a follower: the batches have their offsets and epochs.
    Follower,
}

/// An append that was taken, or that repeats an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: i64,
    /// The offset of the last record.
    pub last_offset: i64,
    /// The time stamped on the records, or [`Timestamp::NONE`] if they keep their own.
    pub log_append_time: Timestamp,
    /// The log's start when it was taken.
    pub log_start: i64,
    /// Whether it repeats an append that an idempotent producer made before: nothing is written.
    pub duplicate: bool,
}

/// Why an append is refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// What the producer may not do.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// `INVALID_TIMESTAMP`: too far from the broker's clock.
    #[error("timestamp {got} is not between {earliest} and {latest}")]
    InvalidTimestamp {
        /// The batch's first or largest.
        got: i64,
        /// The earliest allowed now.
        earliest: i64,
        /// The latest allowed now.
        latest: i64,
    },
    /// `RECORD_LIST_TOO_LARGE`: larger than a segment.
    #[error("a batch of {got} bytes does not fit into a segment of {max}")]
    TooLarge {
        /// Its size.
        got: u64,
        /// `segment.bytes`.
        max: u64,
    },
    /// What a leader sent does not follow the log: the follower must truncate or start anew.
    #[error("a batch begins at offset {got}, the log ends at {log_end}")]
    OffsetNotRising {
        /// The log's end.
        log_end: i64,
        /// The batch's first offset.
        got: i64,
    },
    /// The batch's last offset would pass the largest there is.
    #[error("no offsets are left behind {log_end}")]
    OffsetsExhausted {
        /// The log's end.
        log_end: i64,
    },
}

/// What an append changed.
#[derive(Debug)]
pub(super) struct Undo {
    /// The log's end before and after it.
    before: i64,
    pub(super) after: i64,
    pub(super) active: SegmentMark,
    producers: Vec<ProducerUndo>,
    epochs: Option<LeaderEpochs>,
    /// Producer snapshots that were made, by rolling or within the segment.
    snapshots: Vec<i64>,
}

impl Undo {
    /// What sealing the active segment by itself changed.
    pub(super) fn of_roll(log_end: i64, active: SegmentMark, snapshot: Option<i64>) -> Self {
        Self {
            before: log_end,
            after: log_end,
            active,
            producers: Vec::new(),
            epochs: None,
            snapshots: snapshot.into_iter().collect(),
        }
    }
}

/// One batch with its place.
struct Placed {
    header: BatchHeader,
    bytes: Bytes,
    base: i64,
    last: i64,
    epoch: i32,
    timestamp: i64,
}

impl Log {
    /// Appends batches at the log's end, all or none. The effects are pushed to `out`; once they are
    /// performed, [`Log::written`] is to be called with [`Appended::last_offset`] + 1 or more.
    ///
    /// # Errors
    /// If the batches may not be appended. Nothing has changed and nothing was pushed.
    pub fn append(
        &mut self,
        now: Timestamp,
        batches: &Batches,
        how: Append,
        out: &mut Vec<Effect>,
    ) -> Result<Appended, AppendError> {
        let origin = batches.origin();
        if origin == Origin::Client
            && let Some(repeat) = batches
                .iter()
                .find_map(|(header, _)| self.producers.duplicate(&header))
        {
            marks::DUPLICATE_RECOGNISED.reach();
            if repeat.last_offset < self.opened_at {
                marks::DUPLICATE_AFTER_RESTART.reach();
            }
            return Ok(Appended {
                base_offset: repeat.first_offset(),
                last_offset: repeat.last_offset,
                log_append_time: self.stamped_time(Timestamp(repeat.timestamp), how),
                log_start: self.log_start,
                duplicate: true,
            });
        }
        let placed = self.place(now, batches, how)?;
        let undo_len = out.len();
        self.undo.push_back(Undo {
            before: self.log_end,
            after: placed.last().map_or(self.log_end, |batch| batch.last + 1),
            active: self.active().mark(),
            producers: Vec::new(),
            epochs: None,
            snapshots: Vec::new(),
        });
        if let Err(error) = self.write(now, &placed, how, origin, out) {
            // What was pushed is not performed, so what would make up for it is not wanted either.
            if let Some(undo) = self.undo.pop_back() {
                self.take_back(undo, out);
            }
            out.truncate(undo_len);
            return Err(error.into());
        }
        Ok(Appended {
            base_offset: placed.first().map_or(self.log_end, |batch| batch.base),
            last_offset: self.log_end - 1,
            log_append_time: self.stamped_time(now, how),
            log_start: self.log_start,
            duplicate: false,
        })
    }

    /// All effects of appends that end at or before `upto` have been performed.
    pub fn written(&mut self, upto: i64) {
        while self.undo.front().is_some_and(|undo| undo.after <= upto) {
            self.undo.pop_front();
        }
        let before = self.written;
        self.written = before.max(upto.min(self.log_end));
        let mut active = true;
        for segment in self.segments.iter_mut().rev() {
            segment.shed(self.written, active);
            active = false;
            if segment.base < before {
                // Those before it had ended by then, and were shed.
                break;
            }
        }
    }

    /// Takes back all appends that were not reported written, newest first, and pushes what makes the
    /// files agree. For a failed write: the log is then as if they had never been asked for.
    pub fn undo_unwritten(&mut self, out: &mut Vec<Effect>) {
        if self.undo.is_empty() {
            return;
        }
        let epochs_changed = self.undo.iter().any(|undo| undo.epochs.is_some());
        while let Some(undo) = self.undo.pop_back() {
            self.take_back(undo, out);
        }
        out.extend(
            self.active()
                .lengths()
                .map(|(file, len)| Effect::Truncate { file, len }),
        );
        // A roll may have synced what is taken back: without this a power loss would bring it back.
        out.extend(roll::sync_segment(self.active()));
        out.push(Effect::SyncDir);
        if epochs_changed {
            out.push(self.epochs_effect());
        }
    }

    /// Takes back one append. Pushes the making and removing of files, not their lengths.
    fn take_back(&mut self, undo: Undo, out: &mut Vec<Effect>) {
        for change in undo.producers.into_iter().rev() {
            self.producers.undo(change);
        }
        if let Some(epochs) = undo.epochs {
            self.epochs = epochs;
        }
        self.log_end = undo.before;
        let mark = undo.active;
        let mut made = undo.snapshots;
        while self
            .segments
            .back()
            .is_some_and(|segment| segment.base > mark.base)
        {
            let Some(segment) = self.segments.pop_back() else {
                break;
            };
            let mut files = segment.files().to_vec();
            if made.contains(&segment.base) && self.snapshots.remove(&segment.base) {
                files.push(FileName::ProducerSnapshot(segment.base));
            }
            out.push(Effect::Delete(files));
        }
        made.retain(|offset| self.snapshots.remove(offset));
        if !made.is_empty() {
            let files = made.into_iter().map(FileName::ProducerSnapshot);
            out.push(Effect::Delete(files.collect()));
        }
        if self
            .segments
            .back()
            .is_none_or(|segment| segment.base != mark.base)
        {
            // An empty segment had made way for one with another base.
            let segment = Segment::new(mark.base, mark.created);
            out.extend(roll::create_files(&segment));
            self.segments.push_back(segment);
        }
        self.active_mut().reset(&mark);
        self.sealed_bytes = self
            .segments
            .iter()
            .rev()
            .skip(1)
            .map(|segment| segment.size)
            .sum();
        self.recent.retain(|batch| batch.last < self.log_end);
    }

    fn stamped_time(&self, time: Timestamp, how: Append) -> Timestamp {
        match (self.config.timestamp_type, how) {
            (TimestampType::LogAppendTime, Append::Leader { .. }) => time,
            _ => Timestamp::NONE,
        }
    }

    /// Gives each batch its offsets and checks what does not depend on producers.
    fn place(
        &self,
        now: Timestamp,
        batches: &Batches,
        how: Append,
    ) -> Result<Vec<Placed>, AppendError> {
        let (mut next, log_end) = (self.log_end, self.log_end);
        let mut placed = Vec::with_capacity(1);
        for (header, bytes) in batches.iter() {
            let delta = i64::from(header.last_offset_delta);
            let (base, epoch) = match how {
                Append::Leader { epoch } => (next, epoch),
                Append::Follower => (header.base_offset, header.partition_leader_epoch),
            };
            if base < next || delta < 0 {
                return Err(AppendError::OffsetNotRising {
                    log_end: next,
                    got: base,
                });
            }
            let last = base.checked_add(delta).filter(|&last| last < i64::MAX);
            let last = last.ok_or(AppendError::OffsetsExhausted { log_end })?;
            let max = self.config.segment_bytes_max();
            if bytes.len() as u64 > max && batches.origin() != Origin::Replication {
                return Err(AppendError::TooLarge {
                    got: bytes.len() as u64,
                    max,
                });
            }
            let stamped = self.stamped_time(now, how);
            if batches.origin() == Origin::Client && stamped == Timestamp::NONE {
                let times = batches.times().map_or(
                    [header.base_timestamp, header.max_timestamp],
                    |(min, max)| [min.0, max.0],
                );
                self.check_timestamps(now, times)?;
            }
            let timestamp = if stamped == Timestamp::NONE {
                header.max_timestamp
            } else {
                stamped.0
            };
            placed.push(Placed {
                header,
                bytes,
                base,
                last,
                epoch,
                timestamp,
            });
            next = last + 1;
        }
        Ok(placed)
    }

    /// Whether timestamps are near enough to the broker's clock: the least and the largest of the
    /// records, or what the header of a batch that is not opened says.
    fn check_timestamps(&self, now: Timestamp, times: [i64; 2]) -> Result<(), AppendError> {
        let earliest = now.0.saturating_sub(self.config.timestamp_before_max_ms);
        let latest = now.0.saturating_add(self.config.timestamp_after_max_ms);
        for got in times {
            // Records without a timestamp (-1) are let pass, as Kafka does.
            if got >= 0 && !(earliest..=latest).contains(&got) {
                return Err(AppendError::InvalidTimestamp {
                    got,
                    earliest,
                    latest,
                });
            }
        }
        Ok(())
    }

    /// Takes batch after batch into the log's state, and pushes their writes, segment by segment.
    fn write(
        &mut self,
        now: Timestamp,
        placed: &[Placed],
        how: Append,
        origin: Origin,
        out: &mut Vec<Effect>,
    ) -> Result<(), ProducerError> {
        let interval = u64::from(self.config.index_interval_bytes);
        if let Some(first) = placed.first()
            && self.snapshot_is_due()
            && !self.roll_is_due(
                now,
                first.base,
                first.last,
                first.timestamp,
                first.bytes.len() as u64,
            )
        {
            let made = self.snapshot_within_segment(out);
            if let Some(undo) = self.undo.back_mut() {
                undo.snapshots.extend(made);
            }
        }
        let mut pending = Pending::at(self.active());
        for batch in placed {
            let size = batch.bytes.len() as u64;
            if self.roll_is_due(now, batch.base, batch.last, batch.timestamp, size) {
                pending.push_to(self.active(), out);
                // The snapshot taken here holds the producers as they stand before this batch.
                let made = self.roll(now, batch.base, out);
                if let Some(undo) = self.undo.back_mut() {
                    undo.snapshots.extend(made.then_some(batch.base));
                }
                pending = Pending::at(self.active());
            }
            let ended = self.fold(batch, origin, out)?;
            self.stamp(batch, now, how, &mut pending.pieces);
            let segment = self.active_mut();
            let (base, position) = (segment.base, segment.size);
            segment.push_batch(batch.last, batch.timestamp, size, interval);
            if let Some(ended) = ended.filter(|ended| ended.aborted) {
                segment.push_aborted(AbortedTxn {
                    producer_id: ended.producer_id,
                    first_offset: ended.first_offset,
                    last_offset: ended.last_offset,
                    last_stable_offset: ended.last_stable_offset,
                });
            }
            self.log_end = batch.last + 1;
            if self.recent.len() == limits::RECENT_BATCHES_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(RecentBatch {
                segment: base,
                last: batch.last,
                position,
            });
        }
        pending.push_to(self.active(), out);
        Ok(())
    }

    /// Takes one batch into the producers and epochs, with a record in the newest undo.
    fn fold(
        &mut self,
        batch: &Placed,
        origin: Origin,
        out: &mut Vec<Effect>,
    ) -> Result<Option<CompletedTxn>, ProducerError> {
        let marker = EndTxnMarker::parse(&batch.header, &batch.bytes);
        let Some(undo) = self.undo.back_mut() else {
            return Ok(None);
        };
        let offsets = (batch.base, batch.last);
        let ended = self.producers.apply(
            &batch.header,
            offsets,
            batch.timestamp,
            marker,
            origin,
            &mut undo.producers,
        )?;
        let entry = EpochEntry {
            epoch: batch.epoch,
            start_offset: batch.base,
        };
        if self.epochs.would_change(entry) {
            undo.epochs.get_or_insert_with(|| self.epochs.clone());
            self.epochs.assign(entry);
            out.push(self.epochs_effect());
        }
        Ok(ended)
    }

    fn stamp(&self, batch: &Placed, now: Timestamp, how: Append, pieces: &mut Vec<Bytes>) {
        let Append::Leader { epoch } = how else {
            pieces.push(batch.bytes.clone());
            return;
        };
        let log_append_time = self.config.timestamp_type == TimestampType::LogAppendTime;
        let mut header = BytesMut::with_capacity(limits::BATCH_HEADER_BYTES);
        header.put_i64(batch.base);
        header.put_i32(batch.header.batch_length);
        header.put_i32(epoch);
        if !log_append_time {
            pieces.extend([header.freeze(), batch.bytes.slice(STAMPED_BYTES..)]);
            return;
        }
        header.put_slice(&batch::with_log_append_time(&batch.bytes, now)[STAMPED_BYTES..]);
        pieces.extend([
            header.freeze(),
            batch.bytes.slice(limits::BATCH_HEADER_BYTES..),
        ]);
    }
}

/// Bytes that a leader stamps: base offset, length, leader epoch.
const STAMPED_BYTES: usize = 16;

/// Writes to one segment that are being gathered.
struct Pending {
    lengths: [(FileName, u64); 4],
    offsets: u64,
    times: u64,
    aborted: u64,
    pieces: Vec<Bytes>,
}

impl Pending {
    fn at(segment: &Segment) -> Self {
        Self {
            lengths: segment.lengths(),
            offsets: segment.offsets.count(),
            times: segment.times.count(),
            aborted: segment.aborted_count,
            pieces: Vec::new(),
        }
    }

    fn push_to(self, segment: &Segment, out: &mut Vec<Effect>) {
        let contents = [
            self.pieces,
            one(segment.encode_offsets_from(self.offsets)),
            one(segment.encode_times_from(self.times)),
            one(segment.encode_aborted_from(self.aborted)),
        ];
        for ((file, at), pieces) in self.lengths.into_iter().zip(contents) {
            if !pieces.is_empty() {
                out.push(Effect::Write { file, at, pieces });
            }
        }
    }
}

fn one(bytes: Vec<u8>) -> Vec<Bytes> {
    if bytes.is_empty() {
        Vec::new()
    } else {
        alloc::vec![Bytes::from(bytes)]
    }
}
