//! What the workload does and sees: all that the checkers go by.

use std::{fmt, sync::Arc};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// The topic's name as clients know it. A topic that was deleted and made anew is another topic
    /// here, `NAME@NUMBER`: nothing of the old one may show in the new one.
    #[must_use]
    pub fn name(&self) -> &str {
        self.topic
            .split_once('@')
            .map_or(&*self.topic, |(name, _)| name)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a record of the workload is: who wrote it, and as which of its records to this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The producer's number.
    pub producer: u32,
    /// The producer's own count of the records it has sent to this partition.
    pub sequence: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}#{}", self.producer, self.sequence)
    }
}

/// What a record that was read turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contents {
    /// A record of the workload, whole.
    Whole(RecordId),
    /// Bytes that no producer wrote: the checksum or the partition in them is wrong.
    Changed {
        /// A digest of what was read.
        digest: u64,
    },
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(record) => record.fmt(f),
            Self::Changed { digest } => write!(f, "changed bytes {digest:016x}"),
        }
    }
}

/// What a producer may expect of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// Idempotent, acks=all: what is acknowledged is there for ever; everything is there once, in
    /// order.
    Once,
    /// acks=all without idempotence: what is acknowledged is there for ever.
    Durable,
    /// acks=1: what is acknowledged is there as long as nothing unsynced is lost.
    Written,
    /// acks=0: nothing.
    Nothing,
}

/// What a workload did or saw: all that the checkers go by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// A producer begins.
    ProducerBegan {
        /// Its number.
        producer: u32,
        /// What it may expect.
        promise: Promise,
    },
    /// Retention is in force for a topic from now on; nothing else deletes its records unasked.
    Retained {
        /// The topic.
        topic: Arc<str>,
        /// Records may go this many milliseconds after their timestamp.
        ms: Option<i64>,
        /// Records may go where those behind them have so many bytes.
        bytes: Option<i64>,
    },
    /// From now on somebody's wall clock is or was wrong.
    ClocksWrong,
    /// What was written and not synced may be gone: power was lost, or a sync failed.
    UnsyncedLost,
    /// The deletion of all records before an offset was asked for.
    DeletionAsked {
        /// Of which partition.
        partition: TopicPartition,
        /// The first offset that is to stay.
        before: i64,
    },
    /// A deletion was acknowledged: the log starts there.
    Deleted {
        /// Of which partition.
        partition: TopicPartition,
        /// The first offset that is left.
        log_start: i64,
    },
    /// The first record at or behind a time is asked for.
    TimeAsked {
        /// In which partition.
        partition: TopicPartition,
        /// The time.
        time: i64,
    },
    /// The first record at or behind a time was asked for, and this was answered.
    TimeFound {
        /// In which partition.
        partition: TopicPartition,
        /// The time asked for.
        time: i64,
        /// The offset; -1 for none.
        offset: i64,
        /// The time of the record there.
        timestamp: i64,
        /// Where the log started a moment later: what was there from here on was there to be found.
        start: i64,
    },
    /// A record was handed to a producer.
    Sent {
        /// Which.
        record: RecordId,
        /// To where.
        partition: TopicPartition,
        /// Its time, in milliseconds.
        timestamp: i64,
    },
    /// A record was acknowledged with acks=all.
    Acknowledged {
        /// Which.
        record: RecordId,
        /// Where.
        partition: TopicPartition,
        /// At which offset, where the answer says one.
        offset: Option<i64>,
    },
    /// A producer gave a record up: it may or may not be in the log.
    GaveUp {
        /// Which.
        record: RecordId,
        /// Where.
        partition: TopicPartition,
        /// Why.
        error: String,
    },
    /// A consumer read a record.
    Read {
        /// The consumer's number.
        consumer: u32,
        /// Where.
        partition: TopicPartition,
        /// At which offset.
        offset: i64,
        /// What it held.
        contents: Contents,
    },
    /// A consumer begins to read a partition anew, at this offset.
    Positioned {
        /// The consumer's number.
        consumer: u32,
        /// Which partition.
        partition: TopicPartition,
        /// The offset it reads next.
        offset: i64,
    },
    /// A member of a group holds these partitions from now on, and no others.
    Assigned {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// The generation that gave them; -1 while it is in none.
        generation: i32,
        /// All that it holds.
        partitions: Vec<TopicPartition>,
    },
    /// A member was given partitions, beside those that it has: it may begin to read them.
    Took {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// The new ones.
        partitions: Vec<TopicPartition>,
    },
    /// A member has let partitions go: it reads them no more.
    Gave {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// Which.
        partitions: Vec<TopicPartition>,
        /// It was told that it had lost them, some time ago.
        lost: bool,
    },
    /// A commit was sent.
    CommitSent {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// The commit's number in this run.
        commit: u64,
        /// Which partition.
        partition: TopicPartition,
        /// The offset to read next.
        offset: i64,
    },
    /// A commit was acknowledged.
    CommitAcknowledged {
        /// The commit's number in this run.
        commit: u64,
    },
    /// A commit was refused or its answer was lost.
    CommitFailed {
        /// The commit's number in this run.
        commit: u64,
        /// Why.
        error: String,
    },
    /// At the end: where a partition's log starts, and the broker's time then.
    FinalStart {
        /// Which partition.
        partition: TopicPartition,
        /// Its first offset.
        offset: i64,
        /// Milliseconds on the broker's wall clock.
        now: i64,
    },
    /// At the end: the bytes that a partition's log has.
    FinalSize {
        /// Which partition.
        partition: TopicPartition,
        /// Bytes of its segments.
        bytes: i64,
    },
    /// At the end: a record of the log, read from its start with nothing else going on.
    Final {
        /// Where.
        partition: TopicPartition,
        /// At which offset.
        offset: i64,
        /// Its time, in milliseconds.
        timestamp: i64,
        /// What it held.
        contents: Contents,
    },
    /// A member begins to look for what its group has committed; it finds what was committed at some
    /// time from now on.
    CommitAsked {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// Which partition.
        partition: TopicPartition,
    },
    /// Where a member that was given a partition began to read: at what its group has committed, or,
    /// without a commit, at the log's start.
    Resumed {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// Which partition.
        partition: TopicPartition,
        /// The offset.
        offset: i64,
    },
    /// What a group has committed, as somebody found it; -1 for nothing.
    CommitFound {
        /// The group.
        group: Arc<str>,
        /// The consumer's number; 0 for who is none.
        consumer: u32,
        /// Which partition.
        partition: TopicPartition,
        /// The offset.
        offset: i64,
    },
    /// At the end: a partition was read to its end; the next offset is this.
    FinalEnd {
        /// Which partition.
        partition: TopicPartition,
        /// Its end offset.
        offset: i64,
    },
    /// After the last act: where a partition's log starts.
    AgainStart {
        /// Which partition.
        partition: TopicPartition,
        /// Its first offset.
        offset: i64,
    },
    /// After the last act: a record of the log, read once more.
    Again {
        /// Where.
        partition: TopicPartition,
        /// At which offset.
        offset: i64,
        /// What it held.
        contents: Contents,
    },
    /// After the last act: a partition was read once more to its end; the next offset is this.
    AgainEnd {
        /// Which partition.
        partition: TopicPartition,
        /// Its end offset.
        offset: i64,
    },
    /// One of several requests under way on a connection was answered.
    Answered {
        /// The number of the request whose turn it was.
        expected: i32,
        /// The number of the request that the answer is for.
        got: i32,
    },
    /// A fetch was answered with a batch that ends before the wanted offset.
    Unwanted {
        /// In which partition.
        partition: TopicPartition,
        /// The wanted offset.
        wanted: i64,
        /// The offset behind the answer's first batch.
        got: i64,
    },
    /// A reader with a fetch session asks for news.
    NewsAsked {
        /// Its number.
        consumer: u32,
    },
    /// It was answered, and this is what it knows now of a partition, whether it was just told or is to
    /// take it that nothing has changed.
    NewsKnown {
        /// Its number.
        consumer: u32,
        /// Which partition.
        partition: TopicPartition,
        /// Its high watermark.
        high_watermark: i64,
        /// Its first offset.
        log_start: i64,
        /// The reader's time, in milliseconds.
        now: i64,
    },
    /// From now on nothing fails and nobody comes or goes, or no longer so.
    Quiet(bool),
    /// Something outstanding did not end in its time.
    Stuck(String),
    /// What was durable was damaged or taken away by a fault.
    Damaged {
        /// What it was.
        what: String,
    },
    /// A recovery reported that it has cut a log.
    LogCut,
    /// The broker told of damage, by an error, by a checksum that fails, or by a cut in its log.
    DamageTold {
        /// In which partition; none where it may be any.
        partition: Option<TopicPartition>,
        /// How it was told.
        how: String,
    },
}

impl Work {
    /// The one partition that it concerns, if it does.
    #[must_use]
    pub fn partition(&self) -> Option<&TopicPartition> {
        match self {
            Self::Sent { partition, .. }
            | Self::Acknowledged { partition, .. }
            | Self::GaveUp { partition, .. }
            | Self::Read { partition, .. }
            | Self::Positioned { partition, .. }
            | Self::CommitSent { partition, .. }
            | Self::CommitAsked { partition, .. }
            | Self::CommitFound { partition, .. }
            | Self::Resumed { partition, .. }
            | Self::DeletionAsked { partition, .. }
            | Self::Deleted { partition, .. }
            | Self::TimeAsked { partition, .. }
            | Self::TimeFound { partition, .. }
            | Self::FinalStart { partition, .. }
            | Self::FinalSize { partition, .. }
            | Self::AgainStart { partition, .. }
            | Self::Final { partition, .. }
            | Self::FinalEnd { partition, .. }
            | Self::Again { partition, .. }
            | Self::AgainEnd { partition, .. }
            | Self::Unwanted { partition, .. }
            | Self::NewsKnown { partition, .. } => Some(partition),
            Self::DamageTold { partition, .. } => partition.as_ref(),
            Self::ProducerBegan { .. }
            | Self::Retained { .. }
            | Self::ClocksWrong
            | Self::UnsyncedLost
            | Self::Assigned { .. }
            | Self::Took { .. }
            | Self::Gave { .. }
            | Self::CommitAcknowledged { .. }
            | Self::CommitFailed { .. }
            | Self::Answered { .. }
            | Self::NewsAsked { .. }
            | Self::Quiet(_)
            | Self::Stuck(_)
            | Self::Damaged { .. }
            | Self::LogCut => None,
        }
    }
}
