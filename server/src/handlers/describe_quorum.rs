//! DescribeQuorum (55): who leads the metadata quorum and how far its members are (KIP-836).

use std::sync::Arc;

use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        DescribeQuorumRequest, DescribeQuorumResponse,
        describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData},
    },
};

use crate::{broker::Broker, context::RequestContext};

/// The one partition that has a quorum.
const TOPIC: &str = "__cluster_metadata";

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let is_right = match request.topics.as_slice() {
        [topic] => {
            topic.topic_name == *TOPIC
                && matches!(topic.partitions.as_slice(), [p] if p.partition_index == 0)
        }
        _ => false,
    };
    if !is_right {
        return unknown_partitions(&request);
    }
    let partition = quorum(broker, context.api_version);
    DescribeQuorumResponse {
        topics: vec![TopicData {
            topic_name: Str::from_static(TOPIC),
            partitions: vec![partition],
            ..Default::default()
        }],
        nodes: if context.api_version >= 2 {
            nodes(broker)
        } else {
            Vec::new()
        },
        ..Default::default()
    }
}

fn quorum<I: Io>(broker: &Arc<Broker<I>>, version: i16) -> PartitionData {
    let metadata = &broker.metadata;
    let now = broker.io.now().wall.0;
    let offsets = metadata.log().offsets();
    let mut leader = ReplicaState {
        replica_id: metadata.node_id(),
        log_end_offset: offsets.log_end,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
        ..Default::default()
    };
    // A static quorum does not know its members' directories.
    if version >= 2 && metadata.voters().is_some() {
        leader.replica_directory_id = metadata.directory_id();
    }
    PartitionData {
        leader_id: metadata.node_id(),
        leader_epoch: metadata.leader_epoch(),
        high_watermark: offsets.high_watermark,
        current_voters: vec![leader],
        ..Default::default()
    }
}

fn nodes<I: Io>(broker: &Arc<Broker<I>>) -> Vec<Node> {
    let endpoint = &broker.metadata.settings().controller;
    let listeners = match broker
        .metadata
        .voters()
        .and_then(|voters| voters.voters.first())
    {
        Some(voter) => voter
            .endpoints
            .iter()
            .map(|e| Listener {
                name: e.name.clone(),
                host: e.host.clone(),
                port: e.port,
                ..Default::default()
            })
            .collect(),
        None => vec![Listener {
            name: Str::from(&endpoint.name),
            host: Str::from(&endpoint.host),
            port: endpoint.port,
            ..Default::default()
        }],
    };
    vec![Node {
        node_id: broker.metadata.node_id(),
        listeners,
        ..Default::default()
    }]
}

fn unknown_partitions(request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| PartitionData {
                partition_index: partition.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition as i16,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    DescribeQuorumResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
