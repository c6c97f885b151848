//! What [`super::Storage`] is told when it opens.

use std::{path::PathBuf, time::Duration};

pub use ottla_core::partition::{FlushPolicy, PartitionConfig, TopicCompression};
pub use ottla_wire::Uuid;

/// The storage's part of the broker's configuration.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// `log.dirs`.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`; without it the first of `log_dirs`.
    pub metadata_log_dir: Option<PathBuf>,
    /// `node.id`.
    pub node_id: i32,
    /// The cluster a directory must belong to, and the one an empty directory is formatted for.
    /// Without it any cluster will do, and an empty directory gets a new random one.
    pub cluster_id: Option<String>,
    /// Whether an empty directory is formatted at once (`kafka-storage.sh format` does it at Kafka).
    pub format_if_empty: bool,
    /// `num.recovery.threads.per.data.dir`: how many partitions of a directory recover at once.
    pub recovery_threads_per_data_dir: usize,
    /// `log.flush.offset.checkpoint.interval.ms`, and the same for the other checkpoints.
    pub checkpoint_interval: Duration,
    /// `log.segment.delete.delay.ms`: how long a deleted segment's files stay for those who read them.
    pub delete_delay: Duration,
    /// How many files of partitions are kept open. Without it half of what this process may have open,
    /// within bounds.
    pub open_files_max: Option<usize>,
    /// The configuration of partitions until the metadata says otherwise.
    pub default_config: PartitionConfig,
    /// The configuration of `__cluster_metadata-0`.
    pub metadata_config: PartitionConfig,
}

impl StorageSettings {
    /// Kafka's defaults for a node whose data is in `log_dirs`, formatted at need.
    #[must_use]
    pub fn new(node_id: i32, log_dirs: Vec<PathBuf>) -> Self {
        Self {
            log_dirs,
            metadata_log_dir: None,
            node_id,
            cluster_id: None,
            format_if_empty: true,
            recovery_threads_per_data_dir: 2,
            checkpoint_interval: Duration::from_secs(60),
            delete_delay: Duration::from_secs(60),
            open_files_max: None,
            default_config: PartitionConfig::default(),
            metadata_config: PartitionConfig::default(),
        }
    }
}
