//! What consumers of a classic group tell each other, in the bytes that Java's consumers write
//! (`ConsumerProtocol`): a version in two bytes, then the subscription or the assignment.
//!
//! A version newer than ours is read as ours: later versions only add fields at the end.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_wire::{
    DecodeError, Decoder, EncodeError, Encoder, Message, Str,
    group::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
        consumer_protocol_subscription,
    },
};

use super::assignor::Subscription;
use crate::types::TopicPartition;

/// Writes a member's subscription.
pub(crate) fn encode_subscription(subscription: &Subscription) -> Result<Bytes, EncodeError> {
    let message = ConsumerProtocolSubscription {
        topics: subscription.topics.clone(),
        user_data: subscription.user_data.clone(),
        owned_partitions: by_topic(&subscription.owned)
            .into_iter()
            .map(
                |(topic, partitions)| consumer_protocol_subscription::TopicPartition {
                    topic,
                    partitions,
                },
            )
            .collect(),
        generation_id: subscription.generation,
        rack_id: subscription.rack.clone(),
    };
    versioned(&message)
}

/// Reads a member's subscription.
pub(crate) fn decode_subscription(bytes: &Bytes) -> Result<Subscription, DecodeError> {
    let message: ConsumerProtocolSubscription = read(bytes)?;
    let mut owned = Vec::new();
    for topic in &message.owned_partitions {
        owned.extend(
            topic
                .partitions
                .iter()
                .map(|p| TopicPartition::new(topic.topic.detach(), *p)),
        );
    }
    Ok(Subscription {
        topics: message.topics.iter().map(Str::detach).collect(),
        user_data: message.user_data,
        owned,
        generation: message.generation_id,
        rack: message.rack_id.as_ref().map(Str::detach),
        instance_id: None,
    })
}

/// Writes a member's assignment.
pub(crate) fn encode_assignment(partitions: &[TopicPartition]) -> Result<Bytes, EncodeError> {
    let message = ConsumerProtocolAssignment {
        assigned_partitions: by_topic(partitions)
            .into_iter()
            .map(
                |(topic, partitions)| consumer_protocol_assignment::TopicPartition {
                    topic,
                    partitions,
                },
            )
            .collect(),
        user_data: None,
    };
    versioned(&message)
}

/// Reads a member's assignment; no bytes are no partitions.
pub(crate) fn decode_assignment(bytes: &Bytes) -> Result<Vec<TopicPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let message: ConsumerProtocolAssignment = read(bytes)?;
    let mut assigned = Vec::new();
    for topic in &message.assigned_partitions {
        let name = topic.topic.detach();
        assigned.extend(
            topic
                .partitions
                .iter()
                .map(|p| TopicPartition::new(name.clone(), *p)),
        );
    }
    assigned.sort();
    Ok(assigned)
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<Str, Vec<i32>> {
    let mut topics: BTreeMap<Str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics
            .entry(partition.topic.clone())
            .or_default()
            .push(partition.partition);
    }
    topics
}

fn versioned<M: Message>(message: &M) -> Result<Bytes, EncodeError> {
    let mut buffer = BytesMut::new();
    buffer.put_i16(M::MAX_VERSION);
    let mut encoder = Encoder::with_buffer(buffer);
    message.encode(&mut encoder, M::MAX_VERSION)?;
    Ok(encoder.finish().into_bytes())
}

fn read<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    let mut decoder = Decoder::new(bytes.clone());
    let version = decoder.i16()?.clamp(M::MIN_VERSION, M::MAX_VERSION);
    M::decode(&mut decoder, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_comes_back() {
        let subscription = Subscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(&[0, 0, 0, 7])),
            owned: vec![TopicPartition::new("a", 0), TopicPartition::new("a", 2)],
            generation: 7,
            rack: Some("r".into()),
            instance_id: None,
        };
        let bytes = encode_subscription(&subscription).unwrap();
        assert_eq!(&bytes[..2], [0, 3]);
        assert_eq!(decode_subscription(&bytes).unwrap(), subscription);
    }

    #[test]
    fn an_assignment_in_version_0_as_an_old_leader_writes_it_is_read() {
        let bytes = [
            0, 0, // version
            0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, // t: 1, 0
            0xff, 0xff, 0xff, 0xff, // no user data
        ];
        let assigned = decode_assignment(&Bytes::copy_from_slice(&bytes)).unwrap();
        assert_eq!(
            assigned,
            [TopicPartition::new("t", 0), TopicPartition::new("t", 1)]
        );
        assert_eq!(decode_assignment(&Bytes::new()).unwrap(), []);
    }

    #[test]
    fn bytes_cut_short_are_an_error() {
        let bytes = encode_assignment(&[TopicPartition::new("t", 0)]).unwrap();
        for end in 1..bytes.len() {
            assert!(decode_assignment(&bytes.slice(..end)).is_err(), "{end}");
        }
    }
}
