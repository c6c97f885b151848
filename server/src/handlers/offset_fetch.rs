//! OffsetFetch (9): one group in versions 1 to 7, several from version 8 on.

use std::sync::Arc;

use ottla_core::group::{
    Request, Response,
    request::{FetchedOffset, FetchedTopic, OffsetFetch, TopicName},
};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str, Uuid,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};

use super::groups::{ask, code_of, resolve};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.api_version < 8 {
        return one_group(broker, context, request).await;
    }
    let mut response = OffsetFetchResponse::default();
    for group in request.groups {
        response
            .groups
            .push(fetch(broker, context, group, request.require_stable).await);
    }
    response
}

/// Answers for one group in the form of the newer versions.
async fn fetch<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let by_id = context.api_version >= 10;
    let mut answer = OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        ..Default::default()
    };
    let topics = group.topics.map(|topics| {
        let image = broker.metadata.image();
        let mut known = Vec::with_capacity(topics.len());
        for topic in topics {
            match resolve(&image, &topic.name, topic.topic_id, by_id) {
                Ok(name) => known.push((name, topic.partition_indexes)),
                // An offset outlives the metadata's knowledge of its topic; an id without a name
                // says nothing.
                Err(_) if !by_id => {
                    known.push((
                        TopicName {
                            name: topic.name,
                            id: Uuid::ZERO,
                        },
                        topic.partition_indexes,
                    ));
                }
                Err(error) => answer.topics.push(unknown(topic, error)),
            }
        }
        known
    });
    let all = topics.is_none();
    let asked = OffsetFetch {
        group_id: group.group_id.clone(),
        topics,
        require_stable,
    };
    match ask(
        broker,
        context,
        &group.group_id,
        Request::OffsetFetch(asked),
    )
    .await
    {
        Response::OffsetFetch(Ok(topics)) => {
            let image = broker.metadata.image();
            for mut topic in topics {
                let id = if all {
                    let id = image.topic_id(&topic.topic.name).unwrap_or(Uuid::ZERO);
                    forget_earlier(&mut topic, id);
                    id
                } else {
                    topic.topic.id
                };
                if all && topic.partitions.is_empty() {
                    continue;
                }
                // Who speaks of topics by id cannot be told of one that has none any more.
                if !by_id || id != Uuid::ZERO {
                    answer
                        .topics
                        .push(newer_topic(topic, if by_id { id } else { Uuid::ZERO }));
                }
            }
        }
        Response::OffsetFetch(Err(error)) => {
            answer.error_code = error.code();
            answer.topics.clear();
        }
        _ => unreachable!("a fetch is answered by a fetch"),
    }
    answer
}

/// Leaves out what was committed for an earlier topic of the same name.
fn forget_earlier(topic: &mut FetchedTopic, id: Uuid) {
    let is_unknown = |id| id == Uuid::ZERO;
    topic
        .partitions
        .retain(|p| is_unknown(id) || is_unknown(p.topic_id) || p.topic_id == id);
}

fn unknown(topic: OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions =
        topic
            .partition_indexes
            .into_iter()
            .map(|partition_index| OffsetFetchResponsePartitions {
                partition_index,
                committed_offset: -1,
                committed_leader_epoch: -1,
                metadata: Some(Str::new()),
                error_code: error as i16,
                ..Default::default()
            });
    OffsetFetchResponseTopics {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn newer_topic(topic: FetchedTopic, topic_id: Uuid) -> OffsetFetchResponseTopics {
    let partitions =
        topic
            .partitions
            .into_iter()
            .map(|p: FetchedOffset| OffsetFetchResponsePartitions {
                partition_index: p.partition,
                committed_offset: p.offset,
                committed_leader_epoch: p.leader_epoch,
                metadata: Some(p.metadata),
                error_code: code_of(p.error),
                ..Default::default()
            });
    OffsetFetchResponseTopics {
        name: topic.topic.name,
        topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

/// Versions 1 to 7: the same, in the older form.
async fn one_group<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let asked: Option<Vec<(Str, Vec<i32>)>> = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|t| (t.name, t.partition_indexes))
            .collect()
    });
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: asked.clone().map(|topics| {
            topics
                .into_iter()
                .map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                    name,
                    partition_indexes,
                    ..Default::default()
                })
                .collect()
        }),
        ..Default::default()
    };
    let answer = fetch(broker, context, group, request.require_stable).await;
    // Version 1 has no place for an error of the group: it stands with each partition.
    let topics = if answer.error_code != 0 && context.api_version < 2 {
        failed_topics(asked.unwrap_or_default(), answer.error_code)
    } else {
        answer.topics.into_iter().map(older_topic).collect()
    };
    OffsetFetchResponse {
        topics,
        error_code: answer.error_code,
        ..Default::default()
    }
}

fn failed_topics(topics: Vec<(Str, Vec<i32>)>, error_code: i16) -> Vec<OffsetFetchResponseTopic> {
    let failed = |partition_index| OffsetFetchResponsePartition {
        partition_index,
        committed_offset: -1,
        metadata: Some(Str::new()),
        error_code,
        ..Default::default()
    };
    topics
        .into_iter()
        .map(|(name, partitions)| OffsetFetchResponseTopic {
            name,
            partitions: partitions.into_iter().map(failed).collect(),
            ..Default::default()
        })
        .collect()
}

fn older_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|p| OffsetFetchResponsePartition {
            partition_index: p.partition_index,
            committed_offset: p.committed_offset,
            committed_leader_epoch: p.committed_leader_epoch,
            metadata: p.metadata,
            error_code: p.error_code,
            ..Default::default()
        });
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_offsets_those_of_an_earlier_topic_of_the_name_are_left_out() {
        let [old, new] = [1, 2].map(|n| Uuid::from_parts(0, n));
        let stored = |partition, topic_id| FetchedOffset {
            partition,
            offset: 5,
            leader_epoch: -1,
            metadata: Str::new(),
            topic_id,
            error: None,
        };
        let topic = FetchedTopic {
            topic: TopicName::default(),
            partitions: vec![stored(0, old), stored(1, new), stored(2, Uuid::ZERO)],
        };
        for (id, left) in [(new, vec![1, 2]), (Uuid::ZERO, vec![0, 1, 2])] {
            let mut topic = topic.clone();
            forget_earlier(&mut topic, id);
            let partitions: Vec<i32> = topic.partitions.iter().map(|p| p.partition).collect();
            assert_eq!(partitions, left);
        }
    }
}
