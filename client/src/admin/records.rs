//! Offsets of partitions, and deleting records.

use std::collections::BTreeMap;

use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        DeleteRecordsRequest,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    },
};

use super::Admin;
use crate::{
    client::{Lane, Retry},
    error::BrokerError,
    offsets::{PartitionError, PerPartition},
    types::{IsolationLevel, OffsetAndTimestamp, OffsetSpec, TopicPartition},
};

impl<I: Io> Admin<I> {
    /// Offsets of partitions.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: IsolationLevel,
    ) -> PerPartition<OffsetAndTimestamp> {
        let deadline = self
            .client
            .io
            .now()
            .monotonic
            .after(self.client.config().api_timeout);
        self.client.list_offsets(wanted, isolation, deadline).await
    }

    /// Deletes the records before an offset (-1: all that can be read) of each partition. The answer
    /// is the first offset that is left.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> PerPartition<i64> {
        let deadline = self
            .client
            .io
            .now()
            .monotonic
            .after(self.client.config().api_timeout);
        let mut retry = Retry::until(&self.client, deadline);
        let mut answers = PerPartition::new();
        let mut open = before.clone();
        loop {
            for (leader, partitions) in self.client.by_leader(&open, deadline, &mut answers).await {
                self.delete_records_of(leader, &partitions, &mut answers)
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
                .client
                .refresh_metadata(self.client.metadata().version)
                .await;
        }
    }

    async fn delete_records_of(
        &self,
        leader: i32,
        before: &BTreeMap<TopicPartition, i64>,
        answers: &mut PerPartition<i64>,
    ) {
        let mut topics: BTreeMap<Str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for (partition, &offset) in before {
            let one = DeleteRecordsPartition {
                partition_index: partition.partition,
                offset,
                ..Default::default()
            };
            topics.entry(partition.topic.clone()).or_default().push(one);
        }
        let timeout_ms = self.timeout_ms();
        let build = move |_| DeleteRecordsRequest {
            topics: topics
                .into_iter()
                .map(|(name, partitions)| DeleteRecordsTopic {
                    name,
                    partitions,
                    ..Default::default()
                })
                .collect(),
            timeout_ms,
            ..Default::default()
        };
        let response = match self.client.call(leader, Lane::Main, i16::MAX, build).await {
            Ok((_, response)) => response,
            Err(error) => {
                for partition in before.keys() {
                    answers.insert(partition.clone(), Err(error.clone().into()));
                }
                return;
            }
        };
        for partition in before.keys() {
            let missing = BrokerError::new(ErrorCode::UnknownServerError);
            answers.insert(partition.clone(), Err(missing.into()));
        }
        for topic in &response.topics {
            for answer in &topic.partitions {
                let partition = TopicPartition::new(topic.name.detach(), answer.partition_index);
                let result = BrokerError::check(answer.error_code, None);
                let result = result
                    .map(|()| answer.low_watermark)
                    .map_err(PartitionError::Broker);
                answers.insert(partition, result);
            }
        }
    }
}
