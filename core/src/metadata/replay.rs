//! Replaying one record onto the image, and taking it back.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_wire::metadata::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ConfigRecord, FeatureLevelRecord,
    MetadataRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord,
    RegisterControllerRecord, RemoveTopicRecord, TopicRecord,
};
use ottla_wire::{Str, Uuid};

use super::brokers::BrokerRegistration;
use super::delta::MetadataDelta;
use super::image::{ConfigMap, ConfigResource, MetadataImage, ResourceType};
use super::kept::{self, KeptKey};
use super::topics::{PartitionImage, TopicImage};

/// Why a record cannot be replayed: it speaks of something that the records before it did not
/// make. A log that says so is damaged or comes from a version that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A topic of that name or id is there already.
    #[error("the topic {name} ({id}) is there already, as {there}")]
    TopicExists {
        /// The name in the record.
        name: Str,
        /// The id in the record.
        id: Uuid,
        /// The id that the name has.
        there: Uuid,
    },
    /// No topic has that id.
    #[error("no topic has the id {id}")]
    UnknownTopic {
        /// The id in the record.
        id: Uuid,
    },
    /// The topic has no such partition.
    #[error("the topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// The topic's id.
        topic: Uuid,
        /// The partition in the record.
        partition: i32,
    },
    /// No broker of that id is registered, or under another epoch.
    #[error(
        "the broker {id} is not registered with the epoch {epoch} (registered: {registered:?})"
    )]
    UnknownBroker {
        /// The broker in the record.
        id: i32,
        /// The epoch in the record.
        epoch: i64,
        /// The epoch that it is registered with.
        registered: Option<i64>,
    },
    /// No such type of configuration resource.
    #[error("no configuration resource has the type {number}")]
    UnknownResourceType {
        /// The number in the record.
        number: i8,
    },
}

/// How to take one replayed record back. Undos are to be applied newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Undo(Option<Box<Step>>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    RemoveTopic(Uuid),
    RestoreTopic(TopicImage, Option<ConfigMap>),
    Partitions(Uuid, Vec<(i32, Option<PartitionImage>)>),
    ManyTopics(Vec<Step>),
    Config(ConfigResource, String, Option<String>),
    Broker(i32, Option<BrokerRegistration>),
    Controller(i32, Option<RegisterControllerRecord>),
    Feature(Str, Option<i16>),
    ProducerIds(Option<(i32, i64, i64)>),
    Kept(KeptKey, Option<MetadataRecord>),
}

impl Undo {
    fn step(step: Step) -> Self {
        Self(Some(Box::new(step)))
    }
}

impl MetadataImage {
    /// Takes in one record, marks in `delta` what it changed, and says how to take it back. An
    /// image is unchanged by a record that fails.
    ///
    /// Records of metadata transactions are for [`super::TransactionBuffer`]; here they do nothing.
    pub fn replay(
        &mut self,
        record: &MetadataRecord,
        delta: &mut MetadataDelta,
    ) -> Result<Undo, ReplayError> {
        match record {
            MetadataRecord::Topic(r) => self.replay_topic(r, delta),
            MetadataRecord::RemoveTopic(r) => self.replay_remove_topic(r, delta),
            MetadataRecord::Partition(r) => self.replay_partition(r, delta),
            MetadataRecord::PartitionChange(r) => self.replay_partition_change(r, delta),
            MetadataRecord::ClearElr(r) => Ok(self.replay_clear_elr(r, delta)),
            MetadataRecord::Config(r) => self.replay_config(r, delta),
            MetadataRecord::RegisterBroker(r) => {
                let broker = BrokerRegistration::from_record(r);
                Ok(self.set_broker(r.broker_id, Some(broker), delta))
            }
            MetadataRecord::UnregisterBroker(r) => {
                self.known_broker(r.broker_id, r.broker_epoch)?;
                Ok(self.set_broker(r.broker_id, None, delta))
            }
            MetadataRecord::BrokerRegistrationChange(r) => self.replay_change(r, delta),
            MetadataRecord::FenceBroker(r) => self.replay_fenced(r.id, r.epoch, true, delta),
            MetadataRecord::UnfenceBroker(r) => self.replay_fenced(r.id, r.epoch, false, delta),
            MetadataRecord::RegisterController(r) => Ok(self.replay_controller(r)),
            MetadataRecord::FeatureLevel(r) => Ok(self.replay_feature(r, delta)),
            MetadataRecord::ProducerIds(r) => Ok(self.replay_producer_ids(r, delta)),
            MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_)
            | MetadataRecord::NoOp(_)
            // Left behind by clusters that once had ZooKeeper; Kafka 4 passes over it too.
            | MetadataRecord::ZkMigrationState(_) => Ok(Undo::default()),
            record => Ok(match kept::change(record) {
                Some((key, value)) => self.replay_kept(key, value),
                None => Undo::default(),
            }),
        }
    }

    /// Takes a replayed record back.
    pub fn undo(&mut self, undo: Undo) {
        if let Some(step) = undo.0 {
            self.take_back(*step);
        }
    }

    fn take_back(&mut self, step: Step) {
        match step {
            Step::RemoveTopic(id) => {
                if let Some(name) = self.topic_names.remove(&id) {
                    self.topics.remove(name.as_str());
                }
            }
            Step::RestoreTopic(topic, configs) => {
                if let Some(configs) = configs {
                    self.configs
                        .insert(ConfigResource::topic(topic.name.clone()), configs);
                }
                self.topic_names.insert(topic.id, topic.name.clone());
                self.topics.insert(topic.name.clone(), topic);
            }
            Step::Partitions(topic, partitions) => {
                if let Some(topic) = self.topic_mut(topic) {
                    for (index, before) in partitions {
                        set(&mut topic.partitions, index, before);
                    }
                }
            }
            Step::ManyTopics(steps) => steps.into_iter().for_each(|step| self.take_back(step)),
            Step::Config(resource, key, before) => {
                self.set_config(resource, key, before);
            }
            Step::Broker(id, before) => {
                set(&mut self.brokers, id, before);
            }
            Step::Controller(id, before) => {
                set(&mut self.controllers, id, before);
            }
            Step::Feature(name, before) => {
                set(&mut self.features, name, before);
            }
            Step::ProducerIds(before) => self.next_producer_id = before,
            Step::Kept(key, before) => {
                set(&mut self.kept, key, before);
            }
        }
    }

    fn topic_mut(&mut self, id: Uuid) -> Option<&mut TopicImage> {
        self.topics.get_mut(self.topic_names.get(&id)?.as_str())
    }

    fn replay_topic(
        &mut self,
        record: &TopicRecord,
        delta: &mut MetadataDelta,
    ) -> Result<Undo, ReplayError> {
        let id = record.topic_id;
        let there = self
            .topic_id(&record.name)
            .or(self.topic_names.contains_key(&id).then_some(id));
        if let Some(there) = there {
            return Err(ReplayError::TopicExists {
                name: record.name.detach(),
                id,
                there,
            });
        }
        let name = record.name.detach();
        delta.topic(id, &name).created = true;
        self.topic_names.insert(id, name.clone());
        let topic = TopicImage {
            name: name.clone(),
            id,
            partitions: Default::default(),
        };
        self.topics.insert(name, topic);
        Ok(Undo::step(Step::RemoveTopic(id)))
    }

    fn replay_remove_topic(
        &mut self,
        record: &RemoveTopicRecord,
        delta: &mut MetadataDelta,
    ) -> Result<Undo, ReplayError> {
        let id = record.topic_id;
        let removed = self
            .topic_names
            .remove(&id)
            .and_then(|name| self.topics.remove(name.as_str()));
        let Some(topic) = removed else {
            return Err(ReplayError::UnknownTopic { id });
        };
        delta.mark_topic(&topic);
        delta.topic(id, &topic.name).deleted = true;
        let resource = ConfigResource::topic(topic.name.clone());
        let configs = self.configs.remove(&resource);
        if configs.is_some() {
            delta.configs.insert(resource);
        }
        Ok(Undo::step(Step::RestoreTopic(topic, configs)))
    }

    fn replay_partition(
        &mut self,
        record: &PartitionRecord,
        delta: &mut MetadataDelta,
    ) -> Result<Undo, ReplayError> {
        let id = record.topic_id;
        let topic = self.topic_mut(id).ok_or(ReplayError::UnknownTopic { id })?;
        delta
            .topic(id, &topic.name)
            .partitions
            .insert(record.partition_id);
        let partition = PartitionImage::from_record(record);
        let before = topic.partitions.insert(record.partition_id, partition);
        Ok(Undo::step(Step::Partitions(
            id,
            Vec::from([(record.partition_id, before)]),
        )))
    }

    fn replay_partition_change(
        &mut self,
        record: &PartitionChangeRecord,
        delta: &mut MetadataDelta,
    ) -> Result<Undo, ReplayError> {
        let (id, index) = (record.topic_id, record.partition_id);
        let topic = self.topic_mut(id).ok_or(ReplayError::UnknownTopic { id })?;
        let unknown = ReplayError::UnknownPartition {
            topic: id,
            partition: index,
        };
        let partition = topic.partitions.get_mut(&index).ok_or(unknown)?;
        let before = partition.clone();
        partition.merge(record);
        delta.topic(id, &topic.name).partitions.insert(index);
        Ok(Undo::step(Step::Partitions(
            id,
            Vec::from([(index, Some(before))]),
        )))
    }

    /// Forgets the eligible leader replicas of one topic, or of all under the empty name.
    fn replay_clear_elr(&mut self, record: &ClearElrRecord, delta: &mut MetadataDelta) -> Undo {
        let change = PartitionChangeRecord {
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..Default::default()
        };
        let mut steps = Vec::new();
        let all = record.topic_name.is_empty();
        for topic in self
            .topics
            .values_mut()
            .filter(|t| all || t.name == record.topic_name)
        {
            let mut before = Vec::new();
            for (&index, partition) in &mut topic.partitions {
                if partition.eligible_leader_replicas.is_empty()
                    && partition.last_known_elr.is_empty()
                {
                    continue;
                }
                before.push((index, Some(partition.clone())));
                partition.merge(&change);
                delta.topic(topic.id, &topic.name).partitions.insert(index);
            }
            if !before.is_empty() {
                steps.push(Step::Partitions(topic.id, before));
            }
        }
        Undo::step(Step::ManyTopics(steps))
    }

    fn replay_config(
        &mut self,
        record: &ConfigRecord,
        delta: &mut MetadataDelta,
    ) -> Result<Undo, ReplayError> {
        let number = record.resource_type;
        let kind =
            ResourceType::from_number(number).ok_or(ReplayError::UnknownResourceType { number })?;
        let resource = ConfigResource {
            kind,
            name: record.resource_name.detach(),
        };
        delta.configs.insert(resource.clone());
        let key = String::from(record.name.as_str());
        let before = self.set_config(
            resource.clone(),
            key.clone(),
            record.value.as_ref().map(|v| String::from(v.as_str())),
        );
        Ok(Undo::step(Step::Config(resource, key, before)))
    }

    /// Sets or removes one value; a resource without any is not kept.
    fn set_config(
        &mut self,
        resource: ConfigResource,
        key: String,
        value: Option<String>,
    ) -> Option<String> {
        match value {
            Some(value) => self.configs.entry(resource).or_default().insert(key, value),
            None => {
                let map = self.configs.get_mut(&resource)?;
                let before = map.remove(key.as_str());
                if map.is_empty() {
                    self.configs.remove(&resource);
                }
                before
            }
        }
    }

    fn known_broker(&self, id: i32, epoch: i64) -> Result<&BrokerRegistration, ReplayError> {
        let broker = self.brokers.get(&id);
        match broker {
            Some(broker) if broker.epoch == epoch => Ok(broker),
            broker => Err(ReplayError::UnknownBroker {
                id,
                epoch,
                registered: broker.map(|b| b.epoch),
            }),
        }
    }

    fn set_broker(
        &mut self,
        id: i32,
        broker: Option<BrokerRegistration>,
        delta: &mut MetadataDelta,
    ) -> Undo {
        delta.brokers.insert(id);
        Undo::step(Step::Broker(id, set(&mut self.brokers, id, broker)))
    }

    fn replay_change(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
        delta: &mut MetadataDelta,
    ) -> Result<Undo, ReplayError> {
        let mut broker = self
            .known_broker(record.broker_id, record.broker_epoch)?
            .clone();
        broker.merge(record);
        Ok(self.set_broker(record.broker_id, Some(broker), delta))
    }

    fn replay_fenced(
        &mut self,
        id: i32,
        epoch: i64,
        fenced: bool,
        delta: &mut MetadataDelta,
    ) -> Result<Undo, ReplayError> {
        let broker = BrokerRegistration {
            fenced,
            ..self.known_broker(id, epoch)?.clone()
        };
        Ok(self.set_broker(id, Some(broker), delta))
    }

    fn replay_controller(&mut self, record: &RegisterControllerRecord) -> Undo {
        let mut own = record.clone();
        for endpoint in &mut own.end_points {
            endpoint.name = endpoint.name.detach();
            endpoint.host = endpoint.host.detach();
        }
        for feature in &mut own.features {
            feature.name = feature.name.detach();
        }
        let id = record.controller_id;
        Undo::step(Step::Controller(id, self.controllers.insert(id, own)))
    }

    fn replay_feature(&mut self, record: &FeatureLevelRecord, delta: &mut MetadataDelta) -> Undo {
        let name = record.name.detach();
        delta.features.insert(name.clone());
        let level = (record.feature_level != 0).then_some(record.feature_level);
        let before = set(&mut self.features, name.clone(), level);
        Undo::step(Step::Feature(name, before))
    }

    fn replay_producer_ids(
        &mut self,
        record: &ProducerIdsRecord,
        delta: &mut MetadataDelta,
    ) -> Undo {
        delta.producer_ids = true;
        let next = (
            record.broker_id,
            record.broker_epoch,
            record.next_producer_id,
        );
        Undo::step(Step::ProducerIds(self.next_producer_id.replace(next)))
    }

    fn replay_kept(&mut self, key: KeptKey, value: Option<MetadataRecord>) -> Undo {
        let before = set(&mut self.kept, key.clone(), value);
        Undo::step(Step::Kept(key, before))
    }
}

/// Puts a value under a key, or removes the key, and gives what was there.
fn set<K: Ord, V>(
    map: &mut alloc::collections::BTreeMap<K, V>,
    key: K,
    value: Option<V>,
) -> Option<V> {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    }
}
