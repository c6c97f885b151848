//! The log directories of this node and the partitions in them.
//!
//! A [`Storage`] holds every partition this node stores. Each is a machine of `ottla_core` (which
//! decides) behind a mutex, and one task (which performs what the machine asks for, in order); a
//! [`PartitionHandle`] is the door to one. The files are Kafka's, byte for byte: `meta.properties`,
//! `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`,
//! `replication-offset-checkpoint`, `.kafka_cleanshutdown`, and a folder per partition, so either
//! broker can start on the other's directory.
//!
//! After a crash, [`Storage::open`] checks what lies above each partition's recovery point, cuts the
//! torn tail, and says so in one line a partition.

mod cell;
mod checkpoints;
mod directory;
mod driver;
mod error;
mod files;
mod folders;
mod handle;
mod lanes;
mod list_offset;
mod open;
mod recovery;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::future::join_all;
use ottla_core::partition::{Answer, Input};
use ottla_io::{Io, Task};

pub use error::{CreateError, OpenError, ReadError};
pub use handle::{PartitionHandle, ReadPlan};
pub use ottla_core::{
    log::LogConfig,
    partition::{
        Acks, AppendError, AppendOptions, Appended, EpochEnd, FetchQuery, Isolation, ListedOffset,
        OffsetSpec, Offsets, Origin, ProducerView, QueryError, TopicPartition,
    },
};
pub use settings::{FlushPolicy, PartitionConfig, StorageSettings, TopicCompression, Uuid};

use self::{
    cell::{Cell, Identity, Leadership},
    directory::Directory,
    files::OpenFiles,
    lanes::{Place, as_millis},
};

/// All log directories of a node. Clones are the same storage.
pub struct Storage<I: Io> {
    shared: Arc<Shared<I>>,
}

impl<I: Io> Clone for Storage<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// A log directory as it is shown.
#[derive(Clone, Debug)]
pub struct DirectoryView {
    /// Its path.
    pub path: PathBuf,
    /// Its id, from `meta.properties`.
    pub id: Uuid,
    /// The partitions in it with the bytes of their logs; none while one is offline.
    pub partitions: Vec<(TopicPartition, Option<u64>)>,
}

struct Shared<I: Io> {
    io: I,
    cluster_id: String,
    settings: StorageSettings,
    directories: Vec<Directory<I>>,
    files: Arc<OpenFiles<I>>,
    partitions: Mutex<BTreeMap<TopicPartition, Partition<I>>>,
    /// The names of the topics that have partitions here.
    topics: Mutex<BTreeMap<Uuid, Arc<str>>>,
    /// Numbers partitions in the order in which they were opened.
    next_number: AtomicU64,
    /// The partitions are being closed: their last checkpoints are not to be written over.
    closed: AtomicBool,
    /// Held while a folder is made, renamed or removed.
    changing: tokio::sync::Mutex<()>,
    background: Mutex<Vec<Task<()>>>,
}

/// A partition that is held here.
struct Partition<I: Io> {
    cell: Arc<Cell<I>>,
    /// Which of the directories.
    directory: usize,
    task: Task<()>,
}

impl<I: Io> Drop for Shared<I> {
    /// Without a shutdown nothing is written any more, as when the process is killed.
    fn drop(&mut self) {
        for task in self
            .background
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
        {
            task.abort();
        }
        for partition in self
            .partitions
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            partition.task.abort();
            partition.cell.state().end();
        }
    }
}

impl<I: Io> Storage<I> {
    /// The cluster that `meta.properties` names.
    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    /// The log directories and what is in them.
    pub fn directories(&self) -> Vec<DirectoryView> {
        let partitions = self.shared.partitions();
        self.shared
            .directories
            .iter()
            .enumerate()
            .map(|(index, directory)| DirectoryView {
                path: directory.path.clone(),
                id: directory.id,
                partitions: partitions
                    .values()
                    .filter(|partition| partition.directory == index)
                    .map(|Partition { cell, .. }| {
                        let size = cell
                            .state()
                            .machine
                            .as_ref()
                            .map(|machine| machine.log().size());
                        (cell.name.clone(), size)
                    })
                    .collect(),
            })
            .collect()
    }

    /// The partition of that name, if this node holds it.
    pub fn get(&self, name: &TopicPartition) -> Option<PartitionHandle<I>> {
        let cell = Arc::clone(&self.shared.partitions().get(name)?.cell);
        Some(self.handle(cell))
    }

    /// The name of the topic with this id, if it has partitions here.
    pub fn topic_name(&self, id: Uuid) -> Option<Arc<str>> {
        self.shared.topics().get(&id).cloned()
    }

    /// Every partition, in the order of their names.
    pub fn iter(&self) -> Vec<PartitionHandle<I>> {
        let cells: Vec<_> = self
            .shared
            .partitions()
            .values()
            .map(|partition| Arc::clone(&partition.cell))
            .collect();
        cells.into_iter().map(|cell| self.handle(cell)).collect()
    }

    /// Makes a partition's folder and opens it as leader of `leader_epoch`. One that is there with
    /// the same topic id is given as it is, with the configuration and epoch set; one that is another
    /// topic's, or was never finished, is set aside.
    pub async fn create(
        &self,
        name: TopicPartition,
        topic_id: Uuid,
        config: impl Into<PartitionConfig> + Send,
        leader_epoch: i32,
    ) -> Result<PartitionHandle<I>, CreateError> {
        let config = config.into();
        let _changing = self.shared.changing.lock().await;
        let handle = match self.get(&name) {
            Some(handle) if handle.cell.is_of(topic_id) => {
                self.set_config(&name, config);
                handle
            }
            Some(handle) if handle.cell.topic == Identity::Unreadable => {
                return Err(CreateError::Unidentified { name });
            }
            found => {
                if found.is_some() {
                    // Its folder is in the way of the new one, and is set aside for that.
                    self.take_out(&name).await;
                }
                let directory = self.shared.place_for(&name);
                let made = self.shared.make(&name, topic_id, directory, config).await?;
                self.handle(made)
            }
        };
        self.set_leader(&name, leader_epoch);
        Ok(handle)
    }

    /// Renames a partition's folder to `topic-partition.uuid-delete`, fails what waits on it, and
    /// removes it later. True if there was one.
    pub async fn delete(&self, name: &TopicPartition) -> io::Result<bool> {
        let _changing = self.shared.changing.lock().await;
        let Some(cell) = self.take_out(name).await else {
            return Ok(false);
        };
        let delay = cell.place.delete_delay();
        self.shared.discard(&cell.place.folder, delay).await?;
        Ok(true)
    }

    /// Takes a partition out of service whose topic is not known any more, and renames its folder to
    /// `topic-partition.uuid-stray`, where it stays until somebody removes it, as at Kafka. True if
    /// there was one.
    pub async fn set_aside(&self, name: &TopicPartition) -> io::Result<bool> {
        let _changing = self.shared.changing.lock().await;
        let Some(cell) = self.take_out(name).await else {
            return Ok(false);
        };
        self.shared.set_aside(&cell.place.folder).await?;
        Ok(true)
    }

    /// Ends a partition and forgets it. `changing` is held.
    async fn take_out(&self, name: &TopicPartition) -> Option<Arc<Cell<I>>> {
        let partition = self.shared.partitions().remove(name)?;
        let Partition {
            cell,
            task,
            directory,
        } = partition;
        self.shared.directories[directory]
            .stale()
            .insert(name.clone());
        self.shared.forget_topic(&cell);
        cell.state().delete();
        cell.bell.notify_one();
        // What is under way ends first, so that nothing is written to a folder of that name later.
        let _ = task.await;
        self.shared.files.forget_all(cell.place.number);
        Some(cell)
    }

    /// Gives a partition another configuration. False if it is not here.
    pub fn set_config(&self, name: &TopicPartition, config: impl Into<PartitionConfig>) -> bool {
        let Some(PartitionHandle { cell, .. }) = self.get(name) else {
            return false;
        };
        let config = config.into();
        cell.place.configure(&config);
        cell.state().configure(&cell.place.io, config);
        cell.bell.notify_one();
        true
    }

    /// Makes this node leader of a partition from `leader_epoch` on. False if it is not here.
    pub fn set_leader(&self, name: &TopicPartition, leader_epoch: i32) -> bool {
        self.set_leadership(
            name,
            Leadership::Here {
                epoch: leader_epoch,
            },
        )
    }

    /// Makes this node a follower of `leader`. False if the partition is not here.
    pub fn set_follower(&self, name: &TopicPartition, leader_epoch: i32, leader: i32) -> bool {
        self.set_leadership(
            name,
            Leadership::Elsewhere {
                epoch: leader_epoch,
                leader,
            },
        )
    }

    fn set_leadership(&self, name: &TopicPartition, leadership: Leadership) -> bool {
        let Some(PartitionHandle { cell, .. }) = self.get(name) else {
            return false;
        };
        cell.state().leadership = Some(leadership);
        cell.tell(leadership.input());
        true
    }

    /// Closes every partition, writes the checkpoints and the clean-shutdown markers, and lets the
    /// directories go. What cannot be closed in good order is recovered at the next start.
    pub async fn shutdown(&self) {
        self.shutdown_as(-1).await;
    }

    /// As [`Storage::shutdown`], for a broker that was registered with this epoch: the markers say so,
    /// and a controller that knows the epoch can tell that this shutdown was the last (KIP-966).
    pub async fn shutdown_as(&self, broker_epoch: i64) {
        let _changing = self.shared.changing.lock().await;
        let background = std::mem::take(&mut *self.shared.background());
        for task in &background {
            task.abort();
        }
        self.shared.closed.store(true, Ordering::Release);
        let partitions = std::mem::take(&mut *self.shared.partitions());
        let closing = partitions.values().map(|partition| {
            let (_, answer) = partition.cell.ask(|from| Input::Close { from });
            async move { matches!(answer.await, Ok(Answer::Closed { clean: true })) }
        });
        let clean = join_all(closing).await;
        for (index, directory) in self.shared.directories.iter().enumerate() {
            let here = partitions
                .values()
                .zip(&clean)
                .filter(|(p, _)| p.directory == index);
            let (cells, closed): (Vec<_>, Vec<_>) =
                here.map(|(p, clean)| (Arc::clone(&p.cell), *clean)).unzip();
            let written = directory
                .write_checkpoints(&self.shared.io, || Some(cells))
                .await;
            let clean = written.is_ok() && closed.iter().all(|clean| *clean);
            let marked = match written {
                Ok(()) if clean => directory.mark_clean(&self.shared.io, broker_epoch).await,
                other => other,
            };
            if let Err(error) = marked {
                tracing::error!(path = %directory.path.display(), %error, "a log directory cannot be closed in good order");
            }
            directory.unlock();
        }
        for Partition { cell, task, .. } in partitions.into_values() {
            self.shared.files.forget_all(cell.place.number);
            cell.state().end();
            cell.bell.notify_one();
            let _ = task.await;
        }
    }

    fn handle(&self, cell: Arc<Cell<I>>) -> PartitionHandle<I> {
        PartitionHandle {
            cell,
            storage: Arc::downgrade(&self.shared),
        }
    }
}

impl<I: Io> Shared<I> {
    fn partitions(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Partition<I>>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn background(&self) -> MutexGuard<'_, Vec<Task<()>>> {
        self.background
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a partition's files are, or will be.
    fn place(&self, folder: PathBuf) -> Place<I> {
        Place {
            io: self.io.clone(),
            files: Arc::clone(&self.files),
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            folder,
            delete_delay: Arc::new(AtomicU64::new(as_millis(self.settings.delete_delay))),
        }
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<str>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a topic's id when its last partition is gone.
    fn forget_topic(&self, cell: &Cell<I>) {
        let first = TopicPartition::new(Arc::clone(&cell.name.topic), i32::MIN);
        let partitions = self.partitions();
        let left = partitions.range(first..).next();
        if left.is_none_or(|(name, _)| name.topic != cell.name.topic) {
            self.topics().retain(|_, name| *name != cell.name.topic);
        }
    }

    /// Starts a partition's task and makes it known.
    fn install(&self, cell: Arc<Cell<I>>, directory: usize) {
        let task = self.io.spawn("partition", driver::run(Arc::clone(&cell)));
        let name = cell.name.clone();
        if let Some(id) = cell.topic.id() {
            self.topics().insert(id, Arc::clone(&name.topic));
        }
        self.partitions().insert(
            name,
            Partition {
                cell,
                directory,
                task,
            },
        );
    }

    /// Writes the checkpoints of the directory that holds a partition.
    async fn checkpoint_folder_of(&self, cell: &Arc<Cell<I>>) -> io::Result<()> {
        let Some(directory) = self.partitions().get(&cell.name).map(|p| p.directory) else {
            return Ok(());
        };
        self.checkpoint(directory).await
    }

    async fn checkpoint(&self, directory: usize) -> io::Result<()> {
        let cells = || {
            let partitions = self.partitions();
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            let here = partitions
                .values()
                .filter(|partition| partition.directory == directory);
            Some(here.map(|partition| Arc::clone(&partition.cell)).collect())
        };
        self.directories[directory]
            .write_checkpoints(&self.io, cells)
            .await
    }

    /// The directory for a new partition: the one with the fewest.
    fn place_for(&self, name: &TopicPartition) -> usize {
        if name.topic.as_ref() == folders::METADATA_TOPIC {
            let wanted = self.settings.metadata_log_dir.as_ref();
            return wanted
                .and_then(|dir| self.directories.iter().position(|here| here.path == *dir))
                .unwrap_or(0);
        }
        let partitions = self.partitions();
        let held = |index| partitions.values().filter(|p| p.directory == index).count();
        // A metadata directory of its own takes no data.
        let data = 0..self.settings.log_dirs.len().max(1);
        data.min_by_key(|&index| held(index)).unwrap_or(0)
    }
}
