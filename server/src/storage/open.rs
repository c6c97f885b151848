//! Opening the log directories and recovering what is in them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
};

use futures_util::{StreamExt, stream};
use ottla_core::{limits, partition::TopicPartition};
use ottla_io::{Disk, Io};

use super::{
    OpenError, Shared, Storage, StorageSettings,
    cell::{Cell, Identity, NOTHING_IS_CUT},
    checkpoints::Checkpoints,
    directory::{Directory, Survey, check_surveys},
    files::OpenFiles,
    folders::{self, Folder},
    recovery,
};

/// A partition's folder that was found.
struct Found {
    name: TopicPartition,
    directory: usize,
}

impl<I: Io> Storage<I> {
    /// Locks and loads the log directories and recovers their partitions. No partition has a leader
    /// yet: [`Storage::set_leader`] says so once the metadata is known. A partition that cannot be
    /// recovered is there, offline, and tried again if the disk alone failed; the others work.
    pub async fn open(io: I, settings: StorageSettings) -> Result<Self, OpenError> {
        let directories = open_directories(&io, &settings).await?;
        let cluster_id = directories
            .first()
            .map(|directory| directory.cluster_id.clone())
            .unwrap_or_default();
        let open_files_max = settings.open_files_max.unwrap_or_else(|| {
            let half = io.disk().open_files_max() / 2;
            half.clamp(limits::OPEN_FILES_MIN, limits::OPEN_FILES_MAX)
        });
        let files = Arc::new(OpenFiles::new(io.clone(), open_files_max));
        let shared = Arc::new(Shared {
            io,
            cluster_id,
            directories,
            files,
            partitions: Default::default(),
            topics: Default::default(),
            next_number: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            changing: tokio::sync::Mutex::new(()),
            background: Default::default(),
            settings,
        });
        let (found, checkpoints) = shared.look_around().await?;
        shared.recover(found, &checkpoints).await;
        // What recovery found out need not be found out again.
        for index in 0..shared.directories.len() {
            shared
                .checkpoint(index)
                .await
                .map_err(|source| OpenError::Io {
                    path: shared.directories[index].path.clone(),
                    source,
                })?;
        }
        let keeper = keep_checkpoints(Arc::downgrade(&shared), shared.io.clone());
        let keeper = shared.io.spawn("checkpoints", keeper);
        shared.background().push(keeper);
        Ok(Self { shared })
    }
}

async fn open_directories<I: Io>(
    io: &I,
    settings: &StorageSettings,
) -> Result<Vec<Directory<I>>, OpenError> {
    let mut paths = settings.log_dirs.clone();
    if let Some(path) = settings
        .metadata_log_dir
        .clone()
        .filter(|path| !paths.contains(path))
    {
        paths.push(path);
    }
    let mut surveys = Vec::with_capacity(paths.len());
    for path in &paths {
        surveys.push(Survey::of(io, path).await?);
    }
    let metadata_dir = settings.metadata_log_dir.as_ref().or(paths.first());
    check_surveys(&surveys, metadata_dir)?;
    let mut directories: Vec<Directory<I>> = Vec::with_capacity(paths.len());
    for path in paths {
        // All directories belong to one cluster: the configured one, or the first directory's.
        let cluster_id = settings
            .cluster_id
            .as_deref()
            .or(directories.first().map(|d| d.cluster_id.as_str()));
        let directory = Directory::open(io, &path, settings, cluster_id).await?;
        if let Some(other) = directories.iter().find(|other| other.id == directory.id) {
            return Err(OpenError::SameDirectory {
                path,
                other: other.path.clone(),
            });
        }
        directories.push(directory);
    }
    Ok(directories)
}

impl<I: Io> Shared<I> {
    /// Finds the partitions' folders and reads the checkpoints.
    async fn look_around(&self) -> Result<(Vec<Found>, Vec<Checkpoints>), OpenError> {
        let mut found: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        let mut checkpoints = Vec::with_capacity(self.directories.len());
        for (index, directory) in self.directories.iter().enumerate() {
            let failed = |source| OpenError::Io {
                path: directory.path.clone(),
                source,
            };
            checkpoints.push(directory.read_checkpoints(&self.io).await.map_err(failed)?);
            for entry in self.io.disk().list(&directory.path).await.map_err(failed)? {
                if !entry.is_dir {
                    continue;
                }
                match folders::parse(&entry.name) {
                    Folder::Other => {}
                    Folder::Deleted => {
                        folders::remove(&self.io, &directory.path.join(&entry.name)).await;
                    }
                    Folder::Partition(name) => {
                        if let Some(other) = found.insert(name.clone(), index) {
                            return Err(OpenError::TwicePresent {
                                name,
                                path: directory.path.clone(),
                                other: self.directories[other].path.clone(),
                            });
                        }
                    }
                }
            }
        }
        let found = found
            .into_iter()
            .map(|(name, directory)| Found { name, directory })
            .collect();
        Ok((found, checkpoints))
    }

    /// Recovers the partitions, several of each directory at once.
    async fn recover(&self, found: Vec<Found>, checkpoints: &[Checkpoints]) {
        let begun = self.io.now().monotonic;
        let at_once = self.settings.recovery_threads_per_data_dir.max(1) * self.directories.len();
        let count = found.len();
        // Turn by turn from each directory, so that all disks are busy.
        let mut queues: Vec<VecDeque<Found>> =
            self.directories.iter().map(|_| VecDeque::new()).collect();
        for found in found {
            queues[found.directory].push_back(found);
        }
        let mut turns = Vec::with_capacity(count);
        while turns.len() < count {
            turns.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
        }
        let opened = stream::iter(turns.into_iter().map(|found| {
            let directory = &self.directories[found.directory];
            let known = checkpoints[found.directory].known(
                &found.name.topic,
                found.name.partition,
                directory.was_clean,
            );
            let place = self.place(directory.path.join(found.name.to_string()));
            let config = if found.name.topic.as_ref() == folders::METADATA_TOPIC {
                self.settings.metadata_config.clone()
            } else {
                self.settings.default_config.clone()
            };
            let node_id = self.settings.node_id;
            // A task of its own: checking checksums is work for a processor.
            self.io.spawn("recover-partition", async move {
                let topic = recovery::identity(&place).await;
                let machine =
                    recovery::open(&place, &found.name, node_id, config.clone(), known).await;
                let mut again = false;
                let machine = match machine {
                    Ok(_) if topic == Identity::Unreadable => {
                        tracing::error!(
                            partition = %found.name, folder = %place.folder.display(),
                            "partition.metadata cannot be read: the partition stays offline"
                        );
                        None
                    }
                    Ok(machine) => Some(machine),
                    Err(error) => {
                        again = error.may_pass() && topic != Identity::Unreadable;
                        let then = if again {
                            "is tried again"
                        } else {
                            "stays offline"
                        };
                        tracing::error!(
                            partition = %found.name, folder = %place.folder.display(), %error,
                            "a partition cannot be opened: it {then}"
                        );
                        None
                    }
                };
                let cell = Cell::new(found.name, topic, place, machine, config, known, node_id);
                if again {
                    cell.state().reopen = Some(NOTHING_IS_CUT);
                }
                (cell, found.directory)
            })
        }))
        .buffer_unordered(at_once)
        .collect::<Vec<_>>()
        .await;
        for (cell, directory) in opened.into_iter().flatten() {
            self.install(cell, directory);
        }
        let took = self.io.now().monotonic.since(begun);
        let clean = self.directories.iter().all(|directory| directory.was_clean);
        tracing::info!(
            partitions = count,
            clean,
            ?took,
            "the log directories are open"
        );
    }
}

/// Writes the checkpoints from time to time.
async fn keep_checkpoints<I: Io>(storage: Weak<Shared<I>>, io: I) {
    loop {
        let Some(interval) = storage
            .upgrade()
            .map(|shared| shared.settings.checkpoint_interval)
        else {
            return;
        };
        io.sleep(interval).await;
        let Some(shared) = storage.upgrade() else {
            return;
        };
        for index in 0..shared.directories.len() {
            if let Err(error) = shared.checkpoint(index).await {
                tracing::error!(
                    path = %shared.directories[index].path.display(), %error,
                    "the checkpoints cannot be written"
                );
            }
        }
    }
}
