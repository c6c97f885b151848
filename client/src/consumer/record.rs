//! What is read, and what can go wrong.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_wire::{
    Str,
    records::{BatchError, RecordError, TimestampType},
};

use crate::{
    client::TopicError,
    coordinator::GroupError,
    error::{BrokerError, RequestError},
    offsets::PartitionError,
    types::{Header, TopicPartition},
};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds since the Unix epoch; -1 if it has none.
    pub timestamp: i64,
    /// Whose time that is.
    pub timestamp_type: TimestampType,
    /// The epoch of the leader that appended it; -1 if that is not known.
    pub leader_epoch: i32,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order; keys may repeat.
    pub headers: Vec<Header>,
}

impl ConsumerRecord {
    /// The partition that it was read from.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.clone(),
            partition: self.partition,
        }
    }
}

/// Why reading failed. What was read before stays valid; after an error that concerns one partition
/// the others can be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumerError {
    /// Subscribing and committing need a `group.id`.
    #[error("the consumer has no group.id")]
    NoGroup,
    /// The partition is not assigned to this consumer.
    #[error("{0} is not assigned to this consumer")]
    NotAssigned(TopicPartition),
    /// There is neither a committed offset nor a rule where to begin.
    #[error("{0} has no committed offset, and auto.offset.reset is none")]
    NoOffset(TopicPartition),
    /// The offset is not in the log, and there is no rule where to go on.
    #[error("offset {offset} of {partition} is out of range, and auto.offset.reset is none")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was to be read.
        offset: i64,
    },
    /// What had been read up to `position` was taken from the log by an unclean election (KIP-320).
    #[error("the log of {partition} was truncated to {diverged_at}, the consumer is at {position}")]
    LogTruncated {
        /// The partition.
        partition: TopicPartition,
        /// Where the consumer was.
        position: i64,
        /// Up to where the log is what it was.
        diverged_at: i64,
    },
    /// A partition's leader refuses.
    #[error("{partition}: {error}")]
    Partition {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        error: PartitionError,
    },
    /// A batch is damaged.
    #[error("the batch at offset {offset} of {partition} is damaged: {fault}")]
    Corrupt {
        /// The partition.
        partition: TopicPartition,
        /// Where the consumer is.
        offset: i64,
        /// What is wrong.
        fault: BatchFault,
    },
    /// The group's coordinator refuses for good.
    #[error("group {group}: {error}")]
    Group {
        /// The group.
        group: Str,
        /// Why.
        error: GroupError,
    },
    /// Topics that are subscribed to cannot be read.
    #[error("topics {topics:?}: {error}")]
    Topics {
        /// Their names.
        topics: BTreeSet<Str>,
        /// Why.
        error: TopicError,
    },
    /// Another member has the partitions now: what was read may be read again by it.
    #[error("the commit came too late: the group has rebalanced ({0})")]
    CommitFenced(BrokerError),
    /// A commit did not come through.
    #[error("the commit failed: {0}")]
    Commit(GroupError),
    /// There was no answer in time.
    #[error("no answer in time")]
    TimedOut,
}

impl From<RequestError> for ConsumerError {
    fn from(error: RequestError) -> Self {
        Self::Commit(GroupError::Request(error))
    }
}

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// Its header or its checksum.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// One of its records.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What it is compressed with, or how.
    #[error("{detail}")]
    Compression {
        /// What the codec says.
        detail: String,
    },
    /// A header's key is not UTF-8.
    #[error("a header's key is not UTF-8")]
    HeaderKey,
}
