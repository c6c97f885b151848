//! FindCoordinator (10): which broker coordinates a group.
//!
//! The first one to ask makes `__consumer_offsets`: compacted, with `offsets.topic.num.partitions`
//! partitions on as many brokers as `offsets.topic.replication.factor` says and are there.

use std::sync::Arc;

use ottla_core::{
    controller,
    group::{OFFSETS_TOPIC, partition_for},
};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        CreateTopicsRequest, FindCoordinatorRequest, FindCoordinatorResponse,
        find_coordinator_response::Coordinator,
    },
};

use super::internal_topics::new_topic;
use crate::{broker::Broker, context::RequestContext};

/// The kind of key that names a group; 1 names a transactional id, 2 a share group's partition.
const KEY_TYPE_GROUP: i8 = 0;

/// Answers a request: about one key before version 4, about several from then on.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let batched = context.api_version >= 4;
    let keys = if batched {
        request.coordinator_keys
    } else {
        vec![request.key]
    };
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        found.push(if request.key_type == KEY_TYPE_GROUP {
            find(broker, context, key).await
        } else {
            // Neither transactions nor share groups have a coordinator here.
            refuse(
                key,
                ErrorCode::InvalidRequest,
                "No coordinator of this type is available.",
            )
        });
    }
    if batched {
        return FindCoordinatorResponse {
            coordinators: found,
            ..Default::default()
        };
    }
    let one = found.pop().unwrap_or_default();
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..Default::default()
    }
}

async fn find<I: Io>(broker: &Arc<Broker<I>>, context: &RequestContext, key: Str) -> Coordinator {
    if let Some(found) = look_up(broker, context, &key) {
        return found;
    }
    let exists = broker.metadata.image().topic(OFFSETS_TOPIC).is_some();
    if !exists {
        create_offsets_topic(broker).await;
    }
    look_up(broker, context, &key).unwrap_or_else(|| {
        refuse(
            key,
            ErrorCode::CoordinatorNotAvailable,
            "The coordinator is not available.",
        )
    })
}

/// The leader of the group's partition, where the client can reach it.
fn look_up<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    key: &Str,
) -> Option<Coordinator> {
    let image = broker.metadata.image();
    let topic = image.topic(OFFSETS_TOPIC)?;
    let leader = topic
        .partition(partition_for(key, topic.partition_count()))?
        .leader()?;
    let endpoint = image
        .broker(leader)?
        .endpoint(&context.connection.listener)?;
    Some(Coordinator {
        key: key.clone(),
        node_id: leader,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        ..Default::default()
    })
}

/// Asks the controller for the topic. That another request made it meanwhile is as good; whatever
/// else it says, the client asks again.
async fn create_offsets_topic<I: Io>(broker: &Arc<Broker<I>>) {
    let mut topic = new_topic(&broker.metadata, &Str::from_static(OFFSETS_TOPIC));
    // A cluster of fewer brokers than the replication factor gets as many replicas as it can.
    let brokers = broker.metadata.image().alive_brokers().count();
    let replicas = i16::try_from(brokers).unwrap_or(i16::MAX).max(1);
    topic.replication_factor = topic.replication_factor.min(replicas);
    let request = CreateTopicsRequest {
        topics: vec![topic],
        ..Default::default()
    };
    let request = controller::Request::CreateTopics(request);
    let refused = match broker.metadata.submit(request).await {
        Ok(controller::Response::CreateTopics(response)) => {
            let refused = response.topics.into_iter().find(|topic| {
                let code = ErrorCode::from(topic.error_code);
                !matches!(code, ErrorCode::None | ErrorCode::TopicAlreadyExists)
            });
            refused.map(|topic| topic.error_message.unwrap_or_default().to_string())
        }
        Ok(_) => None,
        Err(error) => Some(format!("{error:?}")),
    };
    if let Some(error) = refused {
        tracing::warn!(%error, "no group can be served: {OFFSETS_TOPIC} cannot be created");
    }
}

fn refuse(key: Str, error: ErrorCode, message: &'static str) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        host: Str::new(),
        port: -1,
        error_code: error as i16,
        error_message: Some(Str::from_static(message)),
        ..Default::default()
    }
}
