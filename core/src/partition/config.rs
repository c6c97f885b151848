//! The configuration that a partition works by.

use ottla_wire::records::Compression;

use crate::{log::LogConfig, time::Duration};

/// When what was written counts as durable, and when it is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Once it is synced, which is asked for at once: `log.flush.interval.messages` = 1, Ottla's
    /// default. Appends that arrive while one sync runs share the next (group commit).
    Synced,
    /// Once it is written; synced when either bound is met. Both absent is Kafka's default: the
    /// operating system decides.
    Written {
        /// `log.flush.interval.messages`, `flush.messages`.
        messages: Option<i64>,
        /// `log.flush.interval.ms`, `flush.ms`.
        interval: Option<Duration>,
    },
}

impl FlushPolicy {
    /// The policy that Kafka's two keys choose; their largest value means never.
    #[must_use]
    pub fn from_keys(messages: i64, interval_ms: Option<i64>) -> Self {
        if messages <= 1 {
            return Self::Synced;
        }
        Self::Written {
            messages: (messages < i64::MAX).then_some(messages),
            interval: interval_ms
                .filter(|&ms| ms < i64::MAX)
                .map(|ms| Duration::from_millis(ms.max(0).cast_unsigned())),
        }
    }
}

/// `compression.type`, with the codec's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TopicCompression {
    /// Batches stay as producers made them.
    #[default]
    Producer,
    /// Batches of another compression are compressed anew.
    Codec(Compression, Option<i32>),
}

/// What a partition works by. May be changed while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionConfig {
    /// The log's part.
    pub log: LogConfig,
    /// When what was written counts.
    pub flush: FlushPolicy,
    /// `compression.type`.
    pub compression: TopicCompression,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `file.delete.delay.ms`: how long deleted files stay; the node's own delay if there is none.
    pub file_delete_delay: Option<Duration>,
    /// Bytes taken but not yet written; further appends wait in order until there is room.
    pub unwritten_bytes_max: usize,
}

impl Default for PartitionConfig {
    fn default() -> Self {
        Self {
            log: LogConfig::default(),
            flush: FlushPolicy::Synced,
            compression: TopicCompression::Producer,
            min_insync_replicas: 1,
            retention_check_interval: Duration::from_secs(300),
            file_delete_delay: None,
            unwritten_bytes_max: crate::limits::PARTITION_UNWRITTEN_BYTES_MAX,
        }
    }
}

impl From<LogConfig> for PartitionConfig {
    fn from(log: LogConfig) -> Self {
        Self {
            log,
            ..Self::default()
        }
    }
}
