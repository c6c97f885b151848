//! Snapshots of the metadata log: `OFFSET-EPOCH.checkpoint` (KIP-630), and `bootstrap.checkpoint`,
//! which has the same form.
//!
//! A snapshot is a log of its own: a control batch with the header (and the quorum's voters), the
//! records, a control batch with the footer. It is written beside its name and renamed once it is
//! durable, so one that has its name is whole.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use ottla_io::{Disk, File, OpenMode};
use ottla_wire::{
    metadata::MetadataRecord,
    raft::{SnapshotFooterRecord, SnapshotHeaderRecord},
    records::ControlRecord,
};

use super::records::{EncodeBatchError, encode_batch, encode_control};

/// The end of a snapshot's name.
const SUFFIX: &str = ".checkpoint";
/// The end of the name of one that is being written.
pub(super) const PART_SUFFIX: &str = ".part";
/// How many records go into one batch of a snapshot.
const RECORDS_PER_BATCH: usize = 4096;

/// Which snapshot: what is in it is everything below `end_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The offset after the last record in it.
    pub end_offset: i64,
    /// The epoch of that record.
    pub epoch: i32,
}

impl SnapshotId {
    /// The snapshot of an empty log, which a dynamic quorum is formatted with.
    pub const EMPTY: Self = Self {
        end_offset: 0,
        epoch: 0,
    };

    /// The file's name.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end_offset, self.epoch)
    }

    /// What a file's name says; `None` if it is no snapshot's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        if offset.len() != 20 || epoch.len() != 10 {
            return None;
        }
        Some(Self {
            end_offset: offset.parse().ok()?,
            epoch: epoch.parse().ok()?,
        })
    }
}

/// Why a snapshot cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its records cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeBatchError),
    /// The disk refuses.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// What goes into a snapshot.
#[derive(Clone, Debug)]
pub(super) struct SnapshotContents {
    /// The timestamp of the last record in it; 0 for a bootstrap file.
    pub last_contained_timestamp: i64,
    /// The quorum's own records.
    pub quorum: Vec<ControlRecord>,
    /// The records.
    pub records: Vec<MetadataRecord>,
    /// The version that decides the records' versions.
    pub metadata_version: i16,
}

/// The batches of a snapshot, in order.
pub(super) fn encode_snapshot(
    contents: &SnapshotContents,
    epoch: i32,
    now: i64,
) -> Result<Vec<Bytes>, EncodeBatchError> {
    let header = SnapshotHeaderRecord {
        last_contained_log_timestamp: contents.last_contained_timestamp,
        ..Default::default()
    };
    let mut head = vec![ControlRecord::SnapshotHeader(header)];
    head.extend(contents.quorum.iter().cloned());
    let mut batches = vec![encode_control(&head, 0, epoch, now)?];
    let mut offset = i64::try_from(head.len()).unwrap_or(i64::MAX);
    for records in contents.records.chunks(RECORDS_PER_BATCH) {
        batches.push(encode_batch(
            records,
            contents.metadata_version,
            offset,
            epoch,
            now,
        )?);
        offset += i64::try_from(records.len()).unwrap_or(i64::MAX);
    }
    let footer = ControlRecord::SnapshotFooter(SnapshotFooterRecord::default());
    batches.push(encode_control(&[footer], offset, epoch, now)?);
    Ok(batches)
}

/// Writes a snapshot so that it has its name only once it is whole and durable.
pub(super) async fn write_snapshot<D: Disk>(
    disk: &D,
    path: &Path,
    contents: &SnapshotContents,
    epoch: i32,
    now: i64,
) -> Result<(), SnapshotError> {
    let batches = encode_snapshot(contents, epoch, now)?;
    let mut part = path.as_os_str().to_owned();
    part.push(PART_SUFFIX);
    let part = PathBuf::from(part);
    let write = async {
        let file = disk.open(&part, OpenMode::Create).await?;
        file.truncate(0).await?;
        let mut at = 0;
        for batch in batches {
            let len = batch.len() as u64;
            file.write_at(at, vec![batch]).await?;
            at += len;
        }
        file.sync_data().await?;
        disk.rename(&part, path).await?;
        match path.parent() {
            Some(folder) => disk.sync_dir(folder).await,
            None => Ok(()),
        }
    };
    let written = write.await;
    if written.is_err() {
        // On a full disk what is there of it would only take room. It may not be there at all.
        let _ = disk.remove_file(&part).await;
    }
    written.map_err(|source| SnapshotError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The snapshots in a folder, oldest first; none if the folder is not there.
pub async fn list_snapshots<D: Disk>(disk: &D, folder: &Path) -> io::Result<Vec<SnapshotId>> {
    let entries = match disk.list(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found: Vec<_> = entries
        .iter()
        .filter_map(|e| SnapshotId::parse(&e.name))
        .collect();
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshots_name_is_kafkas() {
        let id = SnapshotId {
            end_offset: 1510,
            epoch: 3,
        };
        assert_eq!(id.file_name(), "00000000000000001510-0000000003.checkpoint");
        assert_eq!(SnapshotId::parse(&id.file_name()), Some(id));
        for other in [
            "bootstrap.checkpoint",
            "1-2.checkpoint",
            "00000000000000001510.snapshot",
        ] {
            assert_eq!(SnapshotId::parse(other), None, "{other}");
        }
    }
}
