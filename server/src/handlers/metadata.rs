//! Metadata (3): which brokers there are, which topics, and who leads their partitions.
//!
//! A topic that a client asks for and that is missing may be created on the way
//! (`auto.create.topics.enable`); it is then answered as it was created, as this node acts on a
//! change before it tells of it.

use std::{collections::BTreeSet, sync::Arc};

use ottla_core::{
    controller::{Request, Response, is_internal, validate_topic_name},
    metadata::{MetadataImage, PartitionImage, TopicImage},
};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str, Uuid,
    messages::{
        CreateTopicsRequest, MetadataRequest, MetadataResponse,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
};

use super::{internal_topics::new_topic, operations};
use crate::{broker::Broker, context::RequestContext};

/// The first version in which a topic may be asked for by id.
const TOPIC_ID_VERSION: i16 = 12;

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    let version = context.api_version;
    let wanted = match &request.topics {
        // Version 0 has no null: no topics are all topics.
        Some(topics) if topics.is_empty() && version == 0 => None,
        topics => topics.as_ref(),
    };
    if let Some(topics) = wanted
        && version < TOPIC_ID_VERSION
        && topics
            .iter()
            .any(|t| t.name.is_none() || !t.topic_id.is_zero())
    {
        return invalid_request(&request);
    }
    if let Some(topics) = wanted
        && request.allow_auto_topic_creation
    {
        let names = topics.iter().filter(|t| t.topic_id.is_zero());
        create_missing(broker, names.filter_map(|t| t.name.as_ref())).await;
    }
    let image = broker.metadata.image();
    let view = View {
        image: &image,
        listener: &context.connection.listener,
        version,
    };
    let topics: Vec<MetadataResponseTopic> = match wanted {
        None => image.topics().map(|topic| view.topic(topic)).collect(),
        // Each topic is answered once, however often it is asked for.
        Some(topics) => {
            let mut seen = BTreeSet::new();
            topics
                .iter()
                .filter(|t| seen.insert((t.name.as_deref(), t.topic_id)))
                .map(|t| view.wanted(t.name.as_ref(), t.topic_id))
                .collect()
        }
    };
    let mut response = MetadataResponse {
        brokers: view.brokers(),
        cluster_id: Some(broker.metadata.cluster_id().clone()),
        controller_id: broker.metadata.node_id(),
        topics,
        ..Default::default()
    };
    if request.include_topic_authorized_operations {
        for topic in response.topics.iter_mut().filter(|t| t.error_code == 0) {
            topic.topic_authorized_operations = operations::TOPIC;
        }
    }
    if request.include_cluster_authorized_operations && (8..=10).contains(&version) {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    response
}

/// Creates what is missing, if the broker's configuration allows it. What cannot be created is
/// simply missing afterwards.
async fn create_missing<'a, I: Io>(broker: &Arc<Broker<I>>, names: impl Iterator<Item = &'a Str>) {
    if !broker.metadata.broker_flag("auto.create.topics.enable") {
        return;
    }
    let missing: BTreeSet<Str> = {
        let image = broker.metadata.image();
        let is_missing =
            |name: &&Str| image.topic(name).is_none() && validate_topic_name(name).is_ok();
        names.filter(is_missing).map(Str::detach).collect()
    };
    if missing.is_empty() {
        return;
    }
    let topics = missing
        .iter()
        .map(|name| new_topic(&broker.metadata, name))
        .collect();
    let request = CreateTopicsRequest {
        topics,
        ..Default::default()
    };
    match broker.metadata.submit(Request::CreateTopics(request)).await {
        Ok(Response::CreateTopics(response)) => {
            for topic in response.topics.iter().filter(|t| t.error_code != 0) {
                let error = topic.error_message.as_deref().unwrap_or_default();
                tracing::info!(topic = %topic.name, error, "a topic is not created automatically");
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "topics are not created automatically"),
    }
}

/// What of the metadata is shown to a client of one listener.
struct View<'a> {
    image: &'a MetadataImage,
    listener: &'a str,
    version: i16,
}

impl View<'_> {
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let shown = self.image.alive_brokers().filter_map(|broker| {
            let endpoint = broker.endpoint(self.listener)?;
            Some(MetadataResponseBroker {
                node_id: broker.id,
                host: endpoint.host.clone(),
                port: endpoint.port.into(),
                rack: broker.rack.clone(),
                ..Default::default()
            })
        });
        shown.collect()
    }

    fn wanted(&self, name: Option<&Str>, id: Uuid) -> MetadataResponseTopic {
        let missing = |error: ErrorCode, name: Option<Str>| MetadataResponseTopic {
            error_code: error as i16,
            is_internal: name.as_ref().is_some_and(|name| is_internal(name)),
            name,
            topic_id: id,
            ..Default::default()
        };
        if !id.is_zero() {
            return match self.image.topic_by_id(id) {
                Some(topic) => self.topic(topic),
                None => missing(ErrorCode::UnknownTopicId, None),
            };
        }
        let Some(name) = name else {
            return missing(ErrorCode::UnknownTopicId, None);
        };
        match self.image.topic(name) {
            Some(topic) => self.topic(topic),
            None => {
                let error = match validate_topic_name(name) {
                    Ok(()) => ErrorCode::UnknownTopicOrPartition,
                    Err(_) => ErrorCode::InvalidTopicException,
                };
                missing(error, Some(name.clone()))
            }
        }
    }

    fn topic(&self, topic: &TopicImage) -> MetadataResponseTopic {
        let partition = |(&index, partition)| self.partition(index, partition);
        MetadataResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            is_internal: is_internal(&topic.name),
            partitions: topic.partitions.iter().map(partition).collect(),
            ..Default::default()
        }
    }

    fn partition(&self, index: i32, partition: &PartitionImage) -> MetadataResponsePartition {
        let is_alive = |id: &i32| self.image.broker(*id).is_some_and(|b| !b.fenced);
        let leader = partition
            .leader()
            .and_then(|id| self.image.broker(id))
            .filter(|b| !b.fenced);
        let reachable = leader.filter(|b| b.endpoint(self.listener).is_some());
        let error = match (leader, reachable) {
            (None, _) => ErrorCode::LeaderNotAvailable,
            (Some(_), None) if self.version >= 6 => ErrorCode::ListenerNotFound,
            (Some(_), None) => ErrorCode::LeaderNotAvailable,
            (Some(_), Some(_)) => ErrorCode::None,
        };
        MetadataResponsePartition {
            error_code: error as i16,
            partition_index: index,
            leader_id: reachable.map_or(-1, |b| b.id),
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.to_vec(),
            isr_nodes: partition.isr.to_vec(),
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

/// Every topic of a request that asks for what its version does not have.
fn invalid_request(request: &MetadataRequest) -> MetadataResponse {
    let topics = request.topics.iter().flatten();
    MetadataResponse {
        topics: topics
            .map(|topic| MetadataResponseTopic {
                error_code: ErrorCode::InvalidRequest as i16,
                // Null is not for these versions.
                name: Some(topic.name.clone().unwrap_or_default()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
