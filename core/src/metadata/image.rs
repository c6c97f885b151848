//! The image and its look-ups.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map;

use ottla_wire::metadata::RegisterControllerRecord;
use ottla_wire::{Str, Uuid};

use super::brokers::BrokerRegistration;
use super::features;
use super::kept::KeptRecords;
use super::topics::{PartitionImage, TopicImage};

/// Configured values by key, of one resource: what was set through the cluster, not defaults.
pub type ConfigMap = crate::config::Entries;

/// What a configuration belongs to. The numbers are those of `ConfigRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic.
    Topic = 2,
    /// A broker, or all of them under the empty name.
    Broker = 4,
    /// A broker's loggers; never stored.
    BrokerLogger = 8,
    /// A client metrics subscription (KIP-714).
    ClientMetrics = 16,
    /// A consumer group (KIP-848).
    Group = 32,
}

impl ResourceType {
    /// By its number.
    #[must_use]
    pub const fn from_number(number: i8) -> Option<Self> {
        Some(match number {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            _ => return None,
        })
    }
}

/// A resource that has configurations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// Its type.
    pub kind: ResourceType,
    /// Its name: a topic's name, a broker's id in decimal (empty for all brokers), a group's id.
    pub name: Str,
}

impl ConfigResource {
    /// A topic.
    #[must_use]
    pub fn topic(name: impl Into<Str>) -> Self {
        Self {
            kind: ResourceType::Topic,
            name: name.into(),
        }
    }

    /// One broker.
    #[must_use]
    pub fn broker(id: i32) -> Self {
        Self {
            kind: ResourceType::Broker,
            name: alloc::format!("{id}").into(),
        }
    }

    /// All brokers: the cluster-wide defaults.
    #[must_use]
    pub const fn broker_default() -> Self {
        Self {
            kind: ResourceType::Broker,
            name: Str::new(),
        }
    }

    /// A consumer group.
    #[must_use]
    pub fn group(id: impl Into<Str>) -> Self {
        Self {
            kind: ResourceType::Group,
            name: id.into(),
        }
    }
}

/// The cluster's metadata at one offset of its log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataImage {
    pub(super) topics: BTreeMap<Str, TopicImage>,
    pub(super) topic_names: BTreeMap<Uuid, Str>,
    pub(super) brokers: BTreeMap<i32, BrokerRegistration>,
    pub(super) controllers: BTreeMap<i32, RegisterControllerRecord>,
    pub(super) configs: BTreeMap<ConfigResource, ConfigMap>,
    pub(super) features: BTreeMap<Str, i16>,
    pub(super) next_producer_id: Option<(i32, i64, i64)>,
    pub(super) kept: KeptRecords,
}

impl MetadataImage {
    /// An image of nothing: what the log's start is replayed onto.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicImage> {
        self.topics.get(name)
    }

    /// A topic by id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&TopicImage> {
        self.topics.get(self.topic_names.get(&id)?.as_str())
    }

    /// A topic's id.
    #[must_use]
    pub fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).map(|t| t.id)
    }

    /// A topic's name.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<&Str> {
        self.topic_names.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> btree_map::Values<'_, Str, TopicImage> {
        self.topics.values()
    }

    /// The topics from the name `from` on.
    pub fn topics_from<'a>(&'a self, from: &str) -> impl Iterator<Item = &'a TopicImage> + use<'a> {
        self.topics
            .range::<str, _>((
                core::ops::Bound::Included(from),
                core::ops::Bound::Unbounded,
            ))
            .map(|(_, topic)| topic)
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// A partition by topic name and index.
    #[must_use]
    pub fn partition(&self, topic: &str, index: i32) -> Option<&PartitionImage> {
        self.topics.get(topic)?.partition(index)
    }

    /// A partition by topic id and index.
    #[must_use]
    pub fn partition_by_id(&self, topic: Uuid, index: i32) -> Option<&PartitionImage> {
        self.topic_by_id(topic)?.partition(index)
    }

    /// A broker.
    #[must_use]
    pub fn broker(&self, id: i32) -> Option<&BrokerRegistration> {
        self.brokers.get(&id)
    }

    /// All registered brokers, fenced ones among them, by id.
    pub fn brokers(&self) -> btree_map::Values<'_, i32, BrokerRegistration> {
        self.brokers.values()
    }

    /// The brokers that clients may talk to, by id.
    pub fn alive_brokers(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.brokers.values().filter(|b| !b.fenced)
    }

    /// The controllers that registered themselves, by id.
    pub fn controllers(&self) -> btree_map::Values<'_, i32, RegisterControllerRecord> {
        self.controllers.values()
    }

    /// What was configured for `resource`; empty if nothing was.
    #[must_use]
    pub fn configs(&self, resource: &ConfigResource) -> &ConfigMap {
        static NONE: ConfigMap = ConfigMap::new();
        self.configs.get(resource).unwrap_or(&NONE)
    }

    /// What was configured for a topic.
    #[must_use]
    pub fn topic_configs(&self, topic: &str) -> &ConfigMap {
        self.configs(&ConfigResource::topic(topic))
    }

    /// What was configured for `resource` under `key`.
    #[must_use]
    pub fn config(&self, resource: &ConfigResource, key: &str) -> Option<&str> {
        self.configs
            .get(resource)?
            .get(key)
            .map(|value| value.as_str())
    }

    /// All resources that have something configured.
    pub fn configured(&self) -> btree_map::Iter<'_, ConfigResource, ConfigMap> {
        self.configs.iter()
    }

    /// The finalized levels of all features, `metadata.version` among them.
    #[must_use]
    pub const fn features(&self) -> &BTreeMap<Str, i16> {
        &self.features
    }

    /// The finalized level of a feature; 0 if it is not on.
    #[must_use]
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The level of `metadata.version`.
    #[must_use]
    pub fn metadata_version(&self) -> i16 {
        self.features
            .get(features::METADATA_VERSION)
            .copied()
            .unwrap_or(features::METADATA_VERSION_MIN)
    }

    /// The first producer id that no block holds yet.
    #[must_use]
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id.map_or(0, |(_, _, next)| next)
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    #[must_use]
    pub fn elr_enabled(&self) -> bool {
        self.feature(features::ELR_VERSION) > 0
    }
}
