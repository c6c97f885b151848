//! Which topic a request means: by name, or by id (KIP-516).

use std::sync::Arc;

use ottla_io::Io;
use ottla_wire::{ErrorCode, Str, Uuid};

use crate::{
    broker::Broker,
    storage::{PartitionHandle, TopicPartition},
};

/// The name of the topic that a request names, or the code that says why not. The metadata log is no
/// topic to clients.
pub(super) fn resolve<I: Io>(
    broker: &Arc<Broker<I>>,
    name: &Str,
    id: Uuid,
    by_id: bool,
) -> Result<Arc<str>, ErrorCode> {
    if by_id {
        // A topic whose partitions could not be opened is in the image alone.
        let known = broker.storage.topic_name(id).or_else(|| {
            let image = broker.metadata.image();
            image.topic_name(id).map(|name| Arc::from(name.as_str()))
        });
        return known
            .filter(|name| !is_metadata(name))
            .ok_or(ErrorCode::UnknownTopicId);
    }
    if is_metadata(name) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    Ok(Arc::from(name.as_str()))
}

/// The partition that a request names.
pub(super) fn find<I: Io>(
    broker: &Arc<Broker<I>>,
    topic: &Str,
    partition: i32,
) -> Result<PartitionHandle<I>, ErrorCode> {
    let topic = resolve(broker, topic, Uuid::ZERO, false)?;
    held(broker, &TopicPartition::new(topic, partition))
}

/// The partition of that name. One that this node should hold and does not could not be opened: its
/// clients are to wait for it, not to forget it.
pub(super) fn held<I: Io>(
    broker: &Arc<Broker<I>>,
    name: &TopicPartition,
) -> Result<PartitionHandle<I>, ErrorCode> {
    broker.storage.get(name).ok_or_else(|| {
        let image = broker.metadata.image();
        let known = image
            .topic(&name.topic)
            .and_then(|topic| topic.partition(name.partition));
        match known {
            None => ErrorCode::UnknownTopicOrPartition,
            Some(known) if known.leader() == Some(broker.metadata.node_id()) => {
                ErrorCode::KafkaStorageError
            }
            Some(_) => ErrorCode::NotLeaderOrFollower,
        }
    })
}

fn is_metadata(name: &str) -> bool {
    name == "__cluster_metadata"
}
