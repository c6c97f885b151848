//! Small types that producer, consumer and admin share.

use bytes::Bytes;
use ottla_wire::Str;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Str,
    /// The partition's index.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Str>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A header of a record. A record may have several with one key, and their order is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its key.
    pub key: Str,
    /// Its value, which may be null.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(key: impl Into<Str>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }
}

/// Which records of transactions a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// All, those of open and aborted transactions too.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions only, up to the first open one.
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first that can still be read.
    Earliest,
    /// The one behind the last that can be read.
    Latest,
    /// That of the record with the largest timestamp.
    MaxTimestamp,
    /// That of the first record with this timestamp (milliseconds since the Unix epoch) or a later one.
    AtTimestamp(i64),
}

impl OffsetSpec {
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::AtTimestamp(timestamp) => timestamp,
        }
    }
}

/// The answer to an [`OffsetSpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// The offset; -1 where no record fits.
    pub offset: i64,
    /// The record's timestamp; -1 where it was not asked for by time.
    pub timestamp: i64,
    /// The leader epoch of the record; -1 where it is not known.
    pub leader_epoch: i32,
}

/// A committed offset, or one to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The offset of the record to read next.
    pub offset: i64,
    /// The leader epoch of the record before it, if known: guards against a truncated log (KIP-320).
    pub leader_epoch: Option<i32>,
    /// A note of the committer's.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// An offset without a leader epoch or a note.
    #[must_use]
    pub fn new(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: None,
            metadata: String::new(),
        }
    }
}
