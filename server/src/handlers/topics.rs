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
        return broker
            .storage
            .topic_name(id)
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
    let name = TopicPartition::new(topic, partition);
    broker
        .storage
        .get(&name)
        .ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn is_metadata(name: &str) -> bool {
    name == "__cluster_metadata"
}
