//! The topic configuration that a log works by.

use crate::{limits, time::Duration};

/// Whose timestamp a record carries: `message.timestamp.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The time at which the leader appended it.
    LogAppendTime,
}

/// The values a log works by; names and defaults are Kafka's. May be changed while the log is open
/// ([`super::Log::set_config`]); a change is felt by the next append or timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before an append that would make it larger.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when its first record is this old.
    pub segment_ms: Duration,
    /// `segment.jitter.ms`: at most this much is taken off `segment.ms`, differently for each segment.
    pub segment_jitter_ms: Duration,
    /// `segment.index.bytes`: a segment is rolled when an index would outgrow it.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a timestamp may lie.
    pub timestamp_after_max_ms: i64,
    /// `retention.ms`; none keeps records of any age.
    pub retention_ms: Option<Duration>,
    /// `retention.bytes`; none keeps any amount.
    pub retention_bytes: Option<u64>,
    /// Whether `cleanup.policy` has `delete`. Without it retention by time and size does not apply.
    pub delete: bool,
    /// Whether `cleanup.policy` has `compact`.
    pub compact: bool,
    /// Bytes of log between two snapshots of the producers within a segment; no key of Kafka's.
    pub snapshot_interval_bytes: u64,
    /// `producer.id.expiration.ms`: how long an idle producer is remembered.
    pub producer_id_expiration: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: Duration::from_secs(7 * 24 * 3600),
            segment_jitter_ms: Duration::ZERO,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            retention_ms: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_bytes: None,
            delete: true,
            compact: false,
            snapshot_interval_bytes: limits::SNAPSHOT_INTERVAL_BYTES,
            producer_id_expiration: Duration::from_secs(24 * 3600),
        }
    }
}

impl LogConfig {
    /// How many entries an offset index may hold.
    pub(super) fn offset_index_entries_max(&self) -> u64 {
        u64::from(self.segment_index_bytes.max(limits::INDEX_BYTES_MIN))
            / limits::OFFSET_INDEX_ENTRY_BYTES as u64
    }

    /// How many entries a time index may hold before the one that is kept for the roll.
    pub(super) fn time_index_entries_max(&self) -> u64 {
        u64::from(self.segment_index_bytes.max(limits::INDEX_BYTES_MIN))
            / limits::TIME_INDEX_ENTRY_BYTES as u64
            - 1
    }

    /// The largest segment, within what an index can address.
    pub(super) fn segment_bytes_max(&self) -> u64 {
        u64::from(
            self.segment_bytes
                .clamp(limits::SEGMENT_BYTES_MIN, limits::SEGMENT_BYTES_MAX),
        )
    }
}
