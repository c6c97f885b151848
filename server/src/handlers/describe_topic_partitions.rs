//! DescribeTopicPartitions (75): topics and their partitions, a page at a time (KIP-966).
//!
//! Topics come in the order of their names. A page ends after as many partitions as the broker or
//! the client allows; its cursor names the first partition that is not in it.

use std::sync::Arc;

use ottla_core::{
    config::Value,
    controller::{is_internal, validate_topic_name},
    metadata::{MetadataImage, PartitionImage, TopicImage},
};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
};

use super::operations;
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let limit = match broker
        .metadata
        .broker_value("max.request.partition.size.limit")
    {
        Some(Value::Integer(limit)) => i32::try_from(limit).unwrap_or(i32::MAX),
        _ => 2000,
    };
    let limit = usize::try_from(limit.min(request.response_partition_limit).max(1)).unwrap_or(1);
    let image = broker.metadata.image();
    let view = View {
        image: &image,
        listener: &context.connection.listener,
    };
    view.page(&request, limit)
}

struct View<'a> {
    image: &'a MetadataImage,
    listener: &'a str,
}

impl View<'_> {
    fn page(
        &self,
        request: &DescribeTopicPartitionsRequest,
        limit: usize,
    ) -> DescribeTopicPartitionsResponse {
        let cursor = request.cursor.as_ref();
        let (from, start) = cursor.map_or(("", 0), |cursor| {
            (cursor.topic_name.as_str(), cursor.partition_index)
        });
        let all = request.topics.is_empty();
        let mut named: Vec<&Str> = request.topics.iter().map(|topic| &topic.name).collect();
        named.sort_unstable();
        named.dedup();
        named.retain(|name| name.as_str() >= from);
        let is_in_list = all || cursor.is_none() || named.iter().any(|name| **name == *from);
        if start < 0 || !is_in_list {
            return invalid_request(request);
        }
        let names: Box<dyn Iterator<Item = &Str>> = match all {
            true => Box::new(self.image.topics_from(from).map(|topic| &topic.name)),
            false => Box::new(named.into_iter()),
        };
        let mut response = DescribeTopicPartitionsResponse::default();
        let mut left = limit;
        for name in names {
            if left == 0 {
                response.next_cursor = Some(cursor_at(name, 0));
                break;
            }
            let Some(topic) = self.image.topic(name) else {
                response.topics.push(missing(name));
                continue;
            };
            let start = if **name == *from { start } else { 0 };
            let mut waiting = topic.partitions.range(start..);
            let shown = waiting.by_ref().take(left);
            let partitions: Vec<_> = shown.map(|(&index, p)| self.partition(index, p)).collect();
            left -= partitions.len();
            response.topics.push(described(topic, partitions));
            if let Some((&next, _)) = waiting.next() {
                response.next_cursor = Some(cursor_at(name, next));
                break;
            }
        }
        response
    }

    fn partition(
        &self,
        index: i32,
        partition: &PartitionImage,
    ) -> DescribeTopicPartitionsResponsePartition {
        let is_alive = |id: &i32| self.image.broker(*id).is_some_and(|b| !b.fenced);
        let leader = partition
            .leader()
            .and_then(|id| self.image.broker(id))
            .filter(|b| !b.fenced);
        let reachable = leader.filter(|b| b.endpoint(self.listener).is_some());
        let error = match (leader, reachable) {
            (None, _) => ErrorCode::LeaderNotAvailable,
            (Some(_), None) => ErrorCode::ListenerNotFound,
            (Some(_), Some(_)) => ErrorCode::None,
        };
        DescribeTopicPartitionsResponsePartition {
            error_code: error as i16,
            partition_index: index,
            leader_id: reachable.map_or(-1, |b| b.id),
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.to_vec(),
            isr_nodes: partition.isr.to_vec(),
            eligible_leader_replicas: Some(partition.eligible_leader_replicas.to_vec()),
            last_known_elr: Some(partition.last_known_elr.to_vec()),
            offline_replicas: partition
                .replicas
                .iter()
                .copied()
                .filter(|id| !is_alive(id))
                .collect(),
            ..Default::default()
        }
    }
}

fn cursor_at(topic: &Str, partition_index: i32) -> Cursor {
    Cursor {
        topic_name: topic.clone(),
        partition_index,
        ..Default::default()
    }
}

fn described(
    topic: &TopicImage,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions,
        topic_authorized_operations: operations::TOPIC,
        ..Default::default()
    }
}

fn missing(name: &Str) -> DescribeTopicPartitionsResponseTopic {
    let error = match validate_topic_name(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error as i16,
        name: Some(name.clone()),
        is_internal: is_internal(name),
        topic_authorized_operations: operations::TOPIC,
        ..Default::default()
    }
}

/// Every topic of a request whose cursor is wrong.
fn invalid_request(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::InvalidRequest as i16,
            name: Some(topic.name.clone()),
            ..Default::default()
        });
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
