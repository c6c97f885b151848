//! Loading what a metadata directory holds: the newest snapshot, then the log after it.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use ottla_core::{
    controller::{Controller, Input},
    metadata::ReplayError,
    time::Now,
};
use ottla_io::{Disk, Io};
use ottla_wire::{metadata::MetadataRecord, raft::VotersRecord, records::ControlRecord};

use super::{
    format::BOOTSTRAP,
    records::{DecodeBatchError, LogRecord, decode_batches},
    snapshot::{PART_SUFFIX, SnapshotId, list_snapshots},
};
use crate::storage::{Isolation, PartitionHandle, ReadError};

/// How much of the log is read at once.
const READ_BYTES: usize = 4 << 20;

/// Why a metadata directory cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The log is there and could not be opened: what was wrong was told when it was tried.
    #[error("{0}: the metadata log cannot be opened")]
    Offline(PathBuf),
    /// What is in it cannot be understood.
    #[error("{path}: {error}")]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        error: DecodeBatchError,
    },
    /// A record speaks of what is not there.
    #[error("{path}: the record at offset {offset}: {error}")]
    Replay {
        /// The file or folder.
        path: PathBuf,
        /// The record's offset.
        offset: i64,
        /// What is wrong.
        error: ReplayError,
    },
    /// A snapshot has no footer: it is not whole.
    #[error("{path} ends before its footer")]
    NoFooter {
        /// The file.
        path: PathBuf,
    },
    /// The log ends before the end of the newest snapshot: what was written after it would be lost in
    /// the same offsets.
    #[error("the log ends at {log_end}, the snapshot at {snapshot_end}")]
    Short {
        /// Where the log ends.
        log_end: i64,
        /// Where the snapshot ends.
        snapshot_end: i64,
    },
    /// The log gives nothing below its end.
    #[error("the log gives nothing at {offset}, below its end at {log_end}")]
    Unreadable {
        /// Where it was read.
        offset: i64,
        /// Where it ends.
        log_end: i64,
    },
    /// The log begins after the end of the newest snapshot.
    #[error("the log begins at {log_start}, the newest snapshot ends at {snapshot_end}")]
    Gap {
        /// Where the log begins.
        log_start: i64,
        /// Where the snapshot ends.
        snapshot_end: i64,
    },
    /// The log cannot be read.
    #[error("the metadata log: {0}")]
    Log(#[from] ReadError),
}

/// Why one record stops the loading.
enum Stop {
    Decode(DecodeBatchError),
    Replay { offset: i64, error: ReplayError },
}

impl From<DecodeBatchError> for Stop {
    fn from(error: DecodeBatchError) -> Self {
        Self::Decode(error)
    }
}

impl Stop {
    fn at(self, path: PathBuf) -> LoadError {
        match self {
            Self::Decode(error) => LoadError::Damaged { path, error },
            Self::Replay { offset, error } => LoadError::Replay {
                path,
                offset,
                error,
            },
        }
    }
}

/// What was found beside the image, which is in the controller.
#[derive(Clone, Debug, Default)]
pub(super) struct Loaded {
    /// The newest voters that are written down; `None` for a static quorum.
    pub voters: Option<VotersRecord>,
    /// Whether they are in the log, and not only in the snapshot of the formatting.
    pub voters_in_log: bool,
    /// The highest epoch in the log and its snapshots.
    pub epoch: i32,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotId>,
    /// The latest timestamp.
    pub timestamp: i64,
    /// The offset after the last record.
    pub next_offset: i64,
}

impl Loaded {
    fn control(&mut self, record: ControlRecord, in_log: bool) {
        if let ControlRecord::KRaftVoters(voters) = record {
            self.voters = Some(voters);
            self.voters_in_log |= in_log;
        }
    }
}

/// Feeds one run of batches to the controller. True if a snapshot's footer was among them.
fn feed(
    controller: &mut Controller,
    loaded: &mut Loaded,
    bytes: Bytes,
    snapshot: Option<SnapshotId>,
    from: i64,
) -> Result<bool, Stop> {
    let mut footer = false;
    let decoded = decode_batches(bytes, |offset, record| match record {
        _ if offset < from => Ok(()),
        LogRecord::Control(control) => {
            footer |= matches!(control, ControlRecord::SnapshotFooter(_));
            loaded.control(control, snapshot.is_none_or(|id| id > SnapshotId::EMPTY));
            Ok(())
        }
        LogRecord::Metadata(record) => {
            // A snapshot's records count as the one before its end.
            let offset = snapshot.map_or(offset, |id| id.end_offset - 1);
            let input = Input::Replay { offset, record };
            let step = controller.step(Now::default(), input, &mut Vec::new());
            step.map_err(|error| Stop::Replay { offset, error })
        }
    })?;
    if let Some(decoded) = decoded {
        loaded.epoch = loaded.epoch.max(decoded.epoch);
        loaded.timestamp = loaded.timestamp.max(decoded.timestamp);
        if snapshot.is_none() {
            loaded.next_offset = decoded.next_offset;
        }
    }
    Ok(footer)
}

/// Replays the newest snapshot of `folder` that is sound, if there is one, onto a controller that
/// `new` makes. One that is damaged is passed over with a warning: an older one is kept for that.
pub(super) async fn load_snapshot<I: Io>(
    io: &I,
    folder: PathBuf,
    new: impl Fn() -> Controller,
) -> Result<(Controller, Loaded), LoadError> {
    remove_parts(io, &folder).await;
    let found = list_snapshots(io.disk(), &folder).await;
    let found = found.map_err(|source| LoadError::Io {
        path: folder.clone(),
        source,
    })?;
    let mut newest_error = None;
    for &id in found.iter().rev() {
        let (mut controller, mut loaded) = (new(), Loaded::default());
        let path = folder.join(id.file_name());
        match replay_snapshot(io, path, id, &mut controller, &mut loaded).await {
            Ok(()) => return Ok((controller, loaded)),
            // The disk may give it another time.
            Err(error @ LoadError::Io { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a damaged metadata snapshot is passed over");
                newest_error.get_or_insert(error);
            }
        }
    }
    match newest_error {
        Some(error) => Err(error),
        None => Ok((new(), Loaded::default())),
    }
}

/// Removes snapshots that were not written to their end.
async fn remove_parts<I: Io>(io: &I, folder: &Path) {
    let Ok(entries) = io.disk().list(folder).await else {
        return;
    };
    for entry in entries {
        let part = entry.name.strip_suffix(PART_SUFFIX);
        if part.and_then(SnapshotId::parse).is_none() {
            continue;
        }
        let path = folder.join(&entry.name);
        if let Err(error) = io.disk().remove_file(&path).await {
            tracing::warn!(path = %path.display(), %error, "an unfinished snapshot cannot be removed");
        }
    }
}

async fn replay_snapshot<I: Io>(
    io: &I,
    path: PathBuf,
    id: SnapshotId,
    controller: &mut Controller,
    loaded: &mut Loaded,
) -> Result<(), LoadError> {
    let bytes = io.disk().read(&path).await;
    let bytes = bytes.map_err(|source| LoadError::Io {
        path: path.clone(),
        source,
    })?;
    let footer = feed(controller, loaded, bytes, Some(id), 0).map_err(|s| s.at(path.clone()))?;
    if !footer {
        return Err(LoadError::NoFooter { path });
    }
    loaded.snapshot = Some(id);
    loaded.epoch = loaded.epoch.max(id.epoch);
    loaded.next_offset = id.end_offset;
    Ok(())
}

/// Replays the log from the end of the snapshot on.
pub(super) async fn load_log<I: Io>(
    log: &PartitionHandle<I>,
    folder: PathBuf,
    controller: &mut Controller,
    loaded: &mut Loaded,
) -> Result<(), LoadError> {
    // A log that could not be opened is not an empty one: all topics would be taken for deleted.
    let offsets = log
        .opened()
        .ok_or_else(|| LoadError::Offline(folder.clone()))?;
    let (log_start, log_end) = (offsets.log_start, offsets.log_end);
    if log_start > loaded.next_offset {
        return Err(LoadError::Gap {
            log_start,
            snapshot_end: loaded.next_offset,
        });
    }
    if log_end < loaded.next_offset {
        return Err(LoadError::Short {
            log_end,
            snapshot_end: loaded.next_offset,
        });
    }
    while loaded.next_offset < log_end {
        let from = loaded.next_offset;
        let bytes = log.read_from(from, READ_BYTES, Isolation::LogEnd).await?;
        if bytes.is_empty() {
            return Err(LoadError::Unreadable {
                offset: from,
                log_end,
            });
        }
        feed(controller, loaded, bytes, None, from).map_err(|stop| stop.at(folder.clone()))?;
    }
    Ok(())
}

/// The records of the bootstrap file; none if it is not there.
pub(super) async fn load_bootstrap<I: Io>(
    io: &I,
    directory: &std::path::Path,
) -> Result<Vec<MetadataRecord>, LoadError> {
    let path = directory.join(BOOTSTRAP);
    let bytes = match io.disk().read(&path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(LoadError::Io { path, source }),
    };
    let mut records = Vec::new();
    decode_batches(bytes, |_, record| {
        if let LogRecord::Metadata(record) = record {
            records.push(record);
        }
        Ok::<_, DecodeBatchError>(())
    })
    .map_err(|error| LoadError::Damaged { path, error })?;
    Ok(records)
}
