//! The pass over segments that are to be checked, indexed or replayed, and what is made of it.

use alloc::{boxed::Box, collections::VecDeque, string::ToString as _, vec::Vec};

use bytes::Bytes;

use super::{Anchor, Cut, Phase, Recovered, Recovery, RecoveryError, Turn, stray_snapshots};
use crate::{
    batch::{BatchHeader, EndTxnMarker, Origin},
    log::{
        Effect, FileName, Log, Producers, Segment,
        epochs::EpochEntry,
        index::txn::AbortedTxn,
        producers::ProducerUndo,
        read::{Damage, Damaged},
        roll,
        scan::{Scan, Scanned},
    },
    marks,
};

/// What a disk writes as one: the smallest of those in use.
const SECTOR_BYTES: u64 = 512;

/// How far the pass is.
#[derive(Debug)]
pub(super) struct Pass {
    /// Batches from here on are replayed into the producers.
    from: i64,
    producers: Producers,
    at: usize,
    scan: Option<Scan>,
    next_offset: i64,
    rebuilt: usize,
    cut: Option<Cut>,
    /// Taken and thrown away: a replay is never undone.
    undo: Vec<ProducerUndo>,
    /// Whether a batch of this segment was met.
    any: bool,
}

impl Pass {
    pub(super) fn new(from: i64, producers: Producers) -> Self {
        Self {
            from,
            producers,
            at: 0,
            scan: None,
            next_offset: 0,
            rebuilt: 0,
            cut: None,
            undo: Vec::new(),
            any: false,
        }
    }

    /// Folds a batch into the producers. Gives the transaction it aborts.
    fn replay(&mut self, header: &BatchHeader, bytes: &Bytes) -> Option<AbortedTxn> {
        if header.base_offset < self.from {
            return None;
        }
        replay(&mut self.producers, header, bytes, &mut self.undo)
    }
}

/// Folds a batch that lies in the log into `producers`. Gives the transaction it aborts.
pub(in crate::log) fn replay(
    producers: &mut Producers,
    header: &BatchHeader,
    bytes: &Bytes,
    undo: &mut Vec<ProducerUndo>,
) -> Option<AbortedTxn> {
    let marker = EndTxnMarker::parse(header, bytes);
    let offsets = (header.base_offset, header.last_offset());
    let ended = producers.apply(
        header,
        offsets,
        header.max_timestamp,
        marker,
        Origin::Replication,
        undo,
    );
    undo.clear();
    // A replica's batches are never refused.
    let ended = ended.ok().flatten().filter(|ended| ended.aborted)?;
    Some(AbortedTxn {
        producer_id: ended.producer_id,
        first_offset: ended.first_offset,
        last_offset: ended.last_offset,
        last_stable_offset: ended.last_stable_offset,
    })
}

/// Whether a base offset at `position` is `expected` without the bytes of a sector that was never
/// written: those before the sector's end are zeros, and what follows of the batch may be whole.
fn is_torn(position: u64, expected: i64, got: i64) -> bool {
    let here = SECTOR_BYTES - position % SECTOR_BYTES;
    let left = match u32::try_from(here) {
        Ok(bytes @ 0..8) => u64::MAX >> (bytes * 8),
        _ => 0,
    };
    expected > got && got == expected & left.cast_signed()
}

/// Whether what a scan from an anchored place met is as it should be up to the anchor.
fn holds(anchor: Anchor, scanned: &Scanned, any: bool, next_offset: i64) -> bool {
    match scanned {
        Scanned::Batch { header, .. } => {
            let named = any
                || anchor
                    .first_last_offset
                    .is_none_or(|last| last == header.last_offset());
            named && (header.base_offset >= anchor.offset || header.last_offset() < anchor.offset)
        }
        Scanned::Need(_) => true,
        Scanned::End | Scanned::Damaged { .. } => next_offset >= anchor.offset,
    }
}

impl Recovery {
    pub(super) fn pass(
        &mut self,
        read: Option<Bytes>,
        out: &mut Vec<Effect>,
    ) -> Result<Turn, RecoveryError> {
        let Phase::Pass(mut pass) = core::mem::replace(&mut self.phase, Phase::Done) else {
            return Ok(Turn::Again);
        };
        if let (Some(bytes), Some(scan)) = (read, &mut pass.scan) {
            scan.supply(bytes);
        }
        while pass.at < self.segments.len() {
            let end = self.segments.get(pass.at + 1).map(|next| next.segment.base);
            let end = end.or(self.directory.log_end).unwrap_or(i64::MAX);
            let found = &mut self.segments[pass.at];
            if !found.rebuild && end <= pass.from {
                pass.at += 1;
                continue;
            }
            let scan = pass.scan.get_or_insert_with(|| {
                let base = found.segment.base;
                let len = self.directory.len(FileName::Log(base)).unwrap_or(0);
                let len = if found.rebuild {
                    len
                } else {
                    found.segment.size
                };
                if found.rebuild && found.anchor.is_none() {
                    found.segment = Segment::new(base, self.now);
                }
                if found.anchor.is_some() {
                    marks::RECOVERY_ANCHORED.reach();
                }
                let at = found.anchor.map_or(0, |_| found.segment.size);
                Scan::new(base, None, at, len, pass.next_offset.max(base))
            });
            let scanned = scan.next();
            if let Some(anchor) = found.anchor
                && !holds(anchor, &scanned, pass.any, scan.next_offset)
            {
                // It is read whole, and the producers with it.
                found.anchor = None;
                self.phase = Phase::Snapshots;
                return Ok(Turn::Again);
            }
            match scanned {
                Scanned::Need(request) => {
                    self.phase = Phase::Pass(pass);
                    return Ok(Turn::Read(request));
                }
                Scanned::Batch {
                    header,
                    bytes,
                    position,
                } => {
                    pass.next_offset = scan.next_offset;
                    if found.rebuild && header.base_offset >= self.recovery_point {
                        marks::WRITTEN_AGAIN.reach();
                        // A sync that failed before the stop may have left these bytes in the page
                        // cache alone, marked as clean: no sync writes them unless they are written.
                        out.push(Effect::Write {
                            file: FileName::Log(found.segment.base),
                            at: position,
                            pieces: alloc::vec![bytes.clone()],
                        });
                    }
                    self.bytes_checked += bytes.len() as u64;
                    pass.any = true;
                    let aborted = pass.replay(&header, &bytes);
                    let indexed = found
                        .anchor
                        .is_some_and(|anchor| header.base_offset < anchor.offset);
                    if indexed {
                        let (last, size) = (header.last_offset(), bytes.len() as u64);
                        found.segment.pass_batch(last, header.max_timestamp, size);
                    } else if found.rebuild {
                        let interval = u64::from(self.config.index_interval_bytes);
                        let last = header.last_offset();
                        found.segment.push_batch(
                            last,
                            header.max_timestamp,
                            bytes.len() as u64,
                            interval,
                        );
                        aborted
                            .into_iter()
                            .for_each(|aborted| found.segment.push_aborted(aborted));
                        self.note_epoch(&header);
                    }
                }
                Scanned::End => self.end_segment(&mut pass, out),
                Scanned::Damaged { position, reason } => {
                    self.damaged(&mut pass, position, reason, out)?
                }
            }
        }
        Ok(Turn::Done(Box::new(self.finish(*pass, out)?)))
    }

    fn note_epoch(&mut self, header: &BatchHeader) {
        let epoch = header.partition_leader_epoch;
        if self
            .epochs
            .latest()
            .is_none_or(|latest| latest.epoch < epoch)
        {
            self.epochs_changed |= self.epochs.assign(EpochEntry {
                epoch,
                start_offset: header.base_offset,
            });
        }
    }

    /// A segment was read to its end: its indexes are written anew if they are to be.
    fn end_segment(&mut self, pass: &mut Pass, out: &mut Vec<Effect>) {
        let last = pass.at + 1 == self.segments.len();
        let found = &mut self.segments[pass.at];
        pass.scan = None;
        pass.any = false;
        pass.at += 1;
        pass.next_offset = pass.next_offset.max(found.segment.base);
        if !found.rebuild {
            return;
        }
        marks::INDEX_REBUILT.reach();
        pass.rebuilt += 1;
        let segment = &mut found.segment;
        segment.push_time_entry();
        let [log, offsets, times, aborted] = segment.files();
        // The file may have been listed longer than it is; its length is durable with its bytes. The
        // last one may have been cut before, with a sync behind it that failed.
        let len = segment.size;
        out.push(match last {
            true => Effect::Recut { file: log, len },
            false => Effect::Truncate { file: log, len },
        });
        for (file, contents) in [
            (offsets, segment.encode_offsets_from(0)),
            (times, segment.encode_times_from(0)),
            (aborted, segment.encode_aborted_from(0)),
        ] {
            if file == aborted && contents.is_empty() {
                out.push(Effect::Remove(alloc::vec![file.to_string()]));
                continue;
            }
            out.push(Effect::Create(file));
            if !contents.is_empty() {
                out.push(Effect::Write {
                    file,
                    at: 0,
                    pieces: alloc::vec![contents.into()],
                });
            }
        }
        out.extend(roll::sync_segment(segment));
        segment.shed(i64::MAX, last);
    }

    /// Something is no batch: the torn end of a crash is cut; damage to what was durable is an error.
    fn damaged(
        &mut self,
        pass: &mut Pass,
        position: u64,
        reason: Damage,
        out: &mut Vec<Effect>,
    ) -> Result<(), RecoveryError> {
        let segment = self.segments[pass.at].segment.base;
        let offset = pass.next_offset.max(segment);
        // If offsets go back, the batch before may be the damaged one: no checksum covers its base
        // offset. Unless it is this batch that says what it cannot mean.
        let lowest = match reason {
            Damage::Offset { expected, got } if !is_torn(position, expected, got) => {
                offset.min(got)
            }
            _ => offset,
        };
        if self.clean || !self.segments[pass.at].rebuild || lowest < self.recovery_point {
            let damaged = Damaged {
                segment,
                position,
                reason,
            };
            return Err(RecoveryError::Damaged {
                damaged,
                recovery_point: self.recovery_point,
            });
        }
        marks::TORN_TAIL_CUT.reach();
        if matches!(reason, Damage::Offset { .. }) {
            marks::TORN_BASE_OFFSET_CUT.reach();
        }
        let file = FileName::Log(segment);
        let later = self.segments.split_off(pass.at + 1);
        let bytes = self.directory.len(file).unwrap_or(position) - position;
        let bytes = bytes + later.iter().map(|found| found.segment.size).sum::<u64>();
        let gone = later
            .iter()
            .flat_map(|found| found.segment.files())
            .map(|file| file.to_string());
        let gone: Vec<_> = gone.collect();
        if !gone.is_empty() {
            // Those go before the cut: a crash in between leaves the damage to be found again.
            out.extend([Effect::Remove(gone), Effect::SyncDir]);
        }
        pass.cut = Some(Cut {
            file,
            position,
            reason,
            offset,
            bytes,
        });
        self.end_segment(pass, out);
        Ok(())
    }

    fn finish(&mut self, pass: Pass, out: &mut Vec<Effect>) -> Result<Recovered, RecoveryError> {
        let Pass {
            producers,
            next_offset,
            rebuilt,
            cut,
            ..
        } = pass;
        let mut segments: VecDeque<Segment> =
            self.segments.drain(..).map(|found| found.segment).collect();
        let known = self
            .directory
            .log_end
            .filter(|_| cut.is_none())
            .unwrap_or(next_offset);
        let mut log_end = known.max(segments.back().map_or(0, Segment::base_offset));
        let log_start = self
            .log_start
            .max(segments.front().map_or(0, Segment::base_offset));
        if log_end < self.recovery_point {
            return Err(RecoveryError::EndsBelow {
                log_end,
                recovery_point: self.recovery_point,
            });
        }
        let mut producers = producers;
        let mut discarded = None;
        if segments.is_empty() || log_end < log_start {
            // Nothing is left that may be read: begin anew at the log's start, as Kafka does.
            let gone: Vec<_> = segments
                .iter()
                .flat_map(Segment::files)
                .map(|file| file.to_string())
                .collect();
            if !gone.is_empty() {
                discarded = Some(log_end);
                out.extend([Effect::Remove(gone), Effect::SyncDir]);
            }
            let segment = Segment::new(log_start, self.now);
            out.extend(roll::create_files(&segment));
            out.push(Effect::SyncDir);
            segments = VecDeque::from([segment]);
            log_end = log_start;
            producers = Producers::default();
        }
        let mut snapshots = self.directory.snapshots();
        let mut gone: Vec<i64> = snapshots.split_off(&(log_end + 1)).into_iter().collect();
        gone.extend(stray_snapshots(&snapshots, &segments));
        snapshots.retain(|offset| !gone.contains(offset));
        if !gone.is_empty() {
            let names = gone
                .into_iter()
                .map(|offset| FileName::ProducerSnapshot(offset).to_string());
            out.push(Effect::Remove(names.collect()));
        }
        let mut epochs = core::mem::take(&mut self.epochs);
        let cut_epochs = epochs.truncate_from_end(log_end) | epochs.truncate_from_start(log_start);
        let sealed_bytes = segments.iter().rev().skip(1).map(Segment::size).sum();
        let log = Log {
            config: self.config.clone(),
            segments,
            log_start,
            log_end,
            written: log_end,
            epochs,
            producers,
            snapshots,
            undo: VecDeque::new(),
            recent: VecDeque::new(),
            opened_at: log_end,
            seed: self.seed,
            sealed_bytes,
        };
        if self.epochs_changed || cut_epochs {
            out.push(log.epochs_effect());
        }
        if !out.is_empty() {
            out.push(Effect::SyncDir);
        }
        Ok(Recovered {
            log,
            cut,
            bytes_checked: self.bytes_checked,
            indexes_rebuilt: rebuilt,
            discarded,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_offset_is_torn_where_its_sector_ends() {
        let expected = 0x0102_0304;
        for at in [0, 100, 496, 504] {
            assert!(is_torn(512 + at, expected, 0), "{at}");
            assert!(!is_torn(512 + at, expected, 4), "{at}");
        }
        assert!(is_torn(505, expected, 4) && is_torn(506, expected, 0x0304));
        assert!(is_torn(507, expected, 0x02_0304));
        assert!(!is_torn(505, expected, 5) && !is_torn(506, expected, 0x0404));
        // What comes after is no sign of it: nothing was lost of it.
        assert!(!is_torn(508, expected, expected) && !is_torn(508, expected, expected + 1));
    }
}
