//! DeleteRecords (21): what lies below an offset is no longer wanted (KIP-107).

use std::sync::Arc;

use futures_util::future::join_all;
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use super::{errors, topics};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.iter().map(|topic| async move {
        let partitions = topic.partitions.iter().map(|partition| async move {
            let index = partition.partition_index;
            let deleted = delete(broker, &topic.name, index, partition.offset).await;
            DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: deleted.unwrap_or(-1),
                error_code: deleted.err().unwrap_or(ErrorCode::None) as i16,
                ..Default::default()
            }
        });
        DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions: join_all(partitions).await,
            ..Default::default()
        }
    });
    DeleteRecordsResponse {
        topics: join_all(topics).await,
        ..Default::default()
    }
}

async fn delete<I: Io>(
    broker: &Arc<Broker<I>>,
    topic: &Str,
    partition: i32,
    before: i64,
) -> Result<i64, ErrorCode> {
    if topic.as_str() == "__consumer_offsets" || topic.as_str() == "__transaction_state" {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = topics::find(broker, topic, partition)?;
    let config = partition.config();
    // Only retention may take records; a compacted topic keeps the last of each key.
    if !config.log.delete && config.log.compact {
        return Err(ErrorCode::PolicyViolation);
    }
    partition
        .delete_records(before)
        .await
        .map_err(|error| errors::of_query(&error))
}
