//! Committing a group's offsets and fetching them, for consumer and admin alike.

use std::collections::BTreeMap;

use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
    },
};

use crate::{
    client::{Client, Lane, Retry},
    coordinator::GroupError,
    error::{BrokerError, RequestError},
    types::{OffsetAndMetadata, TopicPartition},
};

/// On whose behalf offsets are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committer {
    pub(crate) group: Str,
    pub(crate) generation: i32,
    pub(crate) member_id: Str,
    pub(crate) instance_id: Option<Str>,
}

impl Committer {
    /// Somebody who is no member; only a group without members lets them commit.
    pub(crate) fn outside(group: Str) -> Self {
        Self {
            group,
            generation: -1,
            member_id: Str::new(),
            instance_id: None,
        }
    }
}

/// The newest versions that name topics; the later ones use ids (KIP-848), which a commit by name
/// cannot rely on.
const COMMIT_BY_NAME: i16 = 9;
const FETCH_BY_NAME: i16 = 9;

/// One commit; an answer for each partition.
pub(crate) async fn commit<I: Io>(
    client: &Client<I>,
    coordinator: i32,
    committer: &Committer,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Result<BTreeMap<TopicPartition, Result<(), BrokerError>>, RequestError> {
    let mut topics: BTreeMap<Str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, offset) in offsets {
        topics
            .entry(partition.topic.clone())
            .or_default()
            .push(OffsetCommitRequestPartition {
                partition_index: partition.partition,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(offset.metadata.as_str().into()),
                ..Default::default()
            });
    }
    let build = |_| OffsetCommitRequest {
        group_id: committer.group.clone(),
        generation_id_or_member_epoch: committer.generation,
        member_id: committer.member_id.clone(),
        group_instance_id: committer.instance_id.clone(),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| OffsetCommitRequestTopic {
                name,
                partitions,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let (_, response) = client
        .call(coordinator, Lane::Coordinator, COMMIT_BY_NAME, build)
        .await?;
    Ok(commit_answers(&response, offsets))
}

fn commit_answers(
    response: &OffsetCommitResponse,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> BTreeMap<TopicPartition, Result<(), BrokerError>> {
    let missing = || Err(BrokerError::new(ErrorCode::UnknownServerError));
    let mut answers: BTreeMap<_, _> = offsets.keys().map(|p| (p.clone(), missing())).collect();
    for topic in &response.topics {
        for p in &topic.partitions {
            let partition = TopicPartition::new(topic.name.detach(), p.partition_index);
            if let Some(answer) = answers.get_mut(&partition) {
                *answer = BrokerError::check(p.error_code, None);
            }
        }
    }
    answers
}

/// The committed offsets of `partitions`, or of all; asks again while the coordinator moves, loads,
/// or (with `stable`) still waits for a transaction to end. Partitions without one are left out.
pub(crate) async fn fetch_committed<I: Io>(
    client: &Client<I>,
    group: &Str,
    partitions: Option<&[TopicPartition]>,
    stable: bool,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, GroupError> {
    let mut retry = Retry::new(client);
    loop {
        let coordinator = client.wait_for_coordinator(group).await?;
        match fetch_once(client, coordinator, group, partitions, stable).await {
            Err(error) if error.is_retriable() && retry.pause().await => {}
            done => return done,
        }
    }
}

async fn fetch_once<I: Io>(
    client: &Client<I>,
    coordinator: i32,
    group: &Str,
    partitions: Option<&[TopicPartition]>,
    stable: bool,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, GroupError> {
    let topics = partitions.map(|partitions| {
        let mut topics: BTreeMap<Str, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            topics
                .entry(partition.topic.clone())
                .or_default()
                .push(partition.partition);
        }
        topics
    });
    let build = |version: i16| fetch_request(version, group, topics, stable);
    let answer = client
        .call(coordinator, Lane::Coordinator, FETCH_BY_NAME, build)
        .await?;
    committed(&answer.1, answer.0)
}

fn fetch_request(
    version: i16,
    group: &Str,
    topics: Option<BTreeMap<Str, Vec<i32>>>,
    stable: bool,
) -> OffsetFetchRequest {
    let require_stable = stable && version >= 7;
    if version < 8 {
        let topics = topics.map(|topics| {
            topics
                .into_iter()
                .map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                    name,
                    partition_indexes,
                    ..Default::default()
                })
                .collect()
        });
        return OffsetFetchRequest {
            group_id: group.clone(),
            topics,
            require_stable,
            ..Default::default()
        };
    }
    let topics = topics.map(|topics| {
        topics
            .into_iter()
            .map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                name,
                partition_indexes,
                ..Default::default()
            })
            .collect()
    });
    let of_group = OffsetFetchRequestGroup {
        group_id: group.clone(),
        topics,
        ..Default::default()
    };
    OffsetFetchRequest {
        groups: vec![of_group],
        require_stable,
        ..Default::default()
    }
}

fn committed(
    response: &OffsetFetchResponse,
    version: i16,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, GroupError> {
    let mut offsets = BTreeMap::new();
    let mut take = |topic: &Str, partition, code, offset, epoch: i32, metadata: Option<&Str>| {
        BrokerError::check(code, None)?;
        if offset >= 0 {
            let leader_epoch = Some(epoch).filter(|e| *e >= 0);
            let metadata = metadata.map(Str::to_string).unwrap_or_default();
            let committed = OffsetAndMetadata {
                offset,
                leader_epoch,
                metadata,
            };
            offsets.insert(TopicPartition::new(topic.detach(), partition), committed);
        }
        Ok::<(), BrokerError>(())
    };
    if version < 8 {
        BrokerError::check(response.error_code, None)?;
        for topic in &response.topics {
            for p in &topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                let metadata = p.metadata.as_ref();
                take(
                    &topic.name,
                    p.partition_index,
                    p.error_code,
                    offset,
                    epoch,
                    metadata,
                )?;
            }
        }
        return Ok(offsets);
    }
    for group in &response.groups {
        BrokerError::check(group.error_code, None)?;
        for topic in &group.topics {
            for p in &topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                let metadata = p.metadata.as_ref();
                take(
                    &topic.name,
                    p.partition_index,
                    p.error_code,
                    offset,
                    epoch,
                    metadata,
                )?;
            }
        }
    }
    Ok(offsets)
}
