//! OffsetForLeaderEpoch (23): where the records of a leader epoch end (KIP-101, KIP-320).

use std::sync::Arc;

use ottla_io::Io;
use ottla_wire::{
    ErrorCode,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::{errors, topics};
use crate::{broker::Broker, context::RequestContext};

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let known = (asked.current_leader_epoch >= 0).then_some(asked.current_leader_epoch);
            let end = topics::find(broker, &topic.topic, asked.partition).and_then(|partition| {
                let end = partition.epoch_end_offset(known, asked.leader_epoch);
                end.map_err(|error| errors::of_query(&error))
            });
            EpochEndOffset {
                partition: asked.partition,
                error_code: end.err().unwrap_or(ErrorCode::None) as i16,
                leader_epoch: end.map_or(-1, |end| end.leader_epoch),
                end_offset: end.map_or(-1, |end| end.end_offset),
                ..Default::default()
            }
        });
        OffsetForLeaderTopicResult {
            partitions: partitions.collect(),
            topic: topic.topic,
            ..Default::default()
        }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
