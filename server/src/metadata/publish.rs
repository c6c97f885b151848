//! Acting on what was committed: partitions are opened, deleted and configured before anyone is
//! told that the change is done, so that a client's next request finds it.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use futures_util::StreamExt;
use ottla_core::{
    config::Layers,
    limits::{PARTITION_REOPEN_DELAY_MAX, PARTITION_REOPEN_DELAY_MIN},
    metadata::{
        ConfigResource, MetadataDelta, MetadataImage, ReplayError, ResourceType, TransactionBuffer,
    },
    time::Instant,
};
use ottla_io::Io;
use ottla_wire::{Uuid, metadata::MetadataRecord};

use super::MetadataSettings;
use super::partition_config::partition_config;
use crate::storage::{CreateError, PartitionConfig, Storage, TopicPartition};

/// Kafka's name of the metadata log's topic.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// How many partitions are opened at once.
const OPEN_AT_ONCE: usize = 32;

/// One change of a partition on this node.
enum Action {
    Open {
        name: TopicPartition,
        topic_id: Uuid,
        epoch: i32,
        config: PartitionConfig,
    },
    Delete {
        name: TopicPartition,
    },
    Configure {
        name: TopicPartition,
        config: PartitionConfig,
    },
}

/// Keeps the published image and this node's partitions in step.
pub(super) struct Publisher<I: Io> {
    pub(super) storage: Storage<I>,
    pub(super) settings: std::sync::Arc<MetadataSettings>,
    pub(super) transactions: TransactionBuffer,
    unopened: Unopened,
}

/// Partitions of this node that could not be opened, as on a full disk, and when they are next tried.
#[derive(Debug, Default)]
struct Unopened {
    names: BTreeSet<(Uuid, i32)>,
    next: Option<(Instant, Duration)>,
}

impl<I: Io> Publisher<I> {
    pub(super) fn new(storage: Storage<I>, settings: std::sync::Arc<MetadataSettings>) -> Self {
        Self {
            storage,
            settings,
            transactions: TransactionBuffer::default(),
            unopened: Unopened::default(),
        }
    }

    /// When [`Publisher::reopen`] is next wanted.
    pub(super) fn next_reopen(&self) -> Option<Instant> {
        self.unopened.next.map(|(at, _)| at)
    }

    /// Tries again to open what could not be opened, and gives what is open now.
    pub(super) async fn reopen(&mut self, io: &I, image: &RwLock<MetadataImage>) -> MetadataDelta {
        let waited = self.unopened.next.take().map(|(_, delay)| delay);
        let mut delta = MetadataDelta::default();
        {
            let image = image.read().unwrap_or_else(PoisonError::into_inner);
            for (id, index) in std::mem::take(&mut self.unopened.names) {
                if let Some(topic) = image.topic_by_id(id) {
                    delta.mark_partition(topic, index);
                }
            }
        }
        self.apply(io, image, &delta).await;
        if let (Some((at, delay)), Some(waited)) = (&mut self.unopened.next, waited) {
            *delay = (waited * 2).min(PARTITION_REOPEN_DELAY_MAX);
            *at = io.now().monotonic.after(*delay);
        }
        for (id, index) in &self.unopened.names {
            delta.unmark_partition(*id, *index);
        }
        delta
    }

    /// Replays committed records onto the image and says what they changed.
    pub(super) fn replay(
        &mut self,
        image: &RwLock<MetadataImage>,
        records: &[MetadataRecord],
        last_offset: i64,
    ) -> Result<MetadataDelta, ReplayError> {
        let mut image = image.write().unwrap_or_else(PoisonError::into_inner);
        let mut delta = MetadataDelta::default();
        for record in records {
            self.transactions
                .feed(last_offset, record.clone(), |record| {
                    image.replay(record, &mut delta).map(drop)
                })?;
        }
        Ok(delta)
    }

    /// Opens, deletes and configures this node's partitions as the change says. What fails is
    /// logged: the partition is then offline, which its clients are told, and tried again later.
    pub(super) async fn apply(
        &mut self,
        io: &I,
        image: &RwLock<MetadataImage>,
        delta: &MetadataDelta,
    ) {
        let actions = {
            let image = image.read().unwrap_or_else(PoisonError::into_inner);
            self.actions(&image, delta)
        };
        let this = &*self;
        let unopened: Vec<(Uuid, i32)> = futures_util::stream::iter(actions)
            .map(|action| this.act(action))
            .buffer_unordered(OPEN_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        if unopened.is_empty() {
            return;
        }
        self.unopened.names.extend(unopened);
        let delay = PARTITION_REOPEN_DELAY_MIN;
        let soon = (io.now().monotonic.after(delay), delay);
        self.unopened.next.get_or_insert(soon);
    }

    /// What brings a node that just started in step with its image.
    pub(super) async fn apply_all(&mut self, io: &I, image: &RwLock<MetadataImage>) {
        let mut delta = MetadataDelta::default();
        let mut strays: Vec<TopicPartition> = Vec::new();
        {
            let image = image.read().unwrap_or_else(PoisonError::into_inner);
            // What deletions that a crash cut short left behind.
            let held = self.storage.iter().into_iter();
            strays.extend(held.map(|held| held.name().clone()).filter(|name| {
                name.topic.as_ref() != METADATA_TOPIC
                    && image.partition(&name.topic, name.partition).is_none()
            }));
            for topic in image.topics() {
                delta.mark_topic(topic);
            }
        }
        for name in strays {
            if let Err(error) = self.storage.set_aside(&name).await {
                tracing::error!(partition = %name, %error, "a partition of no topic cannot be set aside");
            }
        }
        self.apply(io, image, &delta).await;
    }

    fn actions(&self, image: &MetadataImage, delta: &MetadataDelta) -> Vec<Action> {
        let node = self.settings.node_id;
        let mut actions = Vec::new();
        for (_, topic) in delta.deleted_topics() {
            actions.extend(topic.partitions.iter().map(|&index| Action::Delete {
                name: TopicPartition::new(topic.name.as_str(), index),
            }));
        }
        for (id, change) in delta.changed_topics() {
            let Some(topic) = image.topic_by_id(id) else {
                continue;
            };
            let config = self.config_of(image, &topic.name);
            for &index in &change.partitions {
                let Some(partition) = topic.partition(index) else {
                    continue;
                };
                if partition.leader == node && partition.has_replica(node) {
                    actions.push(Action::Open {
                        name: TopicPartition::new(topic.name.as_str(), index),
                        topic_id: id,
                        epoch: partition.leader_epoch,
                        config: config.clone(),
                    });
                }
            }
        }
        self.configure(image, delta, &mut actions);
        actions
    }

    /// A broker's configuration gives topics their defaults, so its change goes to all of them.
    fn configure(&self, image: &MetadataImage, delta: &MetadataDelta, actions: &mut Vec<Action>) {
        let own = [
            ConfigResource::broker(self.settings.node_id),
            ConfigResource::broker_default(),
        ];
        let all = own.iter().any(|resource| delta.configs.contains(resource));
        let topics: Vec<_> = if all {
            image.topics().collect()
        } else {
            let changed = delta
                .configs
                .iter()
                .filter(|r| r.kind == ResourceType::Topic);
            changed
                .filter_map(|resource| image.topic(&resource.name))
                .collect()
        };
        for topic in topics {
            let config = self.config_of(image, &topic.name);
            let held = topic
                .partitions
                .iter()
                .filter(|(_, p)| p.has_replica(self.settings.node_id));
            actions.extend(held.map(|(&index, _)| Action::Configure {
                name: TopicPartition::new(topic.name.as_str(), index),
                config: config.clone(),
            }));
        }
    }

    fn config_of(&self, image: &MetadataImage, topic: &str) -> PartitionConfig {
        let resource = ConfigResource::broker(self.settings.node_id);
        let layers = Layers {
            broker: image.configs(&resource),
            cluster: image.configs(&ConfigResource::broker_default()),
            file: &self.settings.file,
        };
        partition_config(&layers, image.topic_configs(topic))
    }

    /// Performs one change. Gives a partition that could not be opened.
    async fn act(&self, action: Action) -> Option<(Uuid, i32)> {
        match action {
            Action::Open {
                name,
                topic_id,
                epoch,
                config,
            } => {
                if let Err(error) = self.open(&name, topic_id, epoch, config).await {
                    tracing::error!(partition = %name, %error, "a partition cannot be opened");
                    return Some((topic_id, name.partition));
                }
            }
            Action::Delete { name } => {
                if let Err(error) = self.storage.delete(&name).await {
                    tracing::error!(partition = %name, %error, "a partition cannot be deleted");
                }
            }
            Action::Configure { name, config } => {
                self.storage.set_config(&name, config);
            }
        }
        None
    }

    async fn open(
        &self,
        name: &TopicPartition,
        topic_id: Uuid,
        epoch: i32,
        config: PartitionConfig,
    ) -> Result<(), CreateError> {
        self.storage
            .create(name.clone(), topic_id, config, epoch)
            .await
            .map(drop)
    }
}
