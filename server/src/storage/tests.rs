//! The storage on the real backend, in a folder of its own.

use std::{future::Future, path::Path, time::Duration};

use bytes::Bytes;
use ottla_io::{Clock, Disk, real::RealIo};
use ottla_wire::records::{BatchBuilder, batches};

use super::*;

mod faults;

const TOPIC: Uuid = Uuid::from_parts(7, 7);

fn run<F: Future>(test: impl FnOnce(RealIo, PathBuf) -> F) -> F::Output {
    let folder = tempfile::tempdir().unwrap();
    ottla_io::real::run(|io| test(io, folder.path().to_owned())).unwrap()
}

fn name() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn settings(folder: &Path) -> StorageSettings {
    let mut settings = StorageSettings::new(1, vec![folder.join("data")]);
    settings.delete_delay = Duration::ZERO;
    settings
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(1_000, None, Some(value.as_bytes())).unwrap();
    }
    builder.build()
}

/// The values of all records from the log's start to what `isolation` shows.
async fn values<I: Io>(partition: &PartitionHandle<I>, isolation: Isolation) -> Vec<String> {
    let mut found = Vec::new();
    let mut offset = partition.log_start();
    loop {
        let bytes = partition.read_from(offset, 1000, isolation).await.unwrap();
        if bytes.is_empty() {
            return found;
        }
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            let payload = batch.shared_payload();
            for record in ottla_wire::records::RecordIter::new(batch.header(), &payload) {
                let record = record.unwrap();
                found.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
            }
            offset = batch.next_offset();
        }
    }
}

async fn append<I: Io>(partition: &PartitionHandle<I>, value: &str) -> i64 {
    let appended = partition
        .append(batch(&[value]), Acks::All, Origin::Client)
        .await
        .unwrap();
    appended.base_offset
}

#[test]
fn what_is_appended_is_read_and_waiters_wake() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let partition = storage
            .create(name(), TOPIC, PartitionConfig::default(), 3)
            .await
            .unwrap();
        let waiting = partition.wait_beyond(0, Isolation::ReadUncommitted);
        for (offset, value) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(append(&partition, value).await, offset as i64);
        }
        waiting.await.unwrap();
        assert_eq!(
            values(&partition, Isolation::ReadUncommitted).await,
            ["a", "b", "c"]
        );
        let offsets = partition.offsets();
        assert_eq!(
            (
                offsets.high_watermark,
                offsets.log_end,
                offsets.leader_epoch
            ),
            (3, 3, 3)
        );
        let _ = io.now();
    });
}

#[test]
fn appends_are_taken_in_the_order_of_the_calls() {
    run(|io, folder| async move {
        let storage = Storage::open(io, settings(&folder)).await.unwrap();
        let partition = storage
            .create(name(), TOPIC, PartitionConfig::default(), 0)
            .await
            .unwrap();
        let appends: Vec<_> = (0..200)
            .map(|i| partition.append(batch(&[&i.to_string()]), Acks::All, Origin::Client))
            .collect();
        let taken = join_all(appends.into_iter().rev()).await;
        let offsets: Vec<_> = taken
            .into_iter()
            .rev()
            .map(|a| a.unwrap().base_offset)
            .collect();
        assert_eq!(offsets, (0..200).collect::<Vec<_>>());
    });
}

#[test]
fn after_a_clean_stop_everything_is_there() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let cluster = storage.cluster_id().to_owned();
        let partition = storage
            .create(name(), TOPIC, PartitionConfig::default(), 0)
            .await
            .unwrap();
        append(&partition, "a").await;
        append(&partition, "b").await;
        storage.shutdown().await;
        assert!(folder.join("data/.kafka_cleanshutdown").exists());
        assert_eq!(
            partition
                .append(batch(&["late"]), Acks::All, Origin::Client)
                .await,
            Err(AppendError::Storage)
        );

        let storage = Storage::open(io, settings(&folder)).await.unwrap();
        assert_eq!(storage.cluster_id(), cluster);
        assert!(!folder.join("data/.kafka_cleanshutdown").exists());
        let partition = storage.get(&name()).unwrap();
        assert_eq!(partition.topic_id(), TOPIC);
        assert_eq!(values(&partition, Isolation::LogEnd).await, ["a", "b"]);
        let refused = partition
            .append(batch(&["c"]), Acks::All, Origin::Client)
            .await;
        assert_eq!(refused, Err(AppendError::NotLeader { leader_epoch: -1 }));
        storage.set_leader(&name(), 1);
        assert_eq!(append(&partition, "c").await, 2);
        assert_eq!(
            values(&partition, Isolation::ReadUncommitted).await,
            ["a", "b", "c"]
        );
    });
}

#[test]
fn after_a_kill_everything_acknowledged_is_there_and_a_torn_tail_is_cut() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let partition = storage
            .create(name(), TOPIC, PartitionConfig::default(), 0)
            .await
            .unwrap();
        for value in ["a", "b", "c"] {
            append(&partition, value).await;
        }
        drop((storage, partition));
        let log = folder.join("data/orders-0/00000000000000000000.log");
        let file = io
            .disk()
            .open(&log, ottla_io::OpenMode::ReadWrite)
            .await
            .unwrap();
        let len = ottla_io::File::len(&file).await.unwrap();
        let torn = batch(&["torn"]);
        ottla_io::File::write_at(&file, len, vec![torn.slice(..torn.len() - 3)])
            .await
            .unwrap();

        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let partition = storage.get(&name()).unwrap();
        assert_eq!(values(&partition, Isolation::LogEnd).await, ["a", "b", "c"]);
        assert_eq!(ottla_io::File::len(&file).await.unwrap(), len);
        storage.set_leader(&name(), 1);
        assert_eq!(append(&partition, "d").await, 3);
    });
}

#[test]
fn a_directory_in_use_of_another_cluster_or_node_is_refused() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let again = Storage::open(io.clone(), settings(&folder)).await;
        assert!(matches!(again, Err(OpenError::InUse { .. })));
        storage.shutdown().await;
        let other = StorageSettings {
            cluster_id: Some("other".to_owned()),
            ..settings(&folder)
        };
        let refused = Storage::open(io.clone(), other).await;
        assert!(matches!(refused, Err(OpenError::OtherCluster { .. })));
        let other = StorageSettings {
            node_id: 2,
            ..settings(&folder)
        };
        let refused = Storage::open(io.clone(), other).await;
        assert!(matches!(
            refused,
            Err(OpenError::OtherNode {
                expected: 2,
                got: 1,
                ..
            })
        ));
        let empty = StorageSettings {
            log_dirs: vec![folder.join("empty")],
            format_if_empty: false,
            ..settings(&folder)
        };
        let refused = Storage::open(io, empty).await;
        assert!(matches!(refused, Err(OpenError::NotFormatted { .. })));
    });
}

#[test]
fn a_clean_stop_leaves_the_brokers_epoch_in_the_marker() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        storage.shutdown_as(17).await;
        let path = folder.join("data").join(".kafka_cleanshutdown");
        let marker = io.disk().read(&path).await.unwrap();
        let epoch = ottla_core::log::checkpoint::parse_clean_shutdown(&marker);
        assert_eq!(epoch, Ok(17));
    });
}

#[test]
fn a_deleted_partition_is_gone_and_its_name_is_free() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let partition = storage
            .create(name(), TOPIC, PartitionConfig::default(), 0)
            .await
            .unwrap();
        append(&partition, "a").await;
        let waiting = partition.wait_beyond(10, Isolation::ReadUncommitted);
        assert!(storage.delete(&name()).await.unwrap());
        assert_eq!(waiting.await, Err(QueryError::Gone));
        let late = partition.append(batch(&["b"]), Acks::All, Origin::Client);
        assert_eq!(late.await, Err(AppendError::Gone));
        assert!(storage.get(&name()).is_none());
        let other = Uuid::from_parts(8, 8);
        let partition = storage
            .create(name(), other, PartitionConfig::default(), 0)
            .await
            .unwrap();
        assert_eq!(append(&partition, "new").await, 0);
        drop((storage, partition));
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        assert_eq!(storage.get(&name()).unwrap().topic_id(), other);
        assert_eq!(storage.iter().len(), 1);
    });
}

#[test]
fn deleted_records_stay_deleted_after_a_kill() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let mut config = PartitionConfig::default();
        config.log.segment_bytes = 100;
        let partition = storage.create(name(), TOPIC, config, 0).await.unwrap();
        for i in 0..10 {
            append(&partition, &format!("value {i}")).await;
        }
        assert_eq!(partition.delete_records(4).await, Ok(4));
        assert!(partition.delete_records(11).await.is_err());
        assert_eq!(partition.log_start(), 4);
        drop((storage, partition));
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let partition = storage.get(&name()).unwrap();
        assert_eq!(partition.log_start(), 4);
        assert_eq!(values(&partition, Isolation::LogEnd).await.len(), 6);
    });
}

#[test]
fn offsets_are_found_by_time_in_memory_in_files_and_compressed() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let mut config = PartitionConfig::default();
        (config.log.segment_bytes, config.log.index_interval_bytes) = (400, 1);
        let partition = storage.create(name(), TOPIC, config, 2).await.unwrap();
        for i in 0..20 {
            let mut builder = BatchBuilder::new();
            for j in 0..3 {
                builder
                    .push(1_000 + i * 30 + j * 10, None, Some(b"value"))
                    .unwrap();
            }
            let batch = builder
                .build_compressed(ottla_wire::records::Compression::Gzip, None)
                .unwrap();
            partition
                .append(batch, Acks::All, Origin::Client)
                .await
                .unwrap();
        }
        for round in 0..2 {
            let (storage, partition) = if round == 0 {
                (storage.clone(), partition.clone())
            } else {
                storage.shutdown().await;
                let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
                storage.set_leader(&name(), 3);
                (storage.clone(), storage.get(&name()).unwrap())
            };
            let at = async |spec| {
                let found = partition
                    .list_offset(spec, Isolation::ReadUncommitted, None)
                    .await;
                let found = found.unwrap();
                (found.offset, found.timestamp)
            };
            for offset in [0, 1, 17, 30, 59] {
                let time = 1_000 + offset * 10;
                assert_eq!(
                    at(OffsetSpec::Timestamp(time)).await,
                    (offset, time),
                    "{round}"
                );
                assert_eq!(
                    at(OffsetSpec::Timestamp(time - 9)).await,
                    (offset, time),
                    "{round}"
                );
            }
            assert_eq!(at(OffsetSpec::Timestamp(1_591)).await, (-1, -1));
            assert_eq!(at(OffsetSpec::MaxTimestamp).await, (59, 1_590));
            assert_eq!(at(OffsetSpec::Earliest).await, (0, -1));
            assert_eq!(at(OffsetSpec::Latest).await, (60, -1));
            drop(storage);
        }
    });
}
