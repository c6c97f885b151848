//! One log directory: its lock, its `meta.properties`, its clean-shutdown marker.
//!
//! `meta.properties` (version 1, KIP-631 and KIP-858) names the cluster, the node and the directory
//! itself, so that a disk put into the wrong machine is noticed before anything is written to it.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ottla_core::{
    log::checkpoint::{self, MetaProperties},
    partition::TopicPartition,
};
use ottla_io::{Disk, Io};

use super::{
    OpenError, StorageSettings, Uuid, checkpoints,
    folders::{self, Folder, METADATA_TOPIC},
};

const META_PROPERTIES: &str = "meta.properties";
const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// What a format leaves in the metadata directory.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// What a log directory shows before anything in it is touched.
pub(super) struct Survey {
    path: PathBuf,
    /// Whether it has a `meta.properties`.
    formatted: bool,
    /// Whether a broker has run on it, and not merely formatted it.
    used: bool,
    /// Whether the metadata log lies in it.
    has_metadata: bool,
}

impl Survey {
    /// Looks at a directory. One that is not there is as an empty one.
    pub(super) async fn of<I: Io>(io: &I, path: &Path) -> Result<Self, OpenError> {
        let entries = match io.disk().list(path).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(OpenError::Unwritable {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let mut survey = Self {
            path: path.to_owned(),
            formatted: false,
            used: false,
            has_metadata: false,
        };
        for entry in entries {
            let name = entry.name.as_str();
            if !entry.is_dir {
                survey.formatted |= name == META_PROPERTIES;
                survey.used |= name == BOOTSTRAP || checkpoints::NAMES.contains(&name);
            } else if let Folder::Partition(partition) = folders::parse(name) {
                survey.used = true;
                survey.has_metadata |= partition.topic.as_ref() == METADATA_TOPIC;
            }
        }
        Ok(survey)
    }
}

/// Refuses directories that are not the ones this node ran on, as far as that shows.
pub(super) fn check_surveys(
    surveys: &[Survey],
    metadata_dir: Option<&PathBuf>,
) -> Result<(), OpenError> {
    let astray = |survey: &&Survey| survey.has_metadata && Some(&survey.path) != metadata_dir;
    if let (Some(astray), Some(expected)) = (surveys.iter().find(astray), metadata_dir) {
        return Err(OpenError::MetadataElsewhere {
            path: astray.path.clone(),
            expected: expected.clone(),
        });
    }
    let used = surveys.iter().find(|survey| survey.used);
    let missing = surveys.iter().find(|survey| !survey.formatted);
    match (used, missing) {
        (Some(used), Some(missing)) => Err(OpenError::Missing {
            path: missing.path.clone(),
            other: used.path.clone(),
        }),
        _ => Ok(()),
    }
}

/// A directory that is locked and belongs to this node.
pub(super) struct Directory<I: Io> {
    pub(super) path: PathBuf,
    pub(super) id: Uuid,
    pub(super) cluster_id: String,
    /// Whether the process that had it before closed it in good order.
    pub(super) was_clean: bool,
    /// Held while its checkpoints are written.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Partitions that are gone, and of which the checkpoints may still speak.
    stale: Mutex<BTreeSet<TopicPartition>>,
    /// Held for as long as the storage is open.
    lock: Mutex<Option<<I::Disk as Disk>::Lock>>,
}

impl<I: Io> Directory<I> {
    /// Locks the directory and checks, or writes, what it says of itself. `cluster_id` is the
    /// cluster it must belong to, if that is known.
    pub(super) async fn open(
        io: &I,
        path: &Path,
        settings: &StorageSettings,
        cluster_id: Option<&str>,
    ) -> Result<Self, OpenError> {
        let disk = io.disk();
        let unwritable = |source| OpenError::Unwritable {
            path: path.to_owned(),
            source,
        };
        disk.create_dir_all(path).await.map_err(unwritable)?;
        let lock = disk
            .lock(&path.join(LOCK))
            .await
            .map_err(|source| match source.kind() {
                ErrorKind::WouldBlock => OpenError::InUse {
                    path: path.to_owned(),
                },
                _ => unwritable(source),
            })?;
        let file = path.join(META_PROPERTIES);
        let identity = match disk.read(&file).await {
            Ok(contents) => checkpoint::parse_meta_properties(&contents).map_err(|error| {
                OpenError::BadMetaProperties {
                    path: file.clone(),
                    error,
                }
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !settings.format_if_empty {
                    return Err(OpenError::NotFormatted {
                        path: path.to_owned(),
                    });
                }
                sync_ancestors(disk, path).await.map_err(unwritable)?;
                let identity = MetaProperties {
                    cluster_id: cluster_id
                        .map_or_else(|| random_uuid(io).to_string(), ToOwned::to_owned),
                    node_id: settings.node_id,
                    directory_id: Some(random_uuid(io).to_string()),
                };
                let contents = checkpoint::format_meta_properties(&identity);
                disk.replace(&file, contents).await.map_err(unwritable)?;
                identity
            }
            Err(source) => return Err(OpenError::Io { path: file, source }),
        };
        if let Some(expected) = cluster_id.filter(|id| *id != identity.cluster_id) {
            return Err(OpenError::OtherCluster {
                path: path.to_owned(),
                expected: expected.to_owned(),
                got: identity.cluster_id,
            });
        }
        if identity.node_id != settings.node_id {
            return Err(OpenError::OtherNode {
                path: path.to_owned(),
                expected: settings.node_id,
                got: identity.node_id,
            });
        }
        let was_clean = take_marker(disk, path).await?;
        Ok(Self {
            path: path.to_owned(),
            id: identity
                .directory_id
                .and_then(|id| id.parse().ok())
                .unwrap_or(Uuid::MIGRATING_DIR),
            cluster_id: identity.cluster_id,
            was_clean,
            writing: tokio::sync::Mutex::new(()),
            stale: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Partitions that are gone since the checkpoints were last written. Another one of such a name may
    /// only be made when they have been written again.
    pub(super) fn stale(&self) -> MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the directory go, so that another process may have it.
    pub(super) fn unlock(&self) {
        self.lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Leaves word that everything in the directory was synced and closed. `broker_epoch` is -1
    /// for a node that knows none (KIP-966).
    pub(super) async fn mark_clean(&self, io: &I, broker_epoch: i64) -> std::io::Result<()> {
        let contents = checkpoint::format_clean_shutdown(broker_epoch);
        io.disk()
            .replace(&self.path.join(CLEAN_SHUTDOWN), contents)
            .await
    }
}

/// Looks for the clean-shutdown marker and removes it: it holds for one start only.
async fn take_marker<D: Disk>(disk: &D, path: &Path) -> Result<bool, OpenError> {
    let marker = path.join(CLEAN_SHUTDOWN);
    let taken = match disk.remove_file(&marker).await {
        Ok(()) => disk.sync_dir(path).await.map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    taken.map_err(|source| OpenError::Io {
        path: marker,
        source,
    })
}

pub(super) fn random_uuid<I: Io>(io: &I) -> Uuid {
    let mut bytes = [0; 16];
    io.fill_random(&mut bytes);
    Uuid::from_random(bytes)
}

/// Makes the name of a new log directory durable, and the names of the folders made for it. Without
/// this a power loss could take the directory away with everything that was synced in it.
async fn sync_ancestors<D: Disk>(disk: &D, path: &Path) -> std::io::Result<()> {
    for folder in path.ancestors().skip(1) {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        match disk.sync_dir(folder).await {
            // A folder that may not be read was not made by us.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => break,
            result => result?,
        }
    }
    Ok(())
}
