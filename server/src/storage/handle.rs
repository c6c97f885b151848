//! The door to one partition.

use std::{
    future::Future,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use ottla_core::{
    log::{
        AbortedPlan, FileName, Start,
        index::txn::{self, AbortedTxn},
        read::{self, Trimmed},
    },
    partition::{
        Acks, Answer, AppendError, AppendOptions, Appended, EpochEnd, FetchQuery, Fetched, Input,
        Isolation, Offsets, Origin, Partition, PartitionConfig, Producers, QueryError, Ticket,
        TopicPartition,
    },
};
use ottla_io::{File, Io, OpenMode};
use tokio::sync::oneshot;

use super::{ReadError, Shared, Uuid, cell::Cell};

/// One partition of a [`super::Storage`]. Clones are the same partition.
pub struct PartitionHandle<I: Io> {
    pub(super) cell: Arc<Cell<I>>,
    pub(super) storage: Weak<Shared<I>>,
}

impl<I: Io> Clone for PartitionHandle<I> {
    fn clone(&self) -> Self {
        Self {
            cell: Arc::clone(&self.cell),
            storage: Weak::clone(&self.storage),
        }
    }
}

/// What a reader gets: where the bytes lie, and where the log stood when that was decided.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// Where the log stood.
    pub offsets: Offsets,
    /// The reader's log is another's from here on; no bytes are given.
    pub diverging: Option<EpochEnd>,
    plan: Option<read::ReadPlan>,
    aborted: Vec<AbortedPlan>,
    index_interval_bytes: u32,
}

impl ReadPlan {
    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plan.is_none()
    }

    /// How many bytes [`PartitionHandle::read`] gives, at most and about: what a waiting fetch compares with
    /// the least that its reader wants.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        self.plan.as_ref().map_or(0, |plan| match plan.start {
            Start::At(position) => usize::try_from(plan.end.saturating_sub(position))
                .unwrap_or(usize::MAX)
                .min(plan.max_bytes),
            Start::Lookup { .. } => plan.max_bytes,
        })
    }
}

impl<I: Io> PartitionHandle<I> {
    /// Its name.
    pub fn name(&self) -> &TopicPartition {
        &self.cell.name
    }

    /// Its topic's id; zero if its folder does not say.
    pub fn topic_id(&self) -> Uuid {
        self.cell.topic.id().unwrap_or(Uuid::ZERO)
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
        records: Bytes,
        options: AppendOptions,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        let (_, answer) = self.cell.ask(|from| Input::Append {
            from,
            records,
            options,
        });
        let cell = Arc::clone(&self.cell);
        async move {
            match answer.await {
                Ok(Answer::Appended(result)) => result,
                _ if cell.state().deleted => Err(AppendError::Gone),
                // The partition is damaged.
                _ => Err(AppendError::Storage),
            }
        }
    }

    /// Decides what a reader gets, from memory. [`PartitionHandle::read`] then reads it.
    pub fn plan_fetch(&self, query: FetchQuery) -> Result<ReadPlan, QueryError> {
        self.query(|machine| {
            let Fetched {
                offsets,
                diverging,
                plan,
                aborted,
            } = machine.fetch(&query)?;
            let index_interval_bytes = machine.config().log.index_interval_bytes;
            Ok(ReadPlan {
                offsets,
                diverging,
                plan,
                aborted,
                index_interval_bytes,
            })
        })
    }

    /// The whole batches that were planned, as they lie in the log. Empty if the first does not fit and
    /// need not be given.
    pub async fn read(&self, plan: &ReadPlan) -> Result<Bytes, ReadError> {
        let interval = plan.index_interval_bytes;
        let mut next = plan.plan;
        while let Some(plan) = next {
            let read = self.read_segment(&plan, interval).await;
            let read = read.map_err(|error| self.explain(error, plan.segment, plan.from))?;
            if let Some(bytes) = read {
                return Ok(bytes);
            }
            let Some(segment) = plan.next_segment else {
                break;
            };
            next = self.query(|machine| {
                Ok(machine
                    .log()
                    .plan_read(segment, plan.upto, plan.max_bytes, plan.min_one)?)
            })?;
        }
        Ok(Bytes::new())
    }

    /// What was planned, as far as it lies in one segment; none if nothing does.
    async fn read_segment(
        &self,
        plan: &read::ReadPlan,
        interval: u32,
    ) -> Result<Option<Bytes>, ReadError> {
        let mut position = self.position(plan.start).await?;
        let mut len = plan.read_len(position, interval);
        let file = self
            .cell
            .place
            .open(FileName::Log(plan.segment), OpenMode::Read)
            .await?;
        loop {
            let bytes = file.read_at(position, len).await?;
            match read::trim(&bytes, position, plan)? {
                Trimmed::Batches { bytes, .. } => return Ok(Some(bytes)),
                // A file that is shorter than the log says would have us ask for ever.
                Trimmed::More { at, len: more } if (at, more) != (position, len) => {
                    (position, len) = (at, more);
                }
                Trimmed::More { .. } => {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                }
                Trimmed::End => return Ok(None),
            }
        }
    }

    /// A file may be gone because retention took its segment between plan and read; while the log has
    /// the segment, a missing file is damage.
    pub(super) fn explain(&self, error: ReadError, segment: i64, offset: i64) -> ReadError {
        let gone = |error: &ReadError| matches!(error, ReadError::Io(error) if error.kind() == std::io::ErrorKind::NotFound);
        if !gone(&error) {
            return error;
        }
        let log_moved_on = self.query(|machine| {
            let mut segments = machine.log().segments();
            let offsets = machine.offsets();
            Ok(segments
                .all(|here| here.base_offset() != segment)
                .then_some(offsets))
        });
        match log_moved_on {
            Ok(Some(offsets)) => ReadError::Query(QueryError::OffsetOutOfRange {
                offset,
                log_start: offsets.log_start,
                log_end: offsets.high_watermark,
            }),
            Ok(None) => error,
            Err(error) => ReadError::Query(error),
        }
    }

    /// The aborted transactions among what was planned, for a reader of committed records, who skips
    /// their records.
    pub async fn aborted(&self, plan: &ReadPlan) -> Result<Vec<AbortedTxn>, ReadError> {
        let Some(read) = &plan.plan else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for part in &plan.aborted {
            let complete = match part {
                AbortedPlan::Memory(known) => {
                    txn::collect(known.iter().copied(), read.from, read.upto, &mut found)
                }
                AbortedPlan::File { file, len } => {
                    let opened = self.cell.place.open(*file, OpenMode::Read).await;
                    let segment = file.base_offset().unwrap_or(read.segment);
                    let opened =
                        opened.map_err(|error| self.explain(error.into(), segment, read.from))?;
                    let bytes = opened
                        .read_at(0, usize::try_from(*len).unwrap_or(usize::MAX))
                        .await?;
                    let known = txn::decode_all(&bytes).map_err(|_| {
                        ReadError::from(std::io::Error::from(std::io::ErrorKind::InvalidData))
                    })?;
                    txn::collect(known, read.from, read.upto, &mut found)
                }
            };
            if complete {
                break;
            }
        }
        Ok(found)
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

    /// Completes once the end that `isolation` shows is above `offset`. An error means that a new plan
    /// will tell why.
    pub fn wait_beyond(
        &self,
        offset: i64,
        isolation: Isolation,
    ) -> impl Future<Output = Result<(), QueryError>> + Send + 'static {
        let (ticket, answer) = self.cell.ask_quietly(|from| Input::Await {
            from,
            beyond: offset,
            isolation,
        });
        let mut waiting = Waiting {
            cell: Arc::clone(&self.cell),
            ticket,
            answer,
        };
        async move {
            match (&mut waiting.answer).await {
                Ok(Answer::Ready(result)) => result,
                _ => Err(waiting.cell.state().why_unusable()),
            }
        }
    }

    /// Deletes the records below `before` (-1: below the high watermark); gives the new log start
    /// once it is written down.
    pub async fn delete_records(&self, before: i64) -> Result<i64, QueryError> {
        let (_, answer) = self.cell.ask(|from| Input::DeleteRecords { from, before });
        let log_start = match answer.await {
            Ok(Answer::RecordsDeleted(result)) => result?,
            _ => return Err(self.cell.state().why_unusable()),
        };
        if let Some(storage) = self.storage.upgrade()
            && let Err(error) = storage.checkpoint_folder_of(&self.cell).await
        {
            tracing::error!(partition = %self.cell.name, %error, "the log start cannot be written down");
            return Err(QueryError::Offline);
        }
        Ok(log_start)
    }

    /// The end of what was written under `leader_epoch`; -1 and -1 if nothing is known of it.
    pub fn epoch_end_offset(
        &self,
        current_leader_epoch: Option<i32>,
        leader_epoch: i32,
    ) -> Result<EpochEnd, QueryError> {
        self.query(|machine| machine.epoch_end_offset(current_leader_epoch, leader_epoch))
    }

    /// The producers that are active on it.
    pub fn producers(&self) -> Result<Producers, QueryError> {
        self.query(Partition::producers)
    }

    /// Where its log stands. All zero while it could not be opened: whoever decides by it that there is
    /// nothing asks [`Self::opened`].
    pub fn offsets(&self) -> Offsets {
        self.opened().unwrap_or_default()
    }

    /// Where its log stands, or none while it could not be opened.
    pub fn opened(&self) -> Option<Offsets> {
        self.cell.state().machine.as_ref().map(Partition::offsets)
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

    /// Bytes of its log, or none while it is offline.
    pub fn size(&self) -> Option<u64> {
        self.cell
            .state()
            .machine
            .as_ref()
            .map(|machine| machine.log().size())
    }

    /// Its configuration.
    pub fn config(&self) -> PartitionConfig {
        self.cell.state().config.clone()
    }

    /// Whether it can be used.
    pub fn is_online(&self) -> bool {
        self.cell
            .state()
            .machine
            .as_ref()
            .is_some_and(Partition::is_online)
    }

    pub(super) fn query<T>(
        &self,
        question: impl FnOnce(&Partition) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let state = self.cell.state();
        question(state.machine.as_ref().ok_or_else(|| state.why_unusable())?)
    }

    /// Where a scan begins, looked up in an index file if need be.
    pub(super) async fn position(&self, start: Start) -> Result<u64, ReadError> {
        match start {
            Start::At(position) => Ok(position),
            Start::Lookup { index, len, .. } => {
                Ok(start.resolve(&self.cell.place.map(index, len).await?))
            }
        }
    }
}

/// Waits for data; takes itself off the machine's list when it is dropped early.
struct Waiting<I: Io> {
    cell: Arc<Cell<I>>,
    ticket: Ticket,
    answer: oneshot::Receiver<Answer>,
}

impl<I: Io> Drop for Waiting<I> {
    fn drop(&mut self) {
        self.cell.cancel(self.ticket);
    }
}
