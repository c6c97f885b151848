//! Formatting: what `kafka-storage.sh format --standalone` puts into an empty directory, beside the
//! `meta.properties` that [`crate::storage`] writes.

use std::{
    io,
    path::{Path, PathBuf},
};

use ottla_core::metadata::features;
use ottla_io::{Disk, Io};
use ottla_wire::{
    Str, Uuid,
    metadata::{FeatureLevelRecord, MetadataRecord},
};

use super::{
    quorum::{ControllerEndpoint, quorum_records, voters_of_one},
    snapshot::{SnapshotContents, SnapshotError, SnapshotId, write_snapshot},
};

/// The file with the records that a new cluster begins with.
pub const BOOTSTRAP: &str = "bootstrap.checkpoint";
/// The metadata partition's folder.
pub const METADATA_FOLDER: &str = "__cluster_metadata-0";

/// The records that a new cluster of 4.3 begins with: the level of each feature.
#[must_use]
pub fn bootstrap_records() -> Vec<MetadataRecord> {
    let level = |feature: &features::Feature| {
        FeatureLevelRecord {
            name: Str::from_static(feature.name),
            feature_level: feature.default_level,
            ..Default::default()
        }
        .into()
    };
    features::FINALIZED.iter().map(level).collect()
}

/// What a metadata directory is formatted for.
#[derive(Clone, Debug)]
pub struct FormatSettings {
    /// `metadata.log.dir`.
    pub directory: PathBuf,
    /// `node.id`.
    pub node_id: i32,
    /// The directory's id, from its `meta.properties`.
    pub directory_id: Uuid,
    /// Where the controller is reached; `None` formats for a static quorum
    /// (`controller.quorum.voters`).
    pub endpoint: Option<ControllerEndpoint>,
}

/// Formats a metadata directory, unless it is formatted or was run. True if it did.
pub async fn format_if_needed<I: Io>(
    io: &I,
    settings: &FormatSettings,
) -> Result<bool, SnapshotError> {
    let disk = io.disk();
    let folder = settings.directory.join(METADATA_FOLDER);
    let bootstrap = settings.directory.join(BOOTSTRAP);
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| SnapshotError::Io { path, source }
    };
    if exists(disk, &bootstrap).await.map_err(fail(&bootstrap))?
        || has_log(disk, &folder).await.map_err(fail(&folder))?
    {
        return Ok(false);
    }
    disk.create_dir_all(&folder).await.map_err(fail(&folder))?;
    disk.sync_dir(&settings.directory)
        .await
        .map_err(fail(&settings.directory))?;
    let now = io.now().wall.0;
    if let Some(endpoint) = &settings.endpoint {
        let voters = voters_of_one(settings.node_id, settings.directory_id, endpoint);
        let contents = SnapshotContents {
            last_contained_timestamp: now,
            quorum: quorum_records(Some(&voters)),
            records: Vec::new(),
            metadata_version: features::METADATA_VERSION_LATEST,
        };
        let path = folder.join(SnapshotId::EMPTY.file_name());
        write_snapshot(disk, &path, &contents, 0, now).await?;
    }
    // The bootstrap file comes last: while it is missing, the formatting is done anew.
    let contents = SnapshotContents {
        last_contained_timestamp: 0,
        quorum: Vec::new(),
        records: bootstrap_records(),
        metadata_version: features::METADATA_VERSION_LATEST,
    };
    write_snapshot(disk, &bootstrap, &contents, 0, now).await?;
    Ok(true)
}

async fn exists<D: Disk>(disk: &D, path: &Path) -> io::Result<bool> {
    match disk.metadata(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a metadata log has anything in it.
async fn has_log<D: Disk>(disk: &D, folder: &Path) -> io::Result<bool> {
    match disk.list(folder).await {
        Ok(entries) => Ok(entries
            .iter()
            .any(|e| e.name.ends_with(".log") && e.len > 0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
