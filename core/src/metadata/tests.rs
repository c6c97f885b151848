//! The image by itself: what a replay says that it changed, and how it is taken back.

use alloc::vec::Vec;

use ottla_wire::Uuid;
use ottla_wire::metadata::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionRecord, ProducerIdsRecord,
    RemoveTopicRecord, TopicRecord,
};

use super::*;

const TOPIC: Uuid = Uuid::from_parts(1, 2);

fn topic() -> MetadataRecord {
    TopicRecord {
        name: "t".into(),
        topic_id: TOPIC,
        ..Default::default()
    }
    .into()
}

fn partition(partition_id: i32) -> MetadataRecord {
    PartitionRecord {
        partition_id,
        topic_id: TOPIC,
        replicas: [1].into(),
        isr: [1].into(),
        leader: 1,
        ..Default::default()
    }
    .into()
}

fn config(value: Option<&str>) -> MetadataRecord {
    ConfigRecord {
        resource_type: ResourceType::Topic as i8,
        resource_name: "t".into(),
        name: "retention.ms".into(),
        value: value.map(Into::into),
        ..Default::default()
    }
    .into()
}

fn history() -> Vec<MetadataRecord> {
    [
        FeatureLevelRecord {
            name: features::GROUP_VERSION.into(),
            feature_level: 1,
            ..Default::default()
        }
        .into(),
        topic(),
        config(Some("1")),
        partition(0),
        partition(1),
        config(Some("2")),
        config(None),
        config(Some("3")),
        ProducerIdsRecord {
            next_producer_id: 1000,
            ..Default::default()
        }
        .into(),
        RemoveTopicRecord {
            topic_id: TOPIC,
            ..Default::default()
        }
        .into(),
        topic(),
    ]
    .into()
}

#[test]
fn records_are_taken_back_one_by_one_as_if_they_had_never_been() {
    let mut image = MetadataImage::new();
    let mut delta = MetadataDelta::default();
    let mut steps = Vec::new();
    for record in history() {
        let before = image.clone();
        let undo = image.replay(&record, &mut delta).unwrap();
        steps.push((before, undo));
    }
    for (before, undo) in steps.into_iter().rev() {
        image.undo(undo);
        assert_eq!(image, before);
    }
    assert_eq!(image, MetadataImage::new());
}

#[test]
fn a_record_that_cannot_be_replayed_leaves_the_image_as_it_was() {
    let mut image = MetadataImage::new();
    let mut delta = MetadataDelta::default();
    let refused = image.replay(&partition(0), &mut delta);
    assert_eq!(refused.err(), Some(ReplayError::UnknownTopic { id: TOPIC }));
    assert_eq!(image, MetadataImage::new());
    image.replay(&topic(), &mut delta).unwrap();
    let before = image.clone();
    assert!(matches!(
        image.replay(&topic(), &mut delta),
        Err(ReplayError::TopicExists { .. })
    ));
    assert_eq!(image, before);
}

#[test]
fn a_delta_says_what_became_of_topics() {
    let mut image = MetadataImage::new();
    let replay = |image: &mut MetadataImage, records: &[MetadataRecord]| {
        let mut delta = MetadataDelta::default();
        for record in records {
            image.replay(record, &mut delta).unwrap();
        }
        delta
    };
    let delta = replay(&mut image, &[topic(), partition(0), partition(1)]);
    let changed: Vec<_> = delta.changed_topics().collect();
    assert_eq!(changed.len(), 1);
    assert!(changed[0].1.created);
    assert_eq!(changed[0].1.partitions, [0, 1].into());

    let delta = replay(&mut image, &[partition(2)]);
    let (_, change) = delta.changed_topics().next().unwrap();
    assert!(!change.created);
    assert_eq!(change.partitions, [2].into());

    let remove = RemoveTopicRecord {
        topic_id: TOPIC,
        ..Default::default()
    };
    let delta = replay(&mut image, &[remove.into()]);
    assert_eq!(delta.changed_topics().count(), 0);
    let (id, change) = delta.deleted_topics().next().unwrap();
    assert_eq!((id, &change.partitions), (TOPIC, &[0, 1, 2].into()));
}

#[test]
fn a_mark_that_is_taken_off_leaves_no_topic_without_marks() {
    let mut image = MetadataImage::new();
    let mut ignored = MetadataDelta::default();
    for record in [topic(), partition(0), partition(1)] {
        image.replay(&record, &mut ignored).unwrap();
    }
    let mut delta = MetadataDelta::default();
    let topic = image.topic("t").unwrap();
    delta.mark_partition(topic, 0);
    delta.mark_partition(topic, 1);
    delta.unmark_partition(TOPIC, 0);
    let (_, change) = delta.changed_topics().next().unwrap();
    assert_eq!(change.partitions, [1].into());
    delta.unmark_partition(TOPIC, 1);
    assert!(delta.is_empty());
}
