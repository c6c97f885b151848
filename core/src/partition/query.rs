//! Questions that are answered from memory, and readers that wait.

use alloc::vec::Vec;

use super::{
    Answer, Condition, EpochEnd, Isolation, Offsets, Output, Partition, ProducerView, Producers,
    QueryError, Ticket,
};
use crate::log::{AbortedPlan, OffsetOutOfRange, ReadPlan};

/// What a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The epoch of the last record the reader has: tells one whose log has parted from this one
    /// where to go back to (KIP-595).
    pub last_fetched_epoch: Option<i32>,
}

/// What a reader gets, and where the log stood when that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where the log stood.
    pub offsets: Offsets,
    /// The reader's log is another's from here on; there is nothing to read.
    pub diverging: Option<EpochEnd>,
    /// What to read; none at the end.
    pub plan: Option<ReadPlan>,
    /// Where aborted transactions are found, for a reader of committed records.
    pub aborted: Vec<AbortedPlan>,
}

impl Partition {
    /// Where the log stands.
    #[must_use]
    pub fn offsets(&self) -> Offsets {
        let high_watermark = self.replication.high_watermark();
        Offsets {
            log_start: self.log.log_start(),
            last_stable: self.log.last_stable_offset(high_watermark),
            high_watermark,
            log_end: self.log.log_end(),
            leader_epoch: self.replication.epoch(),
        }
    }

    /// The end that `isolation` shows. What is not written yet is not shown to anyone.
    #[must_use]
    pub fn end_for(&self, isolation: Isolation) -> i64 {
        let offsets = self.offsets();
        match isolation {
            Isolation::LogEnd => self.log.written_end(),
            Isolation::ReadUncommitted => offsets.high_watermark,
            Isolation::ReadCommitted => offsets.last_stable,
        }
    }

    /// Decides what a reader gets.
    pub fn fetch(&self, query: &FetchQuery) -> Result<Fetched, QueryError> {
        self.check_online()?;
        if query.isolation != Isolation::LogEnd || query.current_leader_epoch.is_some() {
            self.check_readable(query.current_leader_epoch)?;
        }
        let offsets = self.offsets();
        let none = Fetched {
            offsets,
            diverging: None,
            plan: None,
            aborted: Vec::new(),
        };
        if let Some(epoch) = query.last_fetched_epoch {
            let end = self.epoch_end(epoch).ok_or(QueryError::OffsetOutOfRange {
                offset: query.offset,
                log_start: offsets.log_start,
                log_end: offsets.log_end,
            })?;
            if end.leader_epoch < epoch || end.end_offset < query.offset {
                return Ok(Fetched {
                    diverging: Some(end),
                    ..none
                });
            }
        }
        let upto = self.end_for(query.isolation);
        let plan = self
            .log
            .plan_read(query.offset, upto, query.max_bytes, query.at_least_one)?;
        let aborted = match query.isolation {
            Isolation::ReadCommitted if plan.is_some() => self.log.plan_aborted(query.offset),
            _ => Vec::new(),
        };
        Ok(Fetched {
            plan,
            aborted,
            ..none
        })
    }

    /// The end of what was written under `leader_epoch`, as far as this log knows.
    pub fn epoch_end_offset(
        &self,
        current_leader_epoch: Option<i32>,
        leader_epoch: i32,
    ) -> Result<EpochEnd, QueryError> {
        self.check_online()?;
        self.check_readable(current_leader_epoch)?;
        Ok(self.epoch_end(leader_epoch).unwrap_or(EpochEnd {
            leader_epoch: -1,
            end_offset: -1,
        }))
    }

    /// The epoch of the record at `offset`, or -1.
    #[must_use]
    pub fn epoch_for(&self, offset: i64) -> i32 {
        self.log.epochs().epoch_for_offset(offset).unwrap_or(-1)
    }

    /// The producers that are active.
    pub fn producers(&self) -> Result<Producers, QueryError> {
        self.check_online()?;
        self.check_readable(None)?;
        Ok(self
            .log
            .producers()
            .iter()
            .map(|(producer_id, entry)| ProducerView {
                producer_id,
                producer_epoch: entry.producer_epoch,
                last_sequence: entry.last_sequence(),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: entry.coordinator_epoch,
                current_transaction_start: entry.current_txn_first_offset.unwrap_or(-1),
            })
            .collect())
    }

    /// Whether files can be read.
    pub fn check_online(&self) -> Result<(), QueryError> {
        match self.condition {
            Condition::Offline | Condition::Closed => Err(QueryError::Offline),
            Condition::Online | Condition::Closing { .. } => Ok(()),
        }
    }

    /// Whether a reader who knows this epoch may read here.
    pub fn check_readable(&self, current_leader_epoch: Option<i32>) -> Result<(), QueryError> {
        let current = self.replication.epoch();
        match current_leader_epoch {
            Some(got) if got < current => Err(QueryError::FencedLeaderEpoch { current, got }),
            Some(got) if got > current => Err(QueryError::UnknownLeaderEpoch { current, got }),
            _ if !self.replication.is_leader() => Err(QueryError::NotLeader {
                leader_epoch: current,
            }),
            _ => Ok(()),
        }
    }

    fn epoch_end(&self, epoch: i32) -> Option<EpochEnd> {
        let end = self
            .log
            .epochs()
            .end_offset_for(epoch, self.log.log_end())?;
        Some(EpochEnd {
            leader_epoch: end.epoch,
            end_offset: end.end_offset,
        })
    }

    /// Answers a reader at once if there is something for it, or lets it wait.
    pub(super) fn wait(
        &mut self,
        from: Ticket,
        beyond: i64,
        isolation: Isolation,
        out: &mut Vec<Output>,
    ) {
        let refused = self.check_online().and_then(|()| match isolation {
            Isolation::LogEnd => Ok(()),
            _ => self.check_readable(None),
        });
        // A reader below the log's start or above its end has its answer in the next plan.
        let moved = self.end_for(isolation) > beyond || self.log.log_start() > beyond;
        if refused.is_err() || moved {
            out.push(Output::Reply {
                to: from,
                answer: Answer::Ready(refused),
            });
        } else {
            self.readers.insert(from, (beyond, isolation));
        }
    }

    /// Answers the readers for whom there is something now.
    pub(super) fn wake(&mut self, out: &mut Vec<Output>) {
        if self.readers.is_empty() {
            return;
        }
        let ends = [
            Isolation::LogEnd,
            Isolation::ReadUncommitted,
            Isolation::ReadCommitted,
        ]
        .map(|isolation| (isolation, self.end_for(isolation)));
        let log_start = self.log.log_start();
        self.readers.retain(|&to, &mut (beyond, isolation)| {
            let end = ends
                .iter()
                .find(|(of, _)| *of == isolation)
                .map_or(0, |(_, end)| *end);
            let ready = end > beyond || log_start > beyond;
            if ready {
                out.push(Output::Reply {
                    to,
                    answer: Answer::Ready(Ok(())),
                });
            }
            !ready
        });
    }

    /// Answers all readers: their next plan tells them why.
    pub(super) fn wake_all(&mut self, answer: Result<(), QueryError>, out: &mut Vec<Output>) {
        let readers = core::mem::take(&mut self.readers);
        out.extend(readers.into_keys().map(|to| Output::Reply {
            to,
            answer: Answer::Ready(answer),
        }));
    }
}

impl From<OffsetOutOfRange> for QueryError {
    fn from(error: OffsetOutOfRange) -> Self {
        let OffsetOutOfRange {
            offset,
            log_start,
            log_end,
        } = error;
        Self::OffsetOutOfRange {
            offset,
            log_start,
            log_end,
        }
    }
}
