//! Directories, folders and files that are not as this node left them.

use ottla_core::log::FileName;
use ottla_io::{File, OpenMode};

use super::*;

fn two_directories(folder: &Path) -> StorageSettings {
    StorageSettings {
        log_dirs: vec![folder.join("one"), folder.join("two")],
        ..settings(folder)
    }
}

/// How many folders were set aside in the log directory.
async fn strays(io: &RealIo, folder: &Path) -> usize {
    let entries = io.disk().list(&folder.join("data")).await.unwrap();
    let names = entries.iter().map(|entry| entry.name.as_str());
    names.filter(|name| name.ends_with("-stray")).count()
}

#[test]
fn a_topic_made_anew_is_whole_after_a_kill_whatever_the_checkpoints_said_of_the_one_before() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let config = PartitionConfig::default;
        let partition = storage.create(name(), TOPIC, config(), 0).await.unwrap();
        for i in 0..10 {
            append(&partition, &format!("old {i}")).await;
        }
        // This writes the checkpoints.
        assert_eq!(partition.delete_records(8).await, Ok(8));
        assert!(storage.delete(&name()).await.unwrap());
        let other = Uuid::from_parts(8, 8);
        let partition = storage.create(name(), other, config(), 0).await.unwrap();
        append(&partition, "new").await;
        drop((storage, partition));
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let partition = storage.get(&name()).unwrap();
        assert!(partition.is_online());
        assert_eq!(values(&partition, Isolation::LogEnd).await, ["new"]);
    });
}

#[test]
fn a_log_directory_that_is_lost_is_named_and_not_formatted() {
    run(|io, folder| async move {
        let open = || Storage::open(io.clone(), two_directories(&folder));
        open().await.unwrap().shutdown().await;
        let lost = folder.join("two");
        for emptied in [true, false] {
            io.disk().remove_dir_all(&lost).await.unwrap();
            if emptied {
                io.disk().create_dir_all(&lost).await.unwrap();
            }
            let refused = open().await.err().unwrap();
            assert!(
                matches!(&refused, OpenError::Missing { path, .. } if *path == lost),
                "{refused}"
            );
            assert_eq!(lost.exists(), emptied);
            assert!(!lost.join("meta.properties").exists());
            io.disk().create_dir_all(&lost).await.unwrap();
        }
    });
}

#[test]
fn a_format_that_a_kill_cut_short_goes_on_at_the_next_start() {
    run(|io, folder| async move {
        let first = StorageSettings {
            log_dirs: vec![folder.join("one")],
            ..settings(&folder)
        };
        let storage = Storage::open(io.clone(), first).await.unwrap();
        storage.shutdown().await;
        // What a directory holds right after it was formatted.
        let one = folder.join("one");
        for entry in io.disk().list(&one).await.unwrap() {
            if entry.name != "meta.properties" {
                io.disk().remove_file(&one.join(entry.name)).await.unwrap();
            }
        }
        let storage = Storage::open(io.clone(), two_directories(&folder)).await;
        assert_eq!(storage.unwrap().directories().len(), 2);
    });
}

#[test]
fn a_metadata_log_in_another_directory_is_named_and_nothing_is_written() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), two_directories(&folder)).await;
        let storage = storage.unwrap();
        let metadata = TopicPartition::new(folders::METADATA_TOPIC, 0);
        let config = PartitionConfig::default();
        let made = storage.create(metadata, Uuid::METADATA_TOPIC, config, 0);
        made.await.unwrap();
        storage.shutdown().await;
        let mut reordered = two_directories(&folder);
        reordered.log_dirs.reverse();
        let refused = Storage::open(io.clone(), reordered).await.err().unwrap();
        let (one, two) = (folder.join("one"), folder.join("two"));
        assert!(
            matches!(
                &refused,
                OpenError::MetadataElsewhere { path, expected } if (path, expected) == (&one, &two)
            ),
            "{refused}"
        );
        assert!(one.join(".kafka_cleanshutdown").exists());
    });
}

#[test]
fn a_folder_without_partition_metadata_or_of_another_topic_is_set_aside() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let config = PartitionConfig::default;
        let partition = storage.create(name(), TOPIC, config(), 0).await.unwrap();
        append(&partition, "whose?").await;
        drop((storage, partition));
        let metadata = folder.join("data/orders-0/partition.metadata");
        io.disk().remove_file(&metadata).await.unwrap();
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        for (aside, topic) in [(1, TOPIC), (2, Uuid::from_parts(8, 8))] {
            let partition = storage.create(name(), topic, config(), 0).await.unwrap();
            assert_eq!((partition.topic_id(), partition.log_end()), (topic, 0));
            assert_eq!(append(&partition, "ours").await, 0);
            assert_eq!(strays(&io, &folder).await, aside);
        }
        assert!(storage.set_aside(&name()).await.unwrap());
        assert!(storage.get(&name()).is_none());
        assert_eq!(strays(&io, &folder).await, 3);
    });
}

#[test]
fn a_folder_whose_partition_metadata_is_damaged_stays_as_it_is_and_offline() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let config = PartitionConfig::default;
        let partition = storage.create(name(), TOPIC, config(), 0).await.unwrap();
        append(&partition, "kept").await;
        drop((storage, partition));
        let metadata = folder.join("data/orders-0/partition.metadata");
        let rotted = Bytes::from_static(b"version: 0\ntopic_id: x\0\n");
        io.disk().replace(&metadata, rotted).await.unwrap();
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        assert!(!storage.get(&name()).unwrap().is_online());
        let refused = storage.create(name(), TOPIC, config(), 0).await;
        assert!(matches!(refused, Err(CreateError::Unidentified { .. })));
        assert_eq!(strays(&io, &folder).await, 0);
    });
}

#[test]
fn a_log_file_that_is_missing_or_rotted_under_an_open_log_is_an_error_and_not_an_empty_answer() {
    run(|io, folder| async move {
        let storage = Storage::open(io.clone(), settings(&folder)).await.unwrap();
        let config = PartitionConfig::default();
        let partition = storage.create(name(), TOPIC, config, 0).await.unwrap();
        append(&partition, "a").await;
        append(&partition, "b").await;
        let path = partition.cell.place.path(FileName::Log(0));
        let file = io.disk().open(&path, OpenMode::ReadWrite).await.unwrap();
        let sound = file.read_at(0, 8).await.unwrap();
        let read = async || {
            let read = partition.read_from(0, 1000, Isolation::ReadUncommitted);
            read.await
        };
        // The first batch's base offset: no checksum covers it.
        for rotted in [1_i64 << 40, 2] {
            let bytes = rotted.to_be_bytes().to_vec();
            file.write_at(0, vec![bytes.into()]).await.unwrap();
            let refused = read().await;
            assert!(matches!(refused, Err(ReadError::Damaged(_))), "{refused:?}");
        }
        file.write_at(0, vec![sound]).await.unwrap();
        assert!(!read().await.unwrap().is_empty());
        partition
            .cell
            .place
            .files
            .forget_all(partition.cell.place.number);
        io.disk().remove_file(&path).await.unwrap();
        let refused = read().await;
        assert!(matches!(refused, Err(ReadError::Io(_))), "{refused:?}");
    });
}
