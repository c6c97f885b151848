//! What [`super::Storage`] is told when it opens.

use std::{path::PathBuf, time::Duration};

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
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// The configuration of partitions until the metadata says otherwise.
    pub default_log_config: LogConfig,
    /// The configuration of `__cluster_metadata-0`.
    pub metadata_log_config: LogConfig,
}

/// How a partition's log is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {}
