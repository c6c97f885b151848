//! Asking partition leaders for offsets (KIP-79), for consumer and admin alike.

use std::collections::BTreeMap;

use ottla_core::time::Instant;
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
};

use crate::{
    client::{Client, Lane, Retry, TopicError},
    error::{BrokerError, RequestError},
    types::{IsolationLevel, OffsetAndTimestamp, OffsetSpec, TopicPartition},
};

/// Why a partition's leader gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// The leader says no.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// There was no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The partition's leader is not known.
    #[error("the partition has no leader")]
    NoLeader,
}

impl PartitionError {
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            Self::Broker(error) => error.code.is_retriable(),
            Self::Request(error) => error.is_retriable(),
            Self::NoLeader => true,
        }
    }
}

impl From<TopicError> for PartitionError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Request(error) => Self::Request(error),
            TopicError::Broker(error) => Self::Broker(error),
            TopicError::TimedOut => Self::NoLeader,
        }
    }
}

/// An answer for each partition that was asked about.
pub type PerPartition<T> = BTreeMap<TopicPartition, Result<T, PartitionError>>;

impl<I: Io> Client<I> {
    /// Groups partitions by their leaders; those without one get an error in `answers`.
    pub(crate) async fn by_leader<V: Clone, T>(
        &self,
        wanted: &BTreeMap<TopicPartition, V>,
        deadline: Instant,
        answers: &mut PerPartition<T>,
    ) -> BTreeMap<i32, BTreeMap<TopicPartition, V>> {
        let mut by_leader: BTreeMap<i32, BTreeMap<TopicPartition, V>> = BTreeMap::new();
        for (partition, value) in wanted {
            let metadata = match self.wait_for_topic(&partition.topic, deadline).await {
                Ok(metadata) => metadata,
                Err(error) => {
                    answers.insert(partition.clone(), Err(error.into()));
                    continue;
                }
            };
            let known = metadata.partition(&partition.topic, partition.partition);
            match known.map(|known| known.leader) {
                Some(Some(leader)) => {
                    let of_leader = by_leader.entry(leader).or_default();
                    of_leader.insert(partition.clone(), value.clone());
                }
                Some(None) => {
                    answers.insert(partition.clone(), Err(PartitionError::NoLeader));
                }
                None => {
                    let error = BrokerError::new(ErrorCode::UnknownTopicOrPartition);
                    answers.insert(partition.clone(), Err(error.into()));
                }
            }
        }
        by_leader
    }

    /// Asks the leaders for offsets, again for those that moved, until `deadline`.
    pub(crate) async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: IsolationLevel,
        deadline: Instant,
    ) -> PerPartition<OffsetAndTimestamp> {
        let mut answers = PerPartition::new();
        let mut open = wanted.clone();
        let mut retry = Retry::until(self, deadline);
        loop {
            let seen = self.metadata().version;
            for (leader, partitions) in self.by_leader(&open, deadline, &mut answers).await {
                self.list_offsets_of(leader, &partitions, isolation, &mut answers)
                    .await;
            }
            let again = |p: &TopicPartition| {
                answers
                    .get(p)
                    .is_some_and(|a| a.as_ref().is_err_and(PartitionError::is_retriable))
            };
            open.retain(|partition, _| again(partition));
            if open.is_empty() || !retry.pause().await {
                return answers;
            }
            // If no broker answers now, the next round finds out by itself.
            let _ = self
                .refresh_metadata(seen.max(self.metadata().version))
                .await;
        }
    }

    async fn list_offsets_of(
        &self,
        leader: i32,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: IsolationLevel,
        answers: &mut PerPartition<OffsetAndTimestamp>,
    ) {
        let metadata = self.metadata();
        let mut topics: BTreeMap<Str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (partition, spec) in wanted {
            let epoch = metadata
                .leader(&partition.topic, partition.partition)
                .map_or(-1, |(_, e)| e);
            topics
                .entry(partition.topic.clone())
                .or_default()
                .push(ListOffsetsPartition {
                    partition_index: partition.partition,
                    current_leader_epoch: epoch,
                    timestamp: spec.timestamp(),
                    ..Default::default()
                });
        }
        let timeout_ms =
            i32::try_from(self.config().request_timeout.as_millis()).unwrap_or(i32::MAX);
        let build = move |version: i16| ListOffsetsRequest {
            replica_id: -1,
            isolation_level: if version >= 2 { isolation.code() } else { 0 },
            topics: topics
                .into_iter()
                .map(|(name, partitions)| ListOffsetsTopic {
                    name,
                    partitions,
                    ..Default::default()
                })
                .collect(),
            timeout_ms,
            ..Default::default()
        };
        match self.call(leader, Lane::Main, i16::MAX, build).await {
            Ok((_, response)) => take_answers(&response, wanted, answers),
            Err(error) => {
                for partition in wanted.keys() {
                    answers.insert(partition.clone(), Err(error.clone().into()));
                }
            }
        }
    }
}

fn take_answers(
    response: &ListOffsetsResponse,
    wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    answers: &mut PerPartition<OffsetAndTimestamp>,
) {
    for partition in wanted.keys() {
        let missing = BrokerError::new(ErrorCode::UnknownServerError);
        answers.insert(partition.clone(), Err(missing.into()));
    }
    for topic in &response.topics {
        for answer in &topic.partitions {
            let partition = TopicPartition::new(topic.name.detach(), answer.partition_index);
            if let Some(slot) = answers.get_mut(&partition) {
                *slot = BrokerError::check(answer.error_code, None)
                    .map(|()| OffsetAndTimestamp {
                        offset: answer.offset,
                        timestamp: answer.timestamp,
                        leader_epoch: answer.leader_epoch,
                    })
                    .map_err(PartitionError::Broker);
            }
        }
    }
}
