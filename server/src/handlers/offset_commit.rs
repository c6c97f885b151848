//! OffsetCommit (8).

use std::sync::Arc;

use ottla_core::{
    group::{
        Request, Response,
        request::{CommitPartition, CommitTopic, OffsetCommit, TopicResults},
    },
    metadata::MetadataImage,
};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Uuid,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::OffsetCommitRequestTopic,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::groups::{ask, code_of, resolve};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request. Partitions that the metadata does not know are refused here; the group gets
/// the others.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let by_id = context.api_version >= 10;
    let group = request.group_id.clone();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut response = OffsetCommitResponse::default();
    {
        let image = broker.metadata.image();
        for topic in request.topics {
            let (known, answer) = split(&image, topic, by_id);
            topics.push(known);
            response.topics.push(answer);
        }
    }
    let asked = Request::OffsetCommit(OffsetCommit {
        group_id: request.group_id,
        generation_id: request.generation_id_or_member_epoch,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        retention_time_ms: request.retention_time_ms,
        knows_group_id_not_found: context.api_version >= 9,
        topics: topics.clone(),
    });
    let results = match ask(broker, context, &group, asked).await {
        Response::OffsetCommit(Ok(results)) => results,
        Response::OffsetCommit(Err(error)) => topics
            .into_iter()
            .map(|t| TopicResults {
                topic: t.topic,
                partitions: t
                    .partitions
                    .iter()
                    .map(|p| (p.partition, Some(error)))
                    .collect(),
            })
            .collect(),
        _ => unreachable!("a commit is answered by a commit"),
    };
    for (topic, results) in response.topics.iter_mut().zip(results) {
        topic.partitions.extend(
            results
                .partitions
                .into_iter()
                .map(|(partition_index, error)| OffsetCommitResponsePartition {
                    partition_index,
                    error_code: code_of(error),
                    ..Default::default()
                }),
        );
    }
    response
}

/// The partitions that are known, and an answer with the errors of the others.
fn split(
    image: &MetadataImage,
    topic: OffsetCommitRequestTopic,
    by_id: bool,
) -> (CommitTopic, OffsetCommitResponseTopic) {
    let mut answer = OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: if by_id { topic.topic_id } else { Uuid::ZERO },
        ..Default::default()
    };
    let resolved = resolve(image, &topic.name, topic.topic_id, by_id);
    let mut known = CommitTopic::default();
    for partition in topic.partitions {
        let error = match &resolved {
            Err(error) => Some(*error),
            Ok(name)
                if image
                    .partition(&name.name, partition.partition_index)
                    .is_none() =>
            {
                Some(ErrorCode::UnknownTopicOrPartition)
            }
            Ok(_) => None,
        };
        match error {
            Some(error) => answer.partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error as i16,
                ..Default::default()
            }),
            None => known.partitions.push(CommitPartition {
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata,
            }),
        }
    }
    if let Ok(name) = resolved {
        known.topic = name;
    }
    (known, answer)
}
