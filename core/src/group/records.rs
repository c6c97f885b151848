//! The records of `__consumer_offsets` that the shard writes and reads, in Kafka's own bytes.
//!
//! A key begins with its type in two bytes (0 and 1: an offset; 2: a classic group), a value with
//! its version. Values are written in the versions Kafka 4.3 writes: 3 for a group; for an offset 4,
//! which has the topic's id where that is known, so that the offset can never be taken for one of a
//! later topic of the same name (KAFKA-12257), or 1 where it carries an expiry of its own.

use alloc::vec::Vec;

use bytes::Bytes;
use ottla_wire::{
    EncodeError, Message, Str, Uuid,
    group::{
        CoordinatorKey, GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
        group_metadata_value::MemberMetadata,
    },
};

use super::{
    Record,
    classic::ClassicGroup,
    member::Member,
    request::{CommitPartition, Protocol},
};
use crate::{limits::GROUP_APPEND_BYTES_MAX, time::Timestamp};

/// The topic that holds the records of all groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// What a record takes in a batch besides its key and value, at most: its length, attributes, time,
/// offset, two lengths and the count of its headers, in a batch of up to 1 MiB.
pub(super) const RECORD_OVERHEAD: usize = 3 + 1 + 1 + 3 + 3 + 3 + 1;

const _: () = assert!(GROUP_APPEND_BYTES_MAX <= 1 << 20);

/// The partition of [`OFFSETS_TOPIC`] that a group belongs to: Java's `String.hashCode`, made
/// positive as Kafka does, modulo `offsets.topic.num.partitions`.
#[must_use]
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    let hash = group_id
        .encode_utf16()
        .fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(unit.into()));
    // Java's Math.abs(MIN_VALUE) is negative; Kafka makes it 0.
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

/// An offset as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredOffset {
    pub(super) offset: i64,
    /// -1 if unknown.
    pub(super) leader_epoch: i32,
    pub(super) metadata: Str,
    pub(super) committed: Timestamp,
    /// An expiry of the offset's own, from clients older than KIP-211.
    pub(super) expires: Option<Timestamp>,
    /// Zero if unknown.
    pub(super) topic_id: Uuid,
}

impl StoredOffset {
    pub(super) fn new(
        commit: &CommitPartition,
        topic_id: Uuid,
        now: Timestamp,
        retention_time_ms: i64,
    ) -> Self {
        Self {
            offset: commit.offset,
            leader_epoch: commit.leader_epoch.max(-1),
            metadata: commit
                .metadata
                .as_ref()
                .map(Str::detach)
                .unwrap_or_default(),
            committed: now,
            expires: (retention_time_ms != -1)
                .then(|| Timestamp(now.0.saturating_add(retention_time_ms))),
            topic_id,
        }
    }

    /// Whether an offset for one topic id may be shown to one who asks for another.
    pub(super) fn fits(&self, topic_id: Uuid) -> bool {
        self.topic_id == Uuid::ZERO || topic_id == Uuid::ZERO || self.topic_id == topic_id
    }

    fn encode(&self) -> Result<Bytes, EncodeError> {
        let value = OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
            commit_timestamp: self.committed.0,
            expire_timestamp: self.expires.unwrap_or(Timestamp::NONE).0,
            topic_id: self.topic_id,
            ..OffsetCommitValue::default()
        };
        if self.expires.is_some() {
            let value = OffsetCommitValue {
                leader_epoch: -1,
                topic_id: Uuid::ZERO,
                ..value
            };
            return versioned(&value, 1);
        }
        versioned(&value, 4)
    }
}

/// A value behind its version.
///
/// That a string is too long for a record is what can go wrong. Requests are bounded as they come
/// ([`super::request::Request::check`]), so this is the second guard: one more kind of string must
/// not be able to end the shard.
fn versioned<M: Message>(value: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = ottla_wire::Encoder::new();
    e.i16(version);
    value.encode(&mut e, version)?;
    Ok(e.finish().into_bytes())
}

/// The record of an offset; `None` for its tombstone.
pub(super) fn offset_record(
    group: &Str,
    topic: &Str,
    partition: i32,
    stored: Option<&StoredOffset>,
) -> Result<Record, EncodeError> {
    let key = OffsetCommitKey {
        group: group.clone(),
        topic: topic.clone(),
        partition,
    };
    Ok(Record {
        key: CoordinatorKey::OffsetCommit(key).to_bytes()?,
        value: stored.map(StoredOffset::encode).transpose()?,
    })
}

/// The record of a group's membership; `None` for its tombstone.
pub(super) fn group_record(group: &Str, value: Option<Bytes>) -> Result<Record, EncodeError> {
    let key = GroupMetadataKey {
        group: group.clone(),
    };
    Ok(Record {
        key: CoordinatorKey::GroupMetadata(key).to_bytes()?,
        value,
    })
}

/// A group's membership with these assignments, as the value of its record.
pub(super) fn group_value(
    group: &ClassicGroup,
    assignment: impl Fn(&Member) -> Bytes,
) -> Result<Bytes, EncodeError> {
    let protocol = group.protocol_name.clone();
    let members = group
        .members()
        .map(|m| MemberMetadata {
            member_id: m.id.clone(),
            group_instance_id: m.group_instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            rebalance_timeout: m.rebalance_timeout_ms,
            session_timeout: m.session_timeout_ms,
            subscription: protocol.as_ref().map(|p| m.metadata(p)).unwrap_or_default(),
            assignment: assignment(m),
            ..MemberMetadata::default()
        })
        .collect();
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation,
        protocol,
        leader: group.leader.clone(),
        current_state_timestamp: group.state_since.unwrap_or(Timestamp::NONE).0,
        members,
        ..GroupMetadataValue::default()
    };
    versioned(&value, 3)
}

/// What a record of the log says.
#[derive(Clone, Debug)]
pub(super) enum Parsed {
    Offset {
        group: Str,
        topic: Str,
        partition: i32,
        stored: Option<StoredOffset>,
    },
    Group {
        group: Str,
        restored: Option<ClassicGroup>,
    },
    /// A kind that the shard does not know, or bytes that do not parse.
    Foreign,
}

pub(super) fn parse(record: &Record) -> Parsed {
    match CoordinatorKey::decode(record.key.clone()) {
        Ok(CoordinatorKey::OffsetCommit(key)) => {
            parse_offset(&key.group, &key.topic, key.partition, record.value.as_ref())
        }
        Ok(CoordinatorKey::LegacyOffsetCommit(key)) => {
            parse_offset(&key.group, &key.topic, key.partition, record.value.as_ref())
        }
        Ok(CoordinatorKey::GroupMetadata(key)) => parse_group(&key.group, record.value.as_ref()),
        _ => Parsed::Foreign,
    }
}

fn unversioned<M: Message>(bytes: &Bytes) -> Option<M> {
    let mut d = ottla_wire::Decoder::new(bytes.clone());
    let version = d.i16().ok()?;
    let value = M::decode(&mut d, version).ok()?;
    d.finish().ok()?;
    Some(value)
}

fn parse_offset(group: &Str, topic: &Str, partition: i32, value: Option<&Bytes>) -> Parsed {
    let stored = match value {
        None => None,
        Some(bytes) => match unversioned::<OffsetCommitValue>(bytes) {
            None => return Parsed::Foreign,
            Some(value) => Some(StoredOffset {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: value.metadata.detach(),
                committed: Timestamp(value.commit_timestamp),
                expires: (value.expire_timestamp != -1)
                    .then_some(Timestamp(value.expire_timestamp)),
                topic_id: value.topic_id,
            }),
        },
    };
    Parsed::Offset {
        group: group.detach(),
        topic: topic.detach(),
        partition,
        stored,
    }
}

fn parse_group(group: &Str, value: Option<&Bytes>) -> Parsed {
    let restored = match value {
        None => None,
        Some(bytes) => match unversioned::<GroupMetadataValue>(bytes) {
            None => return Parsed::Foreign,
            Some(value) => Some(restore(value)),
        },
    };
    Parsed::Group {
        group: group.detach(),
        restored,
    }
}

fn restore(value: GroupMetadataValue) -> ClassicGroup {
    let protocol = value.protocol.as_ref().map(Str::detach);
    let members: Vec<Member> = value
        .members
        .iter()
        .map(|m| Member {
            id: m.member_id.detach(),
            group_instance_id: m.group_instance_id.as_ref().map(Str::detach),
            client_id: m.client_id.detach(),
            client_host: m.client_host.detach(),
            rebalance_timeout_ms: if m.rebalance_timeout == -1 {
                m.session_timeout
            } else {
                m.rebalance_timeout
            },
            session_timeout_ms: m.session_timeout,
            protocols: alloc::vec![Protocol {
                name: protocol.clone().unwrap_or_default(),
                metadata: Bytes::copy_from_slice(&m.subscription),
            }],
            assignment: Bytes::copy_from_slice(&m.assignment),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        })
        .collect();
    ClassicGroup::restored(
        value.generation,
        (!value.protocol_type.is_empty()).then(|| value.protocol_type.detach()),
        protocol,
        value.leader.as_ref().map(Str::detach),
        (value.current_state_timestamp != -1).then_some(Timestamp(value.current_state_timestamp)),
        members,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_fall_on_the_partitions_that_kafka_gives_them() {
        // Java: Math.abs("...".hashCode()) % 50, with Integer.MIN_VALUE made 0.
        for (group, partition) in [
            ("", 0),
            ("g1", 42),
            ("my-group", 12),
            ("polygenelubricants", 0),
            ("grüppe😀", 13),
        ] {
            assert_eq!(partition_for(group, 50), partition, "{group}");
        }
    }

    #[test]
    fn an_offset_comes_back_as_it_was_written_in_every_version() {
        let plain = StoredOffset {
            offset: 42,
            leader_epoch: 7,
            metadata: "note".into(),
            committed: Timestamp(1_000),
            expires: None,
            topic_id: Uuid::ZERO,
        };
        let with_id = StoredOffset {
            topic_id: Uuid::ONE,
            ..plain.clone()
        };
        let expiring = StoredOffset {
            expires: Some(Timestamp(2_000)),
            leader_epoch: -1,
            ..plain.clone()
        };
        for (stored, version) in [(plain, 4), (with_id, 4), (expiring, 1)] {
            let record = offset_record(&"g".into(), &"t".into(), 3, Some(&stored)).unwrap();
            assert_eq!(&record.key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x03");
            assert_eq!(record.value.as_ref().unwrap()[..2], [0, version]);
            let Parsed::Offset {
                stored: back,
                partition: 3,
                ..
            } = parse(&record)
            else {
                panic!()
            };
            assert_eq!(back, Some(stored));
        }
    }
}
