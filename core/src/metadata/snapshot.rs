//! The image as records: what a snapshot holds (KIP-630).

use alloc::vec::Vec;

use ottla_wire::metadata::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionRecord, ProducerIdsRecord,
    TopicRecord,
};
use ottla_wire::{Str, Uuid};

use super::features;
use super::image::MetadataImage;
use super::topics::PartitionImage;

/// The newest `metadata.version` before each addition to the records.
mod since {
    /// Partitions know their directories (KIP-858): 3.7-IV2.
    pub(super) const DIRECTORIES: i16 = 17;
    /// Eligible leader replicas (KIP-966): 4.0-IV1.
    pub(super) const ELR: i16 = 23;
    /// Cordoned directories (KIP-1066): 4.3-IV0.
    pub(super) const CORDONED: i16 = 30;
    /// Migration from ZooKeeper: 3.4-IV0.
    pub(super) const ZK_MIGRATION: i16 = 8;
}

/// The version in which a record is written at `metadata_version`.
#[must_use]
pub fn record_version(record: &MetadataRecord, metadata_version: i16) -> i16 {
    let at_least = |level| metadata_version >= level;
    match record {
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => {
            i16::from(at_least(since::DIRECTORIES)) + i16::from(at_least(since::ELR))
        }
        MetadataRecord::RegisterBroker(_) => {
            1 + i16::from(at_least(since::ZK_MIGRATION))
                + i16::from(at_least(since::DIRECTORIES))
                + i16::from(at_least(since::CORDONED))
        }
        MetadataRecord::BrokerRegistrationChange(_) => {
            1 + i16::from(at_least(since::DIRECTORIES)) + i16::from(at_least(since::CORDONED))
        }
        _ => 0,
    }
}

impl MetadataImage {
    /// The records that make this image out of nothing, `metadata.version` first, in the order of
    /// Kafka's own snapshots.
    #[must_use]
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        self.feature_records(&mut records);
        records.extend(self.brokers.values().map(|b| b.to_record().into()));
        records.extend(self.controllers.values().map(|c| c.clone().into()));
        self.topic_records(&mut records);
        self.config_records(&mut records);
        if let Some((broker_id, broker_epoch, next_producer_id)) = self.next_producer_id {
            let record = ProducerIdsRecord {
                broker_id,
                broker_epoch,
                next_producer_id,
                ..Default::default()
            };
            records.push(record.into());
        }
        records.extend(self.kept.values().cloned());
        records
    }

    fn feature_records(&self, records: &mut Vec<MetadataRecord>) {
        let level = |(name, &feature_level): (&Str, &i16)| {
            FeatureLevelRecord {
                name: name.clone(),
                feature_level,
                ..Default::default()
            }
            .into()
        };
        let is_first = |(name, _): &(&Str, &i16)| **name == *features::METADATA_VERSION;
        records.extend(self.features.iter().filter(is_first).map(level));
        records.extend(self.features.iter().filter(|f| !is_first(f)).map(level));
    }

    fn topic_records(&self, records: &mut Vec<MetadataRecord>) {
        for topic in self.topics.values() {
            let record = TopicRecord {
                name: topic.name.clone(),
                topic_id: topic.id,
                ..Default::default()
            };
            records.push(record.into());
            for (&index, partition) in &topic.partitions {
                records.push(
                    partition
                        .to_record(topic.id, index, self.metadata_version())
                        .into(),
                );
            }
        }
    }

    fn config_records(&self, records: &mut Vec<MetadataRecord>) {
        for (resource, configs) in &self.configs {
            for (key, value) in configs {
                let record = ConfigRecord {
                    resource_type: resource.kind as i8,
                    resource_name: resource.name.clone(),
                    name: key.into(),
                    value: Some(value.into()),
                    ..Default::default()
                };
                records.push(record.into());
            }
        }
    }
}

impl PartitionImage {
    /// The record that makes this partition, with the fields that `metadata_version` knows.
    #[must_use]
    pub fn to_record(&self, topic_id: Uuid, index: i32, metadata_version: i16) -> PartitionRecord {
        let elr = |list: &[i32]| {
            (metadata_version >= since::ELR && !list.is_empty()).then(|| list.to_vec())
        };
        let directories = match metadata_version >= since::DIRECTORIES {
            true => self.directories.to_vec(),
            false => Vec::new(),
        };
        PartitionRecord {
            partition_id: index,
            topic_id,
            replicas: self.replicas.to_vec(),
            isr: self.isr.to_vec(),
            removing_replicas: self.removing_replicas.to_vec(),
            adding_replicas: self.adding_replicas.to_vec(),
            leader: self.leader,
            leader_recovery_state: i8::from(self.recovering),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories,
            eligible_leader_replicas: elr(&self.eligible_leader_replicas),
            last_known_elr: elr(&self.last_known_elr),
            ..Default::default()
        }
    }
}
