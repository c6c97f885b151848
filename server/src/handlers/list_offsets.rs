//! ListOffsets (2): the ends of partitions, and offsets by time.

use std::sync::Arc;

use futures_util::future::join_all;
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use super::{errors, topics};
use crate::{
    broker::Broker,
    context::RequestContext,
    storage::{Isolation, ListedOffset, OffsetSpec},
};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = match (request.replica_id, request.isolation_level) {
        (_, 1) => Isolation::ReadCommitted,
        // The debugging consumer (-2) and replicas see all there is.
        (replica, _) if replica >= 0 || replica == -2 => Isolation::LogEnd,
        _ => Isolation::ReadUncommitted,
    };
    let topics = request.topics.iter().map(|topic| async move {
        let partitions = topic.partitions.iter().map(|partition| async move {
            let listed = list(broker, context, &topic.name, partition, isolation).await;
            respond(partition.partition_index, context.api_version, listed)
        });
        ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: join_all(partitions).await,
            ..Default::default()
        }
    });
    ListOffsetsResponse {
        topics: join_all(topics).await,
        ..Default::default()
    }
}

async fn list<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    topic: &Str,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<ListedOffset, ErrorCode> {
    let spec = spec(wanted.timestamp, context.api_version)?;
    let partition = topics::find(broker, topic, wanted.partition_index)?;
    let epoch = (wanted.current_leader_epoch >= 0).then_some(wanted.current_leader_epoch);
    partition
        .list_offset(spec, isolation, epoch)
        .await
        .map_err(|error| errors::of_read(&error))
}

/// What a timestamp asks for: some of those below zero have a meaning of their own, from a version on.
fn spec(timestamp: i64, version: i16) -> Result<OffsetSpec, ErrorCode> {
    Ok(match timestamp {
        0.. => OffsetSpec::Timestamp(timestamp),
        -1 => OffsetSpec::Latest,
        -2 => OffsetSpec::Earliest,
        -3 if version >= 7 => OffsetSpec::MaxTimestamp,
        -4 if version >= 8 => OffsetSpec::EarliestLocal,
        -5 if version >= 9 => OffsetSpec::LatestTiered,
        -6 if version >= 11 => OffsetSpec::EarliestPendingUpload,
        _ => return Err(ErrorCode::UnsupportedVersion),
    })
}

fn respond(
    partition_index: i32,
    version: i16,
    listed: Result<ListedOffset, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let (error_code, listed) = match listed {
        Ok(listed) => (ErrorCode::None, listed),
        Err(code) => (code, ListedOffset::NONE),
    };
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error_code as i16,
        timestamp: listed.timestamp,
        offset: listed.offset,
        leader_epoch: if version >= 4 {
            listed.leader_epoch
        } else {
            -1
        },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_have_their_meaning_from_their_version_on() {
        assert_eq!(spec(-3, 7), Ok(OffsetSpec::MaxTimestamp));
        assert_eq!(spec(-3, 6), Err(ErrorCode::UnsupportedVersion));
        assert_eq!(spec(-6, 10), Err(ErrorCode::UnsupportedVersion));
        assert_eq!(spec(-7, 11), Err(ErrorCode::UnsupportedVersion));
        assert_eq!(spec(0, 1), Ok(OffsetSpec::Timestamp(0)));
    }
}
