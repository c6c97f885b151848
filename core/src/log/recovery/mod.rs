//! Opening a partition's directory after a clean stop or a crash (Kafka's `LogLoader`).
//!
//! After a clean stop the ends of the indexes, the newest producer snapshot and the stretch behind
//! the last index entry are read, nothing more. After a crash what lies above the recovery point is
//! read: checksums, lengths and offsets are checked, and indexes are built anew. In the segment that
//! holds the recovery point that begins at the newest snapshot of the producers below it
//! ([`anchor`]); if there is none, or if what lies below cannot be relied on, at the segment's start.
//! A torn end, where writes were under way that nobody had synced, is cut, once, and reported as a
//! [`Cut`]. What is kept above the recovery point is written once more before it is synced: a sync that
//! failed before the crash leaves pages that look written, are not, and that no later sync writes
//! (fsyncgate). What lies below the recovery point was durable: damage there is an error
//! ([`RecoveryError::Damaged`], [`RecoveryError::EndsBelow`]), never a shorter log.
//!
//! Producers are built from the newest usable snapshot and the batches behind it. A missing or
//! unsound index is built anew from its segment. Leftovers are handled as Kafka does: `.deleted` and
//! `.cleaned` files go; `.swap` files, which are a complete replacement for the segments they span, take
//! their places.
//!
//! | phase | reads | then |
//! | --- | --- | --- |
//! | `Swaps` | each `.swap` log whole | `Epochs` |
//! | `Epochs` | `leader-epoch-checkpoint` | `Tails` |
//! | `Tails` | the last entries of each segment's indexes | `Anchor` or `End` |
//! | `Anchor` | the indexes of the segment that holds the recovery point | `End` |
//! | `End` | the last segment's first batch header, its transaction index, and the stretch behind its last index entry (if it is sound) | `Snapshots` |
//! | `Snapshots` | producer snapshots, newest first, until one is sound | `Pass` |
//! | `Pass` | segments to be checked, indexed or replayed | done |

mod anchor;
mod directory;
mod pass;

pub(super) use pass::replay;

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};

use bytes::Bytes;

use self::{
    anchor::{Anchor, Anchored, Anchoring},
    directory::{Directory, SwapScan},
    pass::Pass,
};
use super::{
    Effect, FileName, Log, LogConfig, Producers, Segment, checkpoint,
    epochs::LeaderEpochs,
    index::{self, Tail},
    read::{Damage, Damaged},
    scan::{Request, Scan, Scanned},
    snapshot,
};
use crate::{
    batch,
    limits::{
        BATCH_HEADER_BYTES, CHECKPOINT_BYTES_MAX, OFFSET_INDEX_ENTRY_BYTES,
        PRODUCER_SNAPSHOT_BYTES_MAX, TIME_INDEX_ENTRY_BYTES, TXN_INDEX_ENTRY_BYTES,
    },
    marks,
    time::Timestamp,
};

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// What is known before a directory is opened.
#[derive(Clone, Debug)]
pub struct RecoveryInput {
    /// The configuration the log will work by.
    pub config: LogConfig,
    /// The directory's files.
    pub files: Vec<Listed>,
    /// Below this everything was durable (`recovery-point-offset-checkpoint`). A log that ends below
    /// it is refused.
    pub recovery_point: i64,
    /// The log's start (`log-start-offset-checkpoint`); 0 if there is none.
    pub log_start: i64,
    /// Whether the node was stopped cleanly.
    pub clean: bool,
    /// The time.
    pub now: Timestamp,
    /// For `segment.jitter.ms`.
    pub seed: u64,
}

/// What the driver does next. First it performs what was pushed.
#[derive(Debug)]
pub enum Step {
    /// Read this, and give the bytes to the next step.
    Read(Request),
    /// The log is open.
    Done(Box<Recovered>),
}

/// An open log, and what opening it took.
#[derive(Debug)]
pub struct Recovered {
    /// The log. All of it is durable once what was pushed is performed.
    pub log: Log,
    /// The torn end that was cut.
    pub cut: Option<Cut>,
    /// Bytes of log that were read and checked.
    pub bytes_checked: u64,
    /// Segments whose indexes were built anew.
    pub indexes_rebuilt: usize,
    /// Where the log ended, if all of it lies below the log's start: it begins anew there.
    pub discarded: Option<i64>,
}

/// A torn end that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The log file.
    pub file: FileName,
    /// Where it was cut.
    pub position: u64,
    /// What is wrong there.
    pub reason: Damage,
    /// The log's end now.
    pub offset: i64,
    /// Bytes of log that went, later segments included.
    pub bytes: u64,
}

/// Why a directory cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// What was durable is damaged.
    #[error("{damaged}; everything below offset {recovery_point} was durable")]
    Damaged {
        /// Where and what.
        damaged: Damaged,
        /// Below this everything was durable.
        recovery_point: i64,
    },
    /// The log ends below its recovery point although nothing is damaged: somebody cut or removed a
    /// file.
    #[error(
        "the log ends at offset {log_end}; everything below offset {recovery_point} was durable"
    )]
    EndsBelow {
        /// Where it ends.
        log_end: i64,
        /// Below this everything was durable.
        recovery_point: i64,
    },
    /// The epochs' file does not parse.
    #[error("leader-epoch-checkpoint: {0}")]
    Epochs(checkpoint::ParseError),
    /// A file is larger than any such file may be.
    #[error("{file} has {got} bytes, at most {max} are read")]
    TooLarge {
        /// The file.
        file: FileName,
        /// Its length.
        got: u64,
        /// The limit.
        max: u64,
    },
    /// `step` was called without the bytes that it asked for.
    #[error("no bytes were given for a read of {file}")]
    NothingRead {
        /// The file.
        file: FileName,
    },
}

/// Opens a directory.
///
/// Call contract: call [`Recovery::step`] with no bytes; perform what it pushed; if it asks for a read, call
/// it again with what was read (fewer bytes only if the file ends); until it is done or fails.
/// Nothing else may touch the directory meanwhile.
#[derive(Debug)]
pub struct Recovery {
    config: LogConfig,
    recovery_point: i64,
    log_start: i64,
    clean: bool,
    now: Timestamp,
    seed: u64,
    directory: Directory,
    segments: Vec<Found>,
    epochs: LeaderEpochs,
    epochs_on_file: usize,
    epochs_changed: bool,
    asked: Option<Request>,
    phase: Phase,
    bytes_checked: u64,
}

/// A segment as found.
#[derive(Debug)]
struct Found {
    segment: Segment,
    /// Its indexes are to be built anew, its batches to be checked.
    rebuild: bool,
    /// If it is rebuilt only from there on; `segment` is then as it is below.
    anchor: Option<Anchor>,
}

#[derive(Debug)]
enum Phase {
    Swaps(SwapScan),
    Epochs,
    Tails { at: usize, part: Part },
    Anchor(Box<Anchoring>),
    End(End),
    Snapshots,
    Pass(Box<Pass>),
    Done,
}

/// Which index's tail is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Offsets,
    Times,
}

/// What is read of the last segment.
#[derive(Debug)]
enum End {
    FirstHeader,
    Aborted,
    Scan(Box<Scan>),
}

/// Whether a phase goes on at once or needs bytes first.
enum Turn {
    Again,
    Read(Request),
    Done(Box<Recovered>),
}

impl Recovery {
    /// Begins.
    #[must_use]
    pub fn new(input: RecoveryInput) -> Self {
        let RecoveryInput {
            config,
            files,
            recovery_point,
            log_start,
            clean,
            now,
            seed,
        } = input;
        let directory = Directory::new(files);
        let swaps = directory.swap_scan();
        Self {
            config,
            recovery_point,
            log_start,
            clean,
            now,
            seed,
            directory,
            segments: Vec::new(),
            epochs: LeaderEpochs::default(),
            epochs_on_file: 0,
            epochs_changed: false,
            asked: None,
            phase: Phase::Swaps(swaps),
            bytes_checked: 0,
        }
    }

    /// Goes on, with the bytes that the last step asked for.
    ///
    /// # Errors
    /// If the directory cannot be opened. What was pushed before is safe to have been performed.
    pub fn step(
        &mut self,
        read: Option<Bytes>,
        out: &mut Vec<Effect>,
    ) -> Result<Step, RecoveryError> {
        let mut read = match (self.asked.take(), read) {
            (Some(request), None) => return Err(RecoveryError::NothingRead { file: request.file }),
            (Some(_), read) => read,
            (None, _) => None,
        };
        loop {
            let turn = match &mut self.phase {
                Phase::Swaps(_) => self.swaps(read.take(), out)?,
                Phase::Epochs => self.epochs(read.take())?,
                Phase::Tails { .. } => self.tails(read.take()),
                Phase::Anchor(_) => self.anchor(read.take())?,
                Phase::End(_) => self.end(read.take())?,
                Phase::Snapshots => self.snapshots(read.take(), out)?,
                Phase::Pass(_) => self.pass(read.take(), out)?,
                Phase::Done => Turn::Again,
            };
            match turn {
                Turn::Again => {}
                Turn::Read(request) => {
                    self.asked = Some(request);
                    return Ok(Step::Read(request));
                }
                Turn::Done(recovered) => {
                    self.phase = Phase::Done;
                    return Ok(Step::Done(recovered));
                }
            }
        }
    }

    fn swaps(&mut self, read: Option<Bytes>, out: &mut Vec<Effect>) -> Result<Turn, RecoveryError> {
        let Phase::Swaps(swaps) = &mut self.phase else {
            return Ok(Turn::Again);
        };
        let recovery_point = self.recovery_point;
        match swaps.step(read) {
            Ok(Some(request)) => return Ok(Turn::Read(request)),
            Ok(None) => {}
            Err(damaged) => {
                return Err(RecoveryError::Damaged {
                    damaged,
                    recovery_point,
                });
            }
        }
        if let Some(span) = swaps.span() {
            self.directory.replace_span(span);
        }
        self.directory.finish(out);
        self.phase = Phase::Epochs;
        Ok(Turn::Again)
    }

    fn epochs(&mut self, read: Option<Bytes>) -> Result<Turn, RecoveryError> {
        let file = FileName::LeaderEpochCheckpoint;
        if let Some(bytes) = read {
            let entries = checkpoint::parse_epochs(&bytes).map_err(RecoveryError::Epochs)?;
            self.epochs_on_file = entries.len();
            self.epochs = LeaderEpochs::new(entries);
            self.epochs_changed = self.epochs.entries().len() != self.epochs_on_file;
        } else if let Some(len) = self.directory.len(file) {
            return Ok(Turn::Read(whole(file, len, CHECKPOINT_BYTES_MAX as u64)?));
        }
        self.find_segments();
        self.phase = Phase::Tails {
            at: 0,
            part: Part::Offsets,
        };
        Ok(Turn::Again)
    }

    /// Lists the segments. After a crash those from the recovery point on are rebuilt.
    fn find_segments(&mut self) {
        let bases: Vec<i64> = self.directory.logs().collect();
        let first_checked = bases
            .partition_point(|&base| base <= self.recovery_point)
            .saturating_sub(1);
        for (at, &base) in bases.iter().enumerate() {
            let mut segment = Segment::new(base, self.now);
            segment.size = self.directory.len(FileName::Log(base)).unwrap_or(0);
            segment.aborted_count = self.directory.len(FileName::TxnIndex(base)).unwrap_or(0)
                / TXN_INDEX_ENTRY_BYTES as u64;
            let missing = segment.size > 0 && !self.directory.has_indexes(base);
            self.segments.push(Found {
                segment,
                rebuild: missing || (!self.clean && at >= first_checked),
                anchor: None,
            });
        }
    }

    /// Reads the last entry of each index; one that cannot be right is built anew.
    fn tails(&mut self, read: Option<Bytes>) -> Turn {
        let Phase::Tails { at, part } = self.phase else {
            return Turn::Again;
        };
        let Some(found) = self.segments.get_mut(at) else {
            let anchoring = Anchoring::new(
                &self.segments,
                &self.directory,
                self.recovery_point,
                self.now,
            );
            self.phase = match anchoring.filter(|_| !self.clean && self.epochs_on_file > 0) {
                Some(anchoring) => Phase::Anchor(Box::new(anchoring)),
                None => Phase::End(End::FirstHeader),
            };
            return Turn::Again;
        };
        let (base, next_part, next_at) = match part {
            Part::Offsets => (found.segment.base, Part::Times, at),
            Part::Times => (found.segment.base, Part::Offsets, at + 1),
        };
        let (file, entry) = match part {
            Part::Offsets => (FileName::OffsetIndex(base), OFFSET_INDEX_ENTRY_BYTES),
            Part::Times => (FileName::TimeIndex(base), TIME_INDEX_ENTRY_BYTES),
        };
        let len = self.directory.len(file).unwrap_or(0);
        if !found.rebuild {
            if read.is_none() && len >= entry as u64 {
                return Turn::Read(Request {
                    file,
                    mark: None,
                    at: len - entry as u64,
                    len: entry,
                });
            }
            found.take_tail(part, len, &read.unwrap_or_default());
        }
        self.phase = Phase::Tails {
            at: next_at,
            part: next_part,
        };
        Turn::Again
    }

    /// Reads the indexes of the segment that holds the recovery point, up to the anchor.
    fn anchor(&mut self, read: Option<Bytes>) -> Result<Turn, RecoveryError> {
        let Phase::Anchor(anchoring) = &mut self.phase else {
            return Ok(Turn::Again);
        };
        let log_len = self.directory.len(FileName::Log(anchoring.base()));
        match anchoring.step(read, &self.directory, log_len.unwrap_or(0))? {
            Anchored::Read(request) => return Ok(Turn::Read(request)),
            Anchored::Nowhere => {}
            Anchored::At {
                at,
                segment,
                anchor,
            } => {
                self.segments[at].segment = *segment;
                self.segments[at].anchor = Some(anchor);
            }
        }
        self.phase = Phase::End(End::FirstHeader);
        Ok(Turn::Again)
    }

    fn end(&mut self, read: Option<Bytes>) -> Result<Turn, RecoveryError> {
        let Phase::End(end) = &mut self.phase else {
            return Ok(Turn::Again);
        };
        let Some(found) = self
            .segments
            .last_mut()
            .filter(|found| !found.rebuild && found.segment.size > 0)
        else {
            if let Some(found) = self.segments.last().filter(|found| !found.rebuild) {
                self.directory.log_end = Some(found.segment.base);
            }
            self.phase = Phase::Snapshots;
            return Ok(Turn::Again);
        };
        let segment = &mut found.segment;
        match end {
            End::FirstHeader => {
                let Some(bytes) = read else {
                    let len = BATCH_HEADER_BYTES;
                    return Ok(Turn::Read(Request {
                        file: FileName::Log(segment.base),
                        mark: None,
                        at: 0,
                        len,
                    }));
                };
                segment.first_timestamp =
                    batch::read_header(&bytes).map(|header| header.max_timestamp);
                *end = End::Aborted;
            }
            End::Aborted => {
                let file = FileName::TxnIndex(segment.base);
                let len = self.directory.len(file).unwrap_or(0);
                let bytes = match read {
                    None if len > 0 => {
                        return Ok(Turn::Read(whole(file, len, PRODUCER_SNAPSHOT_BYTES_MAX)?));
                    }
                    None => Bytes::new(),
                    Some(bytes) => bytes,
                };
                match index::txn::decode_all(&bytes) {
                    Ok(aborted) => {
                        segment.aborted_count = aborted.len() as u64;
                        segment.aborted = aborted;
                    }
                    Err(_) => found.rebuild = true,
                }
                let last = found.segment.offsets.last();
                let (at, next) = last.map_or((0, found.segment.base), |last| {
                    (u64::from(last.position), found.segment.base)
                });
                *end = End::Scan(Box::new(Scan::new(
                    found.segment.base,
                    None,
                    at,
                    found.segment.size,
                    next,
                )));
            }
            End::Scan(scan) => {
                if let Some(bytes) = read {
                    scan.supply(bytes);
                }
                loop {
                    match scan.next() {
                        Scanned::Need(request) => return Ok(Turn::Read(request)),
                        Scanned::Batch { header, bytes, .. } => {
                            self.bytes_checked += bytes.len() as u64;
                            segment.note_timestamp(header.max_timestamp, header.last_offset());
                        }
                        Scanned::Damaged { .. } => {
                            // Whether this is a torn end or worse, the pass decides.
                            found.rebuild = true;
                            break;
                        }
                        Scanned::End => {
                            segment.size = scan.at;
                            self.directory.log_end = Some(scan.next_offset);
                            break;
                        }
                    }
                }
                self.phase = Phase::Snapshots;
            }
        }
        Ok(Turn::Again)
    }

    /// Finds the newest sound snapshot that the pass can begin with.
    fn snapshots(
        &mut self,
        read: Option<Bytes>,
        out: &mut Vec<Effect>,
    ) -> Result<Turn, RecoveryError> {
        let first_rebuilt = self.segments.iter().find(|found| found.rebuild);
        let first_rebuilt = first_rebuilt.map(|found| {
            let anchor = found.anchor.map(|anchor| anchor.offset);
            anchor.unwrap_or(found.segment.base)
        });
        let below = first_rebuilt.or(self.directory.log_end).unwrap_or(i64::MAX);
        let newest = self.directory.newest_snapshot(below);
        let (from, producers) = match (newest, read) {
            (None, _) => (None, Producers::default()),
            (Some((offset, len)), None) if len <= PRODUCER_SNAPSHOT_BYTES_MAX => {
                return Ok(Turn::Read(whole(
                    FileName::ProducerSnapshot(offset),
                    len,
                    PRODUCER_SNAPSHOT_BYTES_MAX,
                )?));
            }
            (Some((offset, _)), bytes) => match snapshot::parse(&bytes.unwrap_or_default()) {
                Ok(entries) => {
                    let expiration = self.config.producer_id_expiration;
                    (
                        Some(offset),
                        Producers::from_snapshot(entries, self.now, expiration),
                    )
                }
                Err(_) => {
                    marks::PRODUCER_SNAPSHOT_BROKEN.reach();
                    self.directory
                        .remove(FileName::ProducerSnapshot(offset), out);
                    // An anchor is worth nothing without its snapshot.
                    self.segments
                        .iter_mut()
                        .for_each(|found| found.anchor = None);
                    return Ok(Turn::Again);
                }
            },
        };
        let first = self.segments.first().map_or(0, |found| found.segment.base);
        let from = from.unwrap_or(first);
        self.phase = Phase::Pass(Box::new(Pass::new(from, producers)));
        Ok(Turn::Again)
    }
}

impl Found {
    fn take_tail(&mut self, part: Part, len: u64, tail: &[u8]) {
        let segment = &mut self.segment;
        match part {
            Part::Offsets => match index::offset::check_tail(len, tail, segment.base) {
                Ok(last) if last.is_none_or(|last| u64::from(last.position) < segment.size) => {
                    segment.offsets = Tail::in_file(len / OFFSET_INDEX_ENTRY_BYTES as u64, last);
                }
                _ => self.rebuild = true,
            },
            Part::Times => match index::time::check_tail(len, tail, segment.base) {
                Ok(last) => {
                    segment.times = Tail::in_file(len / TIME_INDEX_ENTRY_BYTES as u64, last);
                    if let Some(last) = last {
                        segment.largest = last;
                    }
                }
                Err(_) => self.rebuild = true,
            },
        }
    }
}

/// A read of a whole small file.
fn whole(file: FileName, len: u64, max: u64) -> Result<Request, RecoveryError> {
    match usize::try_from(len) {
        Ok(small) if len <= max => Ok(Request {
            file,
            mark: None,
            at: 0,
            len: small,
        }),
        _ => Err(RecoveryError::TooLarge {
            file,
            got: len,
            max,
        }),
    }
}

/// Which snapshots are kept: one for each segment, and the newest (Kafka's `removeStraySnapshots`).
fn stray_snapshots(snapshots: &BTreeSet<i64>, segments: &VecDeque<Segment>) -> Vec<i64> {
    let newest = snapshots.last().copied();
    let is_base = |offset| {
        segments
            .binary_search_by_key(&offset, Segment::base_offset)
            .is_ok()
    };
    snapshots
        .iter()
        .copied()
        .filter(|&offset| Some(offset) != newest && !is_base(offset))
        .collect()
}
