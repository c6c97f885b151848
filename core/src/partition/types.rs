//! What is asked of a partition and what it answers, in types that do not depend on its files.

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

use crate::{
    batch::{BatchError, Origin},
    log,
    time::Timestamp,
};

/// Stands for a requester: the driver maps it to the future that waits. The machine only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The name of a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// Which of its partitions.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What an append waits for before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Kafka's 0: answered as soon as the append is accepted; nobody reads the answer.
    None,
    /// Kafka's 1: answered when the leader has written it (page cache).
    Leader,
    /// Kafka's -1: answered when it is below the high watermark, that is, durable on the in-sync replicas.
    All,
}

/// How far a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the log's end: replicas, and the loaders of this node's own state.
    LogEnd,
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset: no record of an open transaction, or behind one.
    ReadCommitted,
}

/// Where a partition's log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Offsets {
    /// The first offset that can be read.
    pub log_start: i64,
    /// Below it no transaction is open; never above the high watermark.
    pub last_stable: i64,
    /// Below it everything is durable on the in-sync replicas.
    pub high_watermark: i64,
    /// The offset the next record gets.
    pub log_end: i64,
    /// The epoch of the current leader.
    pub leader_epoch: i32,
}

/// An append that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: i64,
    /// The offset of its last record.
    pub last_offset: i64,
    /// The time stamped on its records, or [`Timestamp::NONE`] if they keep their own.
    pub log_append_time: Timestamp,
    /// The log's start when it was taken.
    pub log_start: i64,
    /// The leader's epoch under which it was taken.
    pub leader_epoch: i32,
    /// Whether it repeats an append that an idempotent producer had made before: nothing was written.
    pub duplicate: bool,
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// -2: the log's start.
    Earliest,
    /// -1: the end that the isolation level allows.
    Latest,
    /// -3: that of the record with the greatest timestamp.
    MaxTimestamp,
    /// -4: the first offset held locally (the log's start, without tiered storage).
    EarliestLocal,
    /// -5: the last offset in tiered storage (none).
    LatestTiered,
    /// -6: the first offset that has yet to be copied to tiered storage.
    EarliestPendingUpload,
    /// The first record stamped at this time or later.
    Timestamp(i64),
}

/// An offset that was asked for; without one there is no such record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset, or -1.
    pub offset: i64,
    /// The record's timestamp, or -1.
    pub timestamp: i64,
    /// The epoch of the leader that wrote it, or -1.
    pub leader_epoch: i32,
}

impl ListedOffset {
    /// No such record.
    pub const NONE: Self = Self {
        offset: -1,
        timestamp: -1,
        leader_epoch: -1,
    };
}

/// The end of what was written under an epoch (KIP-101, KIP-279).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch known that is not above the one asked for, or -1.
    pub leader_epoch: i32,
    /// Where it ends, or -1.
    pub end_offset: i64,
}

/// A producer that is active on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerView {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The last sequence number it used.
    pub last_sequence: i32,
    /// When it last wrote.
    pub last_timestamp: i64,
    /// The epoch of the coordinator that last wrote a marker for it, or -1.
    pub coordinator_epoch: i32,
    /// Where its open transaction starts, or -1.
    pub current_transaction_start: i64,
}

/// The list form of [`ProducerView`].
pub type Producers = Vec<ProducerView>;

/// Why a partition refuses a query. Each maps to one Kafka error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// This node does not lead the partition: `NOT_LEADER_OR_FOLLOWER`.
    #[error("this node does not lead the partition (epoch {leader_epoch})")]
    NotLeader {
        /// The epoch this node knows.
        leader_epoch: i32,
    },
    /// The requester's epoch is old: `FENCED_LEADER_EPOCH`.
    #[error("the requester knows leader epoch {got}, older than {current}")]
    FencedLeaderEpoch {
        /// The epoch this node knows.
        current: i32,
        /// The requester's.
        got: i32,
    },
    /// The requester's epoch is newer than this node's: `UNKNOWN_LEADER_EPOCH`.
    #[error("the requester knows leader epoch {got}, newer than {current}")]
    UnknownLeaderEpoch {
        /// The epoch this node knows.
        current: i32,
        /// The requester's.
        got: i32,
    },
    /// The offset is not in the log: `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} is not between {log_start} and {log_end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// The first that can be read.
        log_start: i64,
        /// The end for this reader.
        log_end: i64,
    },
    /// The partition's files cannot be used: `KAFKA_STORAGE_ERROR`.
    #[error("the partition is offline")]
    Offline,
    /// The partition was deleted: `UNKNOWN_TOPIC_OR_PARTITION`.
    #[error("the partition is gone")]
    Gone,
    /// A batch fails its checksum: `CORRUPT_MESSAGE`.
    #[error("the batch at offset {offset} is corrupt")]
    Corrupt {
        /// Where, in offsets.
        offset: i64,
    },
}

/// Why an append is not acknowledged. Each maps to one Kafka error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// This node does not lead the partition: `NOT_LEADER_OR_FOLLOWER`.
    #[error("this node does not lead the partition (epoch {leader_epoch})")]
    NotLeader {
        /// The epoch this node knows.
        leader_epoch: i32,
    },
    /// The writer means another epoch of the leader than the current one: `FENCED_LEADER_EPOCH`
    /// or `UNKNOWN_LEADER_EPOCH`.
    #[error("the writer expects leader epoch {expected}, the partition is at {current}")]
    WrongLeaderEpoch {
        /// The writer's.
        expected: i32,
        /// The partition's.
        current: i32,
    },
    /// The partition's files cannot be used, or the write or sync failed: `KAFKA_STORAGE_ERROR`.
    /// Whether the records are in the log is unknown to the writer; they will not be acknowledged.
    #[error("the write failed or the partition is offline")]
    Storage,
    /// The disk had no room: `KAFKA_STORAGE_ERROR`. Nothing of it is in the log, and the partition goes
    /// on; the next append may find room.
    #[error("the disk is full")]
    Full,
    /// Fewer replicas in sync than `min.insync.replicas`; nothing was appended: `NOT_ENOUGH_REPLICAS`.
    #[error("{in_sync} replicas in sync, {required} required")]
    NotEnoughReplicas {
        /// How many are in sync.
        in_sync: usize,
        /// `min.insync.replicas`.
        required: usize,
    },
    /// The partition was closed or deleted before the append was acknowledged: `NOT_LEADER_OR_FOLLOWER`.
    #[error("the partition was closed")]
    Closed,
    /// The partition was deleted before the append was acknowledged: `UNKNOWN_TOPIC_OR_PARTITION`.
    #[error("the partition is gone")]
    Gone,
    /// The batches are refused for what they are. Nothing was appended.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The log refuses them for what it holds. Nothing was appended.
    #[error(transparent)]
    Log(#[from] log::AppendError),
}

/// Stands for an effect: the driver hands it back when the effect is done. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(pub u64);

/// How an append is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendOptions {
    /// What it waits for.
    pub acks: Acks,
    /// Who writes: this decides what is checked.
    pub origin: Origin,
    /// The leader epoch the writer means; the append is refused if it is another.
    pub expected_leader_epoch: Option<i32>,
}
