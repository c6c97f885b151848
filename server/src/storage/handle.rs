//! The door to one partition.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use ottla_core::partition::{
    Acks, AppendError, Appended, EpochEnd, Isolation, ListedOffset, OffsetSpec, Offsets, Origin,
    Producers, QueryError, TopicPartition,
};
use ottla_io::Io;

use super::{ReadError, Uuid};

/// One partition of a [`super::Storage`]. Clones are the same partition.
pub struct PartitionHandle<I: Io> {
    shared: Arc<Shared<I>>,
}

impl<I: Io> Clone for PartitionHandle<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

pub(super) struct Shared<I: Io> {
    name: TopicPartition,
    topic_id: Uuid,
    io: I,
}

/// How an append is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct AppendOptions {
    /// What it waits for.
    pub acks: Acks,
    /// Who writes: this decides what is checked.
    pub origin: Origin,
    /// The leader epoch the writer means; the append is refused if it is another.
    pub expected_leader_epoch: Option<i32>,
}

/// What a reader wants.
#[derive(Clone, Copy, Debug)]
pub struct FetchQuery {
    /// The first offset wanted.
    pub offset: i64,
    /// About how many bytes at most.
    pub max_bytes: usize,
    /// Whether one whole batch is given even if it is larger than `max_bytes`.
    pub at_least_one: bool,
    /// How far the reader may see.
    pub isolation: Isolation,
    /// The leader epoch the reader knows.
    pub current_leader_epoch: Option<i32>,
    /// The epoch of the last record the reader has: tells a diverging reader where to go back to (KIP-595).
    pub last_fetched_epoch: Option<i32>,
}

/// What a reader gets: where the bytes lie, and where the log stood when that was decided.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// Where the log stood.
    pub offsets: Offsets,
    /// The reader's log is another's from here on; no bytes are given.
    pub diverging: Option<EpochEnd>,
    /// How many bytes [`PartitionHandle::read`] gives.
    pub size: usize,
}

impl<I: Io> PartitionHandle<I> {
    /// Its name.
    pub fn name(&self) -> &TopicPartition {
        &self.shared.name
    }

    /// Its topic's id.
    pub fn topic_id(&self) -> Uuid {
        self.shared.topic_id
    }

    /// Appends whole record batches. The step is taken before this returns, in the order of the
    /// calls; the future only waits for what `acks` promises. Dropping it takes nothing back.
    pub fn append(
        &self,
        records: Bytes,
        acks: Acks,
        origin: Origin,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        self.append_with(
            records,
            AppendOptions {
                acks,
                origin,
                expected_leader_epoch: None,
            },
        )
    }

    /// As [`PartitionHandle::append`], with everything that can be said.
    pub fn append_with(
        &self,
        _records: Bytes,
        _options: AppendOptions,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        async { Err(AppendError::Storage) }
    }

    /// Decides what a reader gets, from memory. [`PartitionHandle::read`] then reads it.
    pub fn plan_fetch(&self, _query: FetchQuery) -> Result<ReadPlan, QueryError> {
        Err(QueryError::Offline)
    }

    /// The whole batches that were planned, as they lie in the log.
    pub async fn read(&self, _plan: &ReadPlan) -> Result<Bytes, ReadError> {
        Err(QueryError::Offline.into())
    }

    /// Whole batches from the one that holds `offset` on: for those who load their state from a
    /// log. Empty at the end of what `isolation` shows.
    pub async fn read_from(
        &self,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Bytes, ReadError> {
        let plan = self.plan_fetch(FetchQuery {
            offset,
            max_bytes,
            at_least_one: true,
            isolation,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        })?;
        self.read(&plan).await
    }

    /// Completes once there is something to read beyond `offset`, that is, once the end that
    /// `isolation` shows is above it. An error means that a new plan will tell why.
    pub fn wait_beyond(
        &self,
        _offset: i64,
        _isolation: Isolation,
    ) -> impl Future<Output = Result<(), QueryError>> + Send + 'static {
        async { Err(QueryError::Offline) }
    }

    /// Looks an offset up.
    pub async fn list_offset(
        &self,
        _spec: OffsetSpec,
        _isolation: Isolation,
        _current_leader_epoch: Option<i32>,
    ) -> Result<ListedOffset, ReadError> {
        Err(QueryError::Offline.into())
    }

    /// Deletes the records below `before` (-1: below the high watermark); gives the new log start
    /// once it is durable.
    pub async fn delete_records(&self, _before: i64) -> Result<i64, QueryError> {
        Err(QueryError::Offline)
    }

    /// The end of what was written under `leader_epoch`.
    pub fn epoch_end_offset(
        &self,
        _current_leader_epoch: Option<i32>,
        _leader_epoch: i32,
    ) -> Result<EpochEnd, QueryError> {
        Err(QueryError::Offline)
    }

    /// The producers that are active on it.
    pub fn producers(&self) -> Result<Producers, QueryError> {
        Err(QueryError::Offline)
    }

    /// Where its log stands.
    pub fn offsets(&self) -> Offsets {
        let _ = &self.shared.io;
        Offsets::default()
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> i64 {
        self.offsets().log_start
    }

    /// The high watermark.
    pub fn high_watermark(&self) -> i64 {
        self.offsets().high_watermark
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> i64 {
        self.offsets().log_end
    }
}
