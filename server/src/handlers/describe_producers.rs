//! DescribeProducers (61): who writes to a partition (KIP-664).

use std::sync::Arc;

use ottla_io::Io;
use ottla_wire::{
    ErrorCode,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
};

use super::{errors, topics};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|&partition_index| {
            let producers =
                topics::find(broker, &topic.name, partition_index).and_then(|partition| {
                    partition
                        .producers()
                        .map_err(|error| errors::of_query(&error))
                });
            let (error_code, producers) = match producers {
                Ok(producers) => (ErrorCode::None, producers),
                Err(code) => (code, Vec::new()),
            };
            let active_producers = producers.into_iter().map(|producer| ProducerState {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch.into(),
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp,
                coordinator_epoch: producer.coordinator_epoch,
                current_txn_start_offset: producer.current_transaction_start,
                ..Default::default()
            });
            PartitionResponse {
                partition_index,
                error_code: error_code as i16,
                active_producers: active_producers.collect(),
                ..Default::default()
            }
        });
        TopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
            ..Default::default()
        }
    });
    DescribeProducersResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
