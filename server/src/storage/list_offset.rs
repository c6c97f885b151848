//! Looking offsets up, by time if need be (`ListOffsets`, KIP-79, KIP-734).

use bytes::Bytes;
use ottla_core::{
    limits::LOOKUP_BATCH_BYTES_MAX,
    log::{
        FileName,
        find::{self, TimeAnswer, TimePlan},
        read::{Damage, Damaged},
    },
    partition::{Isolation, ListedOffset, OffsetSpec, Partition, QueryError},
};
use ottla_io::{File, Io, OpenMode};
use ottla_wire::records::{BatchView, RecordIter, compression::CompressionError};

use super::{PartitionHandle, ReadError};

/// Bytes read at first in search of a batch: a few index intervals.
const FIRST_READ_BYTES: usize = 64 << 10;

/// What is left to do when memory alone does not answer.
enum Look {
    Answer(ListedOffset),
    Search(TimePlan),
}

impl<I: Io> PartitionHandle<I> {
    /// Looks an offset up. [`ListedOffset::NONE`] if there is no such record.
    pub async fn list_offset(
        &self,
        spec: OffsetSpec,
        isolation: Isolation,
        current_leader_epoch: Option<i32>,
    ) -> Result<ListedOffset, ReadError> {
        let look = self.query(|machine| {
            machine.check_online()?;
            machine.check_readable(current_leader_epoch)?;
            Ok(look(machine, spec, isolation))
        })?;
        let mut plan = match look {
            Look::Answer(listed) => return Ok(listed),
            Look::Search(plan) => plan,
        };
        loop {
            let found = self.search(&plan).await;
            let found = found.map_err(|error| self.explain(error, plan.segment, plan.segment))?;
            if let Some((offset, timestamp)) = found {
                let leader_epoch = self.query(|machine| Ok(machine.epoch_for(offset)))?;
                return Ok(ListedOffset {
                    offset,
                    timestamp,
                    leader_epoch,
                });
            }
            let OffsetSpec::Timestamp(timestamp) = spec else {
                return Ok(ListedOffset::NONE);
            };
            let next = self.query(|machine| {
                Ok(machine.log().plan_time(
                    timestamp,
                    machine.end_for(isolation),
                    Some(plan.segment),
                ))
            })?;
            match next {
                Some(next) => plan = next,
                None => return Ok(ListedOffset::NONE),
            }
        }
    }

    /// Searches one segment for the offset and timestamp of the wanted record.
    async fn search(&self, plan: &TimePlan) -> Result<Option<(i64, i64)>, ReadError> {
        let offset = match plan.lookup {
            None => plan.offset(&[]),
            Some((index, len)) => plan.offset(&self.cell.place.map(index, len).await?),
        };
        let start = self.query(|machine| Ok(machine.log().plan_position(plan.segment, offset)))?;
        let mut position = self.position(start).await?;
        let mut len = FIRST_READ_BYTES;
        let file = self
            .cell
            .place
            .open(FileName::Log(plan.segment), OpenMode::Read)
            .await?;
        while position < plan.end {
            let left = usize::try_from(plan.end - position).unwrap_or(usize::MAX);
            let bytes = file.read_at(position, len.min(left)).await?;
            match find::search(&bytes, position, plan)? {
                TimeAnswer::None => return Ok(None),
                TimeAnswer::More { at, len: more } => {
                    // A file that is shorter than the log says would have us ask for ever.
                    if at == position && more <= bytes.len() {
                        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                    }
                    if at == position && bytes.len() < len.min(left) {
                        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                    }
                    (position, len) = (at, more.max(FIRST_READ_BYTES));
                }
                TimeAnswer::Batch { bytes, next } => {
                    if let Some(found) = pick(&bytes, position, plan)? {
                        return Ok(Some(found));
                    }
                    position = next;
                }
            }
        }
        Ok(None)
    }
}

fn look(machine: &Partition, spec: OffsetSpec, isolation: Isolation) -> Look {
    let at = |offset: i64, leader_epoch: i32| {
        Look::Answer(ListedOffset {
            offset,
            timestamp: -1,
            leader_epoch,
        })
    };
    let log = machine.log();
    let end = machine.end_for(isolation);
    let planned = match spec {
        OffsetSpec::Earliest | OffsetSpec::EarliestLocal => {
            return at(log.log_start(), machine.epoch_for(log.log_start()));
        }
        OffsetSpec::Latest => return at(end, machine.replication().epoch()),
        // There is no tiered storage.
        OffsetSpec::EarliestPendingUpload | OffsetSpec::LatestTiered => None,
        // What is not settled yet does not count.
        OffsetSpec::MaxTimestamp => log.plan_max_timestamp().map(|mut plan| {
            plan.upto = end;
            plan
        }),
        OffsetSpec::Timestamp(timestamp) => log.plan_time(timestamp, end, None),
    };
    planned.map_or(Look::Answer(ListedOffset::NONE), Look::Search)
}

/// Opens a batch and picks the wanted record. One that swells too much (it was taken from a producer
/// unopened) stands for its records as a whole: a reader who begins at its first misses none.
fn pick(bytes: &Bytes, position: u64, plan: &TimePlan) -> Result<Option<(i64, i64)>, ReadError> {
    let damaged = || Damaged {
        segment: plan.segment,
        position,
        reason: Damage::Crc,
    };
    let batch = BatchView::new(bytes).map_err(|_| damaged())?;
    let offset = batch.base_offset();
    let payload = match batch.records(LOOKUP_BATCH_BYTES_MAX) {
        Ok(payload) => payload,
        Err(CompressionError::TooLarge { .. }) => {
            let whole = (offset.max(plan.from), batch.header().max_timestamp);
            return Ok(find::pick([whole], plan));
        }
        Err(_) => return Err(ReadError::Query(QueryError::Corrupt { offset })),
    };
    let records = RecordIter::new(batch.header(), &payload)
        .map_while(Result::ok)
        .map(|record| (record.offset, record.timestamp));
    Ok(find::pick(records, plan))
}
