//! What a node of a quorum of one writes when it starts: the bootstrap records, its registrations,
//! and the leaders of its partitions.

use alloc::vec::Vec;

use ottla_wire::metadata::register_broker_record::{BrokerEndpoint, BrokerFeature};
use ottla_wire::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, BrokerRegistrationChangeRecord,
    EndTransactionRecord, MetadataRecord, PartitionChangeRecord, RegisterBrokerRecord,
    UnregisterBrokerRecord,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::features::MIN_ISR;
use super::request::Response;
use super::{AnswerError, Controller, Decision};
use crate::metadata::{Endpoint, PartitionImage, SupportedVersions, features};

/// What a broker says of itself when it starts.
#[derive(Clone, Debug)]
pub struct SelfRegistration {
    /// `node.id`.
    pub broker_id: i32,
    /// Drawn anew by each run.
    pub incarnation: Uuid,
    /// The advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<Str>,
    /// The ids of the log directories.
    pub log_dirs: Vec<Uuid>,
}

/// The features of this broker, as registrations list them.
#[must_use]
pub fn broker_features() -> Vec<(&'static str, SupportedVersions)> {
    let all = features::FINALIZED.iter().chain([&features::KRAFT]);
    all.map(|feature| (feature.name, feature.supported))
        .collect()
}

impl Controller {
    pub(super) fn activation_records(
        &self,
        is_empty: bool,
        left_open: bool,
        bootstrap: &[MetadataRecord],
    ) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        if left_open {
            let record = AbortTransactionRecord {
                reason: Some(Str::from_static("Controller failover")),
                ..Default::default()
            };
            records.push(record.into());
        }
        if !is_empty {
            return records;
        }
        let begin = BeginTransactionRecord {
            name: Some(Str::from_static("Bootstrap records")),
            ..Default::default()
        };
        records.push(begin.into());
        records.extend(bootstrap.iter().cloned());
        let level_of = |name: &str| {
            bootstrap.iter().rev().find_map(|record| match record {
                MetadataRecord::FeatureLevel(r) if r.name == *name => Some(r.feature_level),
                _ => None,
            })
        };
        let sets_min_isr =
            |r: &MetadataRecord| matches!(r, MetadataRecord::Config(c) if c.name == *MIN_ISR);
        if level_of(features::ELR_VERSION) > Some(0) && !bootstrap.iter().any(sets_min_isr) {
            records.extend(self.min_isr_record());
        }
        records.push(EndTransactionRecord::default().into());
        records
    }

    /// The broker's epoch is the offset of its record.
    pub(super) fn register_broker(&self, broker: SelfRegistration) -> Decision {
        let broker_epoch = self.next_offset;
        let record = RegisterBrokerRecord {
            broker_id: broker.broker_id,
            incarnation_id: broker.incarnation,
            broker_epoch,
            end_points: broker
                .endpoints
                .into_iter()
                .map(|e| BrokerEndpoint {
                    name: e.listener,
                    host: e.host,
                    port: e.port,
                    security_protocol: e.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: broker_features()
                .into_iter()
                .map(|(name, versions)| BrokerFeature {
                    name: Str::from_static(name),
                    min_supported_version: versions.min,
                    max_supported_version: versions.max,
                    ..Default::default()
                })
                .collect(),
            rack: broker.rack,
            fenced: true,
            log_dirs: if self.image.metadata_version() >= 17 {
                broker.log_dirs
            } else {
                Vec::new()
            },
            ..Default::default()
        };
        Decision {
            records: Vec::from([record.into()]),
            response: Response::Registered { broker_epoch },
        }
    }

    pub(super) fn unfence_broker(&self, broker_id: i32) -> Result<Decision, AnswerError> {
        let broker = self.image.broker(broker_id).ok_or(NOT_REGISTERED)?;
        let record = BrokerRegistrationChangeRecord {
            broker_id,
            broker_epoch: broker.epoch,
            fenced: -1,
            ..Default::default()
        };
        let is_needed = broker.fenced;
        Ok(Decision {
            records: is_needed.then(|| record.into()).into_iter().collect(),
            response: Response::Done,
        })
    }

    pub(super) fn unregister_broker(&self, broker_id: i32) -> Result<Decision, AnswerError> {
        let broker = self.image.broker(broker_id).ok_or(NOT_REGISTERED)?;
        let record = UnregisterBrokerRecord {
            broker_id,
            broker_epoch: broker.epoch,
            ..Default::default()
        };
        Ok(Decision {
            records: Vec::from([record.into()]),
            response: Response::Done,
        })
    }

    /// A restarted broker may have lost what it had not synced, so it leads again under a new
    /// epoch: who read what is gone can tell (KIP-320). It may lead what it was in sync with, or
    /// what nobody is in sync with and it was the last to be.
    pub(super) fn elect_after_restart(
        &self,
        broker_id: i32,
        from: Option<&(Str, i32)>,
    ) -> Decision {
        let (topic, start) = from.map_or(("", 0), |(topic, index)| (topic.as_str(), *index));
        let mut records = Vec::new();
        let mut next = None;
        'topics: for topic_image in self.image.topics_from(topic) {
            let start = if topic_image.name == *topic { start } else { 0 };
            for (&index, partition) in topic_image.partitions.range(start..) {
                if records.len() == crate::limits::RECORDS_PER_METADATA_REQUEST_MAX {
                    next = Some((topic_image.name.clone(), index));
                    break 'topics;
                }
                if let Some(change) = may_lead(partition, broker_id) {
                    records.push(MetadataRecord::from(PartitionChangeRecord {
                        partition_id: index,
                        topic_id: topic_image.id,
                        ..change
                    }));
                }
            }
        }
        Decision {
            records,
            response: Response::Elected { next },
        }
    }
}

/// The change that makes `broker` the leader of `partition`; `None` if it may not lead it.
fn may_lead(partition: &PartitionImage, broker: i32) -> Option<PartitionChangeRecord> {
    let last_known = partition.isr.is_empty() && partition.eligible_leader_replicas.is_empty();
    let eligible = partition.is_in_sync(broker)
        || partition.eligible_leader_replicas.contains(&broker)
        || last_known && partition.last_known_elr.contains(&broker);
    let others_lead = partition.leader().is_some_and(|leader| leader != broker);
    if !eligible || !partition.has_replica(broker) || others_lead {
        return None;
    }
    let mut change = PartitionChangeRecord {
        leader: broker,
        ..Default::default()
    };
    if !partition.is_in_sync(broker) {
        change.isr = Some(Vec::from([broker]));
        change.eligible_leader_replicas = Some(Vec::new());
        change.last_known_elr = Some(Vec::new());
    }
    Some(change)
}

const NOT_REGISTERED: AnswerError = AnswerError {
    code: ErrorCode::BrokerIdNotRegistered,
    message: "The given broker ID was not registered.",
};
