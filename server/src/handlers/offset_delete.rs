//! OffsetDelete (47), KIP-496.

use std::sync::Arc;

use ottla_core::group::{Request, Response, request::OffsetDelete};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use super::groups::{ask, code_of};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request. Partitions that the metadata does not know are refused here.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    context: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let group = request.group_id.clone();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut response = OffsetDeleteResponse::default();
    {
        let image = broker.metadata.image();
        for topic in request.topics {
            let mut answer = OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                ..Default::default()
            };
            let mut known = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                if image
                    .partition(&topic.name, partition.partition_index)
                    .is_some()
                {
                    known.push(partition.partition_index);
                } else {
                    answer.partitions.push(OffsetDeleteResponsePartition {
                        partition_index: partition.partition_index,
                        error_code: ErrorCode::UnknownTopicOrPartition as i16,
                    });
                }
            }
            topics.push((topic.name, known));
            response.topics.push(answer);
        }
    }
    let asked = Request::OffsetDelete(OffsetDelete {
        group_id: request.group_id,
        topics,
    });
    match ask(broker, context, &group, asked).await {
        Response::OffsetDelete(Ok(results)) => {
            for (topic, results) in response.topics.iter_mut().zip(results) {
                topic.partitions.extend(results.partitions.into_iter().map(
                    |(partition_index, error)| OffsetDeleteResponsePartition {
                        partition_index,
                        error_code: code_of(error),
                    },
                ));
            }
            response
        }
        Response::OffsetDelete(Err(error)) => OffsetDeleteResponse {
            error_code: error.code(),
            ..Default::default()
        },
        _ => unreachable!("a deletion is answered by a deletion"),
    }
}
