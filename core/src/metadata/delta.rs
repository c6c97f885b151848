//! What a run of records changed.

use alloc::collections::{BTreeMap, BTreeSet};

use ottla_wire::{Str, Uuid};

use super::image::{ConfigResource, MetadataImage};
use super::topics::TopicImage;

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicChange {
    /// The topic's name.
    pub name: Str,
    /// It did not exist before.
    pub created: bool,
    /// It exists no more.
    pub deleted: bool,
    /// The partitions that are new or changed, and those of a deleted topic; the image says how
    /// they are now.
    pub partitions: BTreeSet<i32>,
}

/// What a run of records changed, by what a broker does about it. How things are now is in the
/// image; a delta only says where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataDelta {
    /// Topics by id: created, deleted, or with changed partitions. One that was created and
    /// deleted within the run has both marks.
    pub topics: BTreeMap<Uuid, TopicChange>,
    /// Resources with changed configurations, deleted topics' among them.
    pub configs: BTreeSet<ConfigResource>,
    /// Brokers that registered, changed or left.
    pub brokers: BTreeSet<i32>,
    /// Features whose finalized level changed.
    pub features: BTreeSet<Str>,
    /// Whether the next producer id moved.
    pub producer_ids: bool,
}

impl MetadataDelta {
    /// Whether nothing that a broker could act on changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
            && self.configs.is_empty()
            && self.brokers.is_empty()
            && self.features.is_empty()
            && !self.producer_ids
    }

    /// The topics that exist no more and did before.
    pub fn deleted_topics(&self) -> impl Iterator<Item = (Uuid, &TopicChange)> {
        self.topics
            .iter()
            .filter(|(_, c)| c.deleted && !c.created)
            .map(|(&id, c)| (id, c))
    }

    /// The topics that exist with new or changed partitions.
    pub fn changed_topics(&self) -> impl Iterator<Item = (Uuid, &TopicChange)> {
        self.topics
            .iter()
            .filter(|(_, c)| !c.deleted)
            .map(|(&id, c)| (id, c))
    }

    /// Marks all of a topic's partitions as changed.
    pub fn mark_topic(&mut self, topic: &TopicImage) {
        let change = self.topic(topic.id, &topic.name);
        change.partitions.extend(topic.partitions.keys());
    }

    /// Marks one of a topic's partitions as changed.
    pub fn mark_partition(&mut self, topic: &TopicImage, index: i32) {
        let change = self.topic(topic.id, &topic.name);
        change.partitions.insert(index);
    }

    /// Takes the mark from a partition; a topic without marked partitions is not changed.
    pub fn unmark_partition(&mut self, topic_id: Uuid, index: i32) {
        if let Some(change) = self.topics.get_mut(&topic_id) {
            change.partitions.remove(&index);
            if change.partitions.is_empty() {
                self.topics.remove(&topic_id);
            }
        }
    }

    /// Marks all that is in an image as changed: for one who has seen nothing of it yet.
    pub fn mark_all(&mut self, image: &MetadataImage) {
        for topic in image.topics() {
            self.mark_topic(topic);
            self.topic(topic.id, &topic.name).created = true;
        }
        self.configs
            .extend(image.configured().map(|(resource, _)| resource.clone()));
        self.brokers.extend(image.brokers().map(|broker| broker.id));
        self.features.extend(image.features().keys().cloned());
    }

    pub(super) fn topic(&mut self, id: Uuid, name: &Str) -> &mut TopicChange {
        self.topics.entry(id).or_insert_with(|| TopicChange {
            name: name.clone(),
            created: false,
            deleted: false,
            partitions: BTreeSet::new(),
        })
    }
}
