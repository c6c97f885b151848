//! Cutting a log to an offset, as a follower does where its log parted from its leader's (KIP-101).
//!
//! Finding the place takes a look into the segment's indexes and a short scan; the producers are then
//! built anew from the newest snapshot below the cut and the batches behind it. Whole later segments go
//! first and durably, so that no crash brings one back behind records that were written since.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use bytes::Bytes;

use super::{
    Effect, FileName, Log, Producers, Segment,
    index::{self, Tail},
    producers::ProducerUndo,
    read::Damaged,
    recovery::replay,
    roll,
    scan::{Request, Scan, Scanned},
    snapshot,
};
use crate::{limits::TXN_INDEX_ENTRY_BYTES, time::Timestamp};

/// A truncation under way.
///
/// Call contract: as for [`super::Recovery`], except that the log is lent to each step. Between the steps
/// the log may be asked, but nothing may be appended. Before it begins, everything is written
/// ([`Log::is_written`]) and the checkpointed recovery point lies no higher than the offset.
#[derive(Debug)]
pub struct Truncation {
    offset: i64,
    now: Timestamp,
    asked: bool,
    phase: Phase,
}

/// What the driver does next. First it performs what was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TruncationStep {
    /// Read this, and give the bytes to the next step.
    Read(Request),
    /// The log ends at the offset. It is durable there once what was pushed is performed.
    Done,
}

#[derive(Debug)]
enum Phase {
    Offsets,
    Times,
    Aborted,
    Place(Box<Scan>),
    Snapshots,
    Replay(Box<Replay>),
    Done,
}

#[derive(Debug)]
struct Replay {
    from: i64,
    producers: Producers,
    at: usize,
    scan: Option<Scan>,
    undo: Vec<ProducerUndo>,
}

enum Turn {
    Next(Phase),
    Read(Request),
}

impl Log {
    /// Plans to cut the log so that it ends at `offset`; none if it ends there or before.
    #[must_use]
    pub fn truncate_to(&self, offset: i64, now: Timestamp) -> Option<Truncation> {
        (offset < self.log_end).then_some(Truncation {
            offset,
            now,
            asked: false,
            phase: Phase::Offsets,
        })
    }

    /// Deletes everything and begins anew at `offset`: for a follower whose log ends before its
    /// leader's begins, and for one that must be truncated to before its first segment.
    pub fn restart_at(&mut self, offset: i64, now: Timestamp, out: &mut Vec<Effect>) {
        let mut files: Vec<_> = self.segments.iter().flat_map(Segment::files).collect();
        files.extend(
            core::mem::take(&mut self.snapshots)
                .into_iter()
                .map(FileName::ProducerSnapshot),
        );
        let segment = Segment::new(offset, now);
        out.extend([Effect::Delete(files), Effect::SyncDir]);
        out.extend(roll::create_files(&segment));
        out.push(Effect::SyncDir);
        self.segments = VecDeque::from([segment]);
        (
            self.log_start,
            self.log_end,
            self.written,
            self.sealed_bytes,
        ) = (offset, offset, offset, 0);
        self.producers = Producers::default();
        self.undo.clear();
        self.recent.clear();
        if self.epochs.truncate_from_end(i64::MIN) {
            out.push(self.epochs_effect());
        }
    }
}

impl Truncation {
    /// Where the log will end.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Goes on, with the bytes that the last step asked for.
    ///
    /// # Errors
    /// If what is read is damaged. The partition cannot be used then.
    pub fn step(
        &mut self,
        log: &mut Log,
        read: Option<Bytes>,
        out: &mut Vec<Effect>,
    ) -> Result<TruncationStep, Damaged> {
        let mut read = read.filter(|_| core::mem::take(&mut self.asked));
        if log
            .segments
            .front()
            .is_some_and(|first| first.base > self.offset)
        {
            log.restart_at(self.offset, self.now, out);
            self.phase = Phase::Done;
        }
        loop {
            let read = read.take();
            let turn = match &mut self.phase {
                Phase::Offsets => self.offsets(log, read),
                Phase::Times => self.times(log, read),
                Phase::Aborted => self.aborted(log, read),
                Phase::Place(scan) => match place(scan, self.offset, log, read)? {
                    Some(request) => Turn::Read(request),
                    None => {
                        let position = scan.at;
                        self.cut(log, position, out);
                        Turn::Next(Phase::Snapshots)
                    }
                },
                Phase::Snapshots => self.snapshots(log, read, out),
                Phase::Replay(replay) => match replay.step(log, read)? {
                    Some(request) => Turn::Read(request),
                    None => {
                        log.producers = core::mem::take(&mut replay.producers);
                        Turn::Next(Phase::Done)
                    }
                },
                Phase::Done => return Ok(TruncationStep::Done),
            };
            match turn {
                Turn::Next(phase) => self.phase = phase,
                Turn::Read(request) => {
                    self.asked = true;
                    return Ok(TruncationStep::Read(request));
                }
            }
        }
    }

    fn segment<'a>(&self, log: &'a mut Log) -> &'a mut Segment {
        let at = log.segment_at(self.offset);
        &mut log.segments[at]
    }

    fn offsets(&self, log: &mut Log, read: Option<Bytes>) -> Turn {
        let segment = self.segment(log);
        match read {
            None if segment.offsets.reaches_into_file(self.offset) => {
                return read_all(
                    FileName::OffsetIndex(segment.base),
                    segment.offsets.file_len(),
                );
            }
            None => segment.offsets.truncate(self.offset),
            Some(bytes) => {
                let entries = index::offset::entries(&bytes, segment.base);
                let (count, last) = kept(entries, |entry| entry.offset < self.offset);
                segment.offsets = Tail::in_file(count, last);
            }
        }
        Turn::Next(Phase::Times)
    }

    fn times(&self, log: &mut Log, read: Option<Bytes>) -> Turn {
        let segment = self.segment(log);
        match read {
            None if segment.times.reaches_into_file(self.offset) => {
                return read_all(FileName::TimeIndex(segment.base), segment.times.file_len());
            }
            None => segment.times.truncate(self.offset),
            Some(bytes) => {
                let entries = index::time::entries(&bytes, segment.base);
                let (count, last) = kept(entries, |entry| entry.offset < self.offset);
                segment.times = Tail::in_file(count, last);
            }
        }
        Turn::Next(Phase::Aborted)
    }

    fn aborted(&self, log: &mut Log, read: Option<Bytes>) -> Turn {
        let segment = self.segment(log);
        if let Some(bytes) = read {
            // An index that does not parse has nothing that can be kept: readers would have found it too.
            segment.aborted = index::txn::decode_all(&bytes).unwrap_or_default();
        } else if (segment.aborted.len() as u64) < segment.aborted_count {
            let len = segment.aborted_count * TXN_INDEX_ENTRY_BYTES as u64;
            return read_all(FileName::TxnIndex(segment.base), len);
        }
        segment
            .aborted
            .retain(|entry| entry.last_offset < self.offset);
        segment.aborted_count = segment.aborted.len() as u64;
        let start = segment
            .offsets
            .last()
            .map_or(0, |entry| u64::from(entry.position));
        segment.largest = segment.times.last().unwrap_or(index::time::TimeEntry {
            timestamp: -1,
            offset: segment.base,
        });
        let scan = Scan::new(segment.base, None, start, segment.size, segment.base);
        Turn::Next(Phase::Place(Box::new(scan)))
    }

    /// The place is known: everything behind it goes.
    fn cut(&self, log: &mut Log, position: u64, out: &mut Vec<Effect>) {
        let at = log.segment_at(self.offset);
        let mut files: Vec<_> = log
            .segments
            .drain(at + 1..)
            .flat_map(|segment| segment.files())
            .collect();
        let later = log.snapshots.split_off(&(self.offset + 1));
        files.extend(later.into_iter().map(FileName::ProducerSnapshot));
        if !files.is_empty() {
            out.extend([Effect::Delete(files), Effect::SyncDir]);
        }
        let segment = log.active_mut();
        segment.size = position;
        segment.since_index = 0;
        segment.snapshot_size = segment.snapshot_size.min(position);
        if position == 0 {
            segment.first_timestamp = None;
            segment.created = self.now;
        }
        out.extend(
            segment
                .lengths()
                .map(|(file, len)| Effect::Truncate { file, len }),
        );
        // The indexes too: recovery may rely on them below a later snapshot.
        out.extend(roll::sync_segment(segment));
        log.sealed_bytes = log.segments.iter().rev().skip(1).map(Segment::size).sum();
        log.log_end = self.offset;
        log.written = self.offset;
        log.log_start = log.log_start.min(self.offset);
        log.recent.clear();
        if log.epochs.truncate_from_end(self.offset) {
            out.push(log.epochs_effect());
        }
    }

    /// Finds the newest sound snapshot.
    fn snapshots(&self, log: &mut Log, read: Option<Bytes>, out: &mut Vec<Effect>) -> Turn {
        let newest = log.snapshots.last().copied();
        let (from, producers) = match (newest, read) {
            (None, _) => (
                log.segments.front().map_or(0, Segment::base_offset),
                Producers::default(),
            ),
            (Some(offset), None) => {
                return read_all(
                    FileName::ProducerSnapshot(offset),
                    crate::limits::PRODUCER_SNAPSHOT_BYTES_MAX,
                );
            }
            (Some(offset), Some(bytes)) => match snapshot::parse(&bytes) {
                Ok(entries) => (
                    offset,
                    Producers::from_snapshot(entries, self.now, log.config.producer_id_expiration),
                ),
                Err(_) => {
                    log.snapshots.remove(&offset);
                    out.push(Effect::Delete(alloc::vec![FileName::ProducerSnapshot(
                        offset
                    )]));
                    return Turn::Next(Phase::Snapshots);
                }
            },
        };
        let at = log.segment_at(from);
        Turn::Next(Phase::Replay(Box::new(Replay {
            from,
            producers,
            at,
            scan: None,
            undo: Vec::new(),
        })))
    }
}

impl Replay {
    fn step(&mut self, log: &Log, read: Option<Bytes>) -> Result<Option<Request>, Damaged> {
        if let (Some(bytes), Some(scan)) = (read, &mut self.scan) {
            scan.supply(bytes);
        }
        if self.from >= log.log_end {
            return Ok(None);
        }
        while let Some(segment) = log.segments.get(self.at) {
            let new = || Scan::new(segment.base, None, 0, segment.size, segment.base);
            let scan = self.scan.get_or_insert_with(new);
            match scan.next() {
                Scanned::Need(request) => return Ok(Some(request)),
                Scanned::Batch { header, bytes, .. } => {
                    if header.base_offset >= self.from {
                        replay(&mut self.producers, &header, &bytes, &mut self.undo);
                    }
                }
                Scanned::End => {
                    self.scan = None;
                    self.at += 1;
                }
                Scanned::Damaged { position, reason } => {
                    return Err(Damaged {
                        segment: segment.base,
                        position,
                        reason,
                    });
                }
            }
        }
        Ok(None)
    }
}

/// Scans for the first batch that reaches `offset`; the scan then stands before it.
fn place(
    scan: &mut Scan,
    offset: i64,
    log: &mut Log,
    read: Option<Bytes>,
) -> Result<Option<Request>, Damaged> {
    if let Some(bytes) = read {
        scan.supply(bytes);
    }
    let at = log.segment_at(offset);
    let segment = &mut log.segments[at];
    loop {
        match scan.next() {
            Scanned::Need(request) => return Ok(Some(request)),
            Scanned::Batch {
                header, position, ..
            } => {
                if header.last_offset() >= offset {
                    scan.at = position;
                    return Ok(None);
                }
                segment.note_timestamp(header.max_timestamp, header.last_offset());
            }
            Scanned::End => return Ok(None),
            Scanned::Damaged { position, reason } => {
                return Err(Damaged {
                    segment: segment.base,
                    position,
                    reason,
                });
            }
        }
    }
}

fn read_all(file: FileName, len: u64) -> Turn {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    Turn::Read(Request {
        file,
        mark: None,
        at: 0,
        len,
    })
}

/// How many entries are kept, and the last of them.
fn kept<E>(entries: impl Iterator<Item = E>, keep: impl Fn(&E) -> bool) -> (u64, Option<E>) {
    entries
        .take_while(keep)
        .fold((0, None), |(count, _), entry| (count + 1, Some(entry)))
}
