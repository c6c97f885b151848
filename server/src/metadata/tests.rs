//! The metadata on the real backend, in a folder of its own.

use std::{future::Future, path::Path};

use ottla_core::controller::{Request, Response};
use ottla_io::{Disk, real::RealIo};
use ottla_wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, create_topics_request::CreatableTopic,
    create_topics_request::CreatableTopicConfig,
};

use super::*;
use crate::storage::{PartitionConfig, Storage, StorageSettings, TopicPartition};

fn run<F: Future>(test: impl FnOnce(RealIo, PathBuf) -> F) -> F::Output {
    let kept = std::env::var_os("OTTLA_KEEP_METADATA_TEST").map(PathBuf::from);
    let folder = tempfile::tempdir().unwrap();
    let path = kept.unwrap_or_else(|| folder.path().to_owned());
    ottla_io::real::run(|io| test(io, path)).unwrap()
}

fn config(folder: &Path, more: &[&str]) -> BrokerConfig {
    let mut overrides = vec![format!("log.dirs={}", folder.join("data").display())];
    overrides.extend(more.iter().map(ToString::to_string));
    BrokerConfig::single_node(&overrides).unwrap()
}

struct Node {
    storage: Storage<RealIo>,
    metadata: Metadata<RealIo>,
}

async fn start(io: &RealIo, config: &BrokerConfig) -> Node {
    let settings = StorageSettings::new(config.node_id, config.log_dirs.clone());
    let storage = Storage::open(io.clone(), settings).await.unwrap();
    let settings = MetadataSettings::new(config);
    let metadata = Metadata::start(io.clone(), settings, storage.clone())
        .await
        .unwrap();
    Node { storage, metadata }
}

impl Node {
    async fn stop(self) {
        self.storage.shutdown().await;
    }

    async fn create(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs
                .iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: (*name).into(),
                    value: Some((*value).into()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        match self
            .metadata
            .submit(Request::CreateTopics(request))
            .await
            .unwrap()
        {
            Response::CreateTopics(response) => response.topics[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    async fn delete(&self, name: &str) -> i16 {
        let request = DeleteTopicsRequest {
            topic_names: vec![name.into()],
            ..Default::default()
        };
        match self
            .metadata
            .submit(Request::DeleteTopics(request))
            .await
            .unwrap()
        {
            Response::DeleteTopics(response) => response.responses[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    fn holds(&self, topic: &str, partition: i32) -> bool {
        self.storage
            .get(&TopicPartition::new(topic, partition))
            .is_some()
    }
}

#[test]
fn an_empty_directory_is_formatted_and_led_in_epoch_1() {
    run(|io, folder| async move {
        let node = start(&io, &config(&folder, &[])).await;
        assert_eq!(node.metadata.leader_epoch(), 1);
        {
            let image = node.metadata.image();
            assert_eq!(image.metadata_version(), 30);
            assert_eq!(image.feature("transaction.version"), 2);
            let broker = image.broker(1).unwrap();
            assert!(broker.is_active());
            assert_eq!(broker.endpoint("PLAINTEXT").unwrap().port, 9092);
            assert_eq!(broker.log_dirs, [node.metadata.directory_id()]);
            let default = ConfigResource::broker_default();
            assert_eq!(image.config(&default, "min.insync.replicas"), Some("1"));
        }
        let data = folder.join("data");
        for file in [
            "bootstrap.checkpoint",
            "__cluster_metadata-0/quorum-state",
            "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint",
        ] {
            assert!(io.disk().metadata(&data.join(file)).await.is_ok(), "{file}");
        }
        node.stop().await;
    });
}

#[test]
fn what_was_answered_is_there_at_once_and_after_a_restart_under_a_new_epoch() {
    run(|io, folder| async move {
        let config = config(&folder, &[]);
        let node = start(&io, &config).await;
        assert_eq!(
            node.create("orders", 3, &[("cleanup.policy", "compact")])
                .await,
            0
        );
        assert_eq!(node.create("orders", 3, &[]).await, 36);
        assert_eq!(node.create("gone", 1, &[("retention.ms", "1000")]).await, 0);
        assert!(node.holds("orders", 2) && node.holds("gone", 0));
        assert_eq!(node.delete("gone").await, 0);
        assert!(!node.holds("gone", 0));
        let before = node.metadata.image().topic("orders").unwrap().clone();
        let first = node.metadata.next_producer_id().await.unwrap();
        assert_eq!(node.metadata.next_producer_id().await.unwrap(), first + 1);
        node.stop().await;

        let node = start(&io, &config).await;
        assert_eq!(node.metadata.leader_epoch(), 2);
        assert!(node.holds("orders", 2) && !node.holds("gone", 0));
        let after = node.metadata.image().topic("orders").unwrap().clone();
        assert_eq!(after.id, before.id);
        assert_eq!(
            after.partitions[&0].leader_epoch, 1,
            "a restarted leader has a new epoch"
        );
        assert_eq!(
            node.metadata.image().topic_configs("orders")["cleanup.policy"],
            "compact"
        );
        assert!(node.metadata.image().topic_configs("gone").is_empty());
        // The block of the last run is never handed out again.
        assert_eq!(
            node.metadata.next_producer_id().await.unwrap(),
            first + 1000
        );
        node.stop().await;
    });
}

#[test]
fn a_start_from_a_snapshot_gives_the_same_image_as_one_from_the_log() {
    run(|io, folder| async move {
        let few = "metadata.log.max.record.bytes.between.snapshots=500";
        let config = config(&folder, &[few]);
        let node = start(&io, &config).await;
        for at in 0..20 {
            assert_eq!(node.create(&format!("topic-{at}"), 2, &[]).await, 0);
        }
        let metadata = folder.join("data").join(METADATA_FOLDER);
        let snapshots = list_snapshots(io.disk(), &metadata).await.unwrap();
        assert!(
            snapshots.last().is_some_and(|id| id.end_offset > 0),
            "{snapshots:?}"
        );
        let ids = |node: &Node| {
            let image = node.metadata.image();
            image
                .topics()
                .map(|t| (t.name.clone(), t.id))
                .collect::<Vec<_>>()
        };
        let before = ids(&node);
        node.stop().await;
        let node = start(&io, &config).await;
        assert_eq!(ids(&node), before);
        assert_eq!(node.metadata.image().metadata_version(), 30);
        node.stop().await;
    });
}

#[test]
fn a_damaged_newest_snapshot_is_passed_over_for_the_one_before_it() {
    run(|io, folder| async move {
        let few = "metadata.log.max.record.bytes.between.snapshots=500";
        let config = config(&folder, &[few]);
        let node = start(&io, &config).await;
        let metadata = folder.join("data").join(METADATA_FOLDER);
        let mut topics = 0;
        while list_snapshots(io.disk(), &metadata).await.unwrap().len() < 2 {
            assert_eq!(node.create(&format!("topic-{topics}"), 2, &[]).await, 0);
            topics += 1;
        }
        node.stop().await;
        let newest = *list_snapshots(io.disk(), &metadata)
            .await
            .unwrap()
            .last()
            .unwrap();
        let path = metadata.join(newest.file_name());
        let whole = io.disk().read(&path).await.unwrap();
        let mut bytes = whole.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        io.disk().replace(&path, bytes.into()).await.unwrap();
        let part = metadata.join(format!("{}.part", newest.file_name()));
        io.disk().replace(&part, whole).await.unwrap();

        let node = start(&io, &config).await;
        assert_eq!(node.metadata.image().topics().count(), topics);
        assert!(io.disk().metadata(&part).await.is_err());
        node.stop().await;
    });
}

#[test]
fn a_partition_that_cannot_be_opened_is_opened_once_the_disk_allows_it() {
    run(|io, folder| async move {
        let node = start(&io, &config(&folder, &[])).await;
        let (sender, mut told) = mpsc::unbounded_channel();
        node.metadata.follow(move |_, delta| {
            for (_, change) in delta.changed_topics() {
                let _ = sender.send((change.name.clone(), change.partitions.clone()));
            }
        });
        // A file where the folder should be.
        let blocked = folder.join("data").join("t-1");
        let file = bytes::Bytes::from_static(b"x");
        io.disk().replace(&blocked, file).await.unwrap();
        assert_eq!(node.create("t", 2, &[]).await, 0);
        assert!(node.holds("t", 0) && !node.holds("t", 1));
        told.recv().await.unwrap();
        io.disk().remove_file(&blocked).await.unwrap();
        let (name, partitions) = told.recv().await.unwrap();
        assert_eq!((name.as_str(), partitions), ("t", [1].into()));
        assert!(node.holds("t", 1));
        node.stop().await;
    });
}

#[test]
fn a_quorum_that_is_configured_elsewhere_is_refused_before_anything_is_written() {
    run(|io, folder| async move {
        let config = config(&folder, &[]);
        let settings = StorageSettings::new(1, config.log_dirs.clone());
        let storage = Storage::open(io.clone(), settings).await.unwrap();
        let settings = MetadataSettings {
            configured_voters: vec![1, 2],
            ..MetadataSettings::new(&config)
        };
        let refused = Metadata::start(io.clone(), settings, storage).await.err();
        assert_eq!(
            refused.unwrap().to_string(),
            "the metadata quorum has the voters [1, 2]; this version runs a quorum of one, node 1"
        );
        let metadata = folder.join("data").join(METADATA_FOLDER);
        assert!(io.disk().metadata(&metadata).await.is_err());
    });
}

#[test]
fn a_partition_whose_topic_is_gone_is_set_aside_at_the_next_start() {
    run(|io, folder| async move {
        let config = config(&folder, &[]);
        let node = start(&io, &config).await;
        assert_eq!(node.create("kept", 1, &[]).await, 0);
        // As if a crash had cut the topic's deletion short.
        let left = TopicPartition::new("deleted", 0);
        let id = Uuid::from_parts(3, 3);
        let made = node.storage.create(left, id, PartitionConfig::default(), 0);
        made.await.unwrap();
        node.stop().await;
        let node = start(&io, &config).await;
        assert!(node.holds("kept", 0) && !node.holds("deleted", 0));
        let entries = io.disk().list(&folder.join("data")).await.unwrap();
        let aside = entries
            .iter()
            .filter(|entry| entry.name.starts_with("deleted-0.") && entry.name.ends_with("-stray"));
        assert_eq!(aside.count(), 1);
        node.stop().await;
    });
}

#[test]
fn a_quorum_with_other_voters_is_not_led() {
    run(|io, folder| async move {
        let first = config(&folder, &[]);
        start(&io, &first).await.stop().await;
        let data = folder.join("data");
        let path = data.join(METADATA_FOLDER).join(QUORUM_STATE);
        let text = r#"{"clusterId":"","leaderId":2,"leaderEpoch":5,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#;
        let state: QuorumState = serde_json::from_str(text).unwrap();
        assert_eq!(state.voters().collect::<Vec<_>>(), [1, 2]);
        // A static quorum has no voters in its log: they are in quorum-state alone.
        io.disk()
            .remove_dir_all(&data.join(METADATA_FOLDER))
            .await
            .unwrap();
        io.disk()
            .create_dir_all(&data.join(METADATA_FOLDER))
            .await
            .unwrap();
        state.write(io.disk(), &path).await.unwrap();
        let refused = async || {
            let settings = StorageSettings::new(1, first.log_dirs.clone());
            let storage = Storage::open(io.clone(), settings).await.unwrap();
            let settings = MetadataSettings::new(&first);
            let refused = Metadata::start(io.clone(), settings, storage.clone()).await;
            storage.shutdown().await;
            refused.err()
        };
        // The checkpoint knows of a log that is gone: that is not an empty one.
        assert!(matches!(
            refused().await,
            Some(StartError::Load(LoadError::Offline(_)))
        ));
        let checkpoint = data.join("recovery-point-offset-checkpoint");
        io.disk().remove_file(&checkpoint).await.unwrap();
        assert!(matches!(
            refused().await,
            Some(StartError::NotAlone { node_id: 1, .. })
        ));
    });
}

#[test]
fn a_follower_is_told_of_everything_before_the_answer() {
    run(|io, folder| async move {
        let node = start(&io, &config(&folder, &[])).await;
        node.create("early", 1, &[]).await;
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        node.metadata.follow(move |_, delta| {
            sink.lock()
                .unwrap()
                .extend(delta.changed_topics().map(|(_, c)| c.name.to_string()));
        });
        assert_eq!(*seen.lock().unwrap(), ["early"]);
        node.create("late", 1, &[]).await;
        assert_eq!(*seen.lock().unwrap(), ["early", "late"]);
        node.stop().await;
    });
}

/// A directory that Apache Kafka 4.3.0 formatted (dynamic quorum), ran and shut down in good order:
/// the topic t1 with 2 and then 3 partitions, a deleted topic, a cluster-wide configuration and a
/// client quota.
const KAFKA: [(&str, &[u8]); 7] = [
    (
        "meta.properties",
        include_bytes!("testdata/kafka-4.3/meta.properties"),
    ),
    (
        "bootstrap.checkpoint",
        include_bytes!("testdata/kafka-4.3/bootstrap.checkpoint"),
    ),
    (
        "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint",
        include_bytes!(
            "testdata/kafka-4.3/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"
        ),
    ),
    (
        "__cluster_metadata-0/00000000000000000000.log",
        include_bytes!("testdata/kafka-4.3/__cluster_metadata-0/00000000000000000000.log"),
    ),
    (
        "__cluster_metadata-0/quorum-state",
        include_bytes!("testdata/kafka-4.3/__cluster_metadata-0/quorum-state"),
    ),
    (
        "__cluster_metadata-0/leader-epoch-checkpoint",
        include_bytes!("testdata/kafka-4.3/__cluster_metadata-0/leader-epoch-checkpoint"),
    ),
    (
        "__cluster_metadata-0/partition.metadata",
        include_bytes!("testdata/kafka-4.3/__cluster_metadata-0/partition.metadata"),
    ),
];

#[test]
fn a_directory_of_apache_kafka_is_taken_as_it_is() {
    run(|io, folder| async move {
        let data = folder.join("data");
        io.disk()
            .create_dir_all(&data.join(METADATA_FOLDER))
            .await
            .unwrap();
        for (name, contents) in KAFKA {
            let contents = bytes::Bytes::from_static(contents);
            io.disk().replace(&data.join(name), contents).await.unwrap();
        }
        let config = config(&folder, &[]);
        for epoch in 2..4 {
            let node = start(&io, &config).await;
            assert_eq!(node.metadata.leader_epoch(), epoch);
            {
                let image = node.metadata.image();
                let topics: Vec<_> = image.topics().map(|t| t.name.as_str()).collect();
                assert_eq!(topics, ["t1"]);
                let topic = image.topic("t1").unwrap();
                assert_eq!(topic.id.to_string(), "p8lA-sIOSJuA_f918UFerw");
                for partition in topic.partitions.values() {
                    // Kafka had left it without a leader, and this node as the eligible one.
                    assert_eq!((partition.leader, &*partition.isr), (1, &[1][..]));
                    assert!(partition.eligible_leader_replicas.is_empty());
                }
                assert_eq!(image.topic_configs("t1")["retention.ms"], "1234");
                let all = ConfigResource::broker_default();
                assert_eq!(image.config(&all, "log.retention.ms"), Some("99999"));
                assert!(image.to_records().iter().any(|record| matches!(
                    record,
                    ottla_wire::metadata::MetadataRecord::ClientQuota(q) if q.value == 1000.0
                )));
            }
            assert!(node.holds("t1", 2) && !node.holds("gone", 0));
            assert_eq!(
                node.metadata.voters().unwrap().voters[0].endpoints[0].port,
                21371
            );
            node.stop().await;
        }
    });
}
