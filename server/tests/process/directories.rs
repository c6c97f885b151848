//! Data directories that a broker must refuse, and what a clean stop leaves in one.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ottla_client::{
    IsolationLevel, OffsetSpec, TopicPartition,
    admin::{Admin, NewTopic},
    producer::{Producer, Record},
};
use ottla_io::{Spawn, real};

use crate::broker::{Process, free_port, refused};

/// One line that says `what`, and no success.
fn one_line_says(refusal: (std::process::ExitStatus, String), what: &str) {
    let (status, told) = refusal;
    assert!(!status.success(), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains(what), "{told}");
}

#[test]
fn directory_in_use_is_refused_with_one_line_and_its_user_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broker = Process::start(&data, free_port(), &[]);
    one_line_says(refused(&data, &[]), "in use by another process");
    assert!(broker.terminate().success());
    // The lock went with its holder.
    assert!(
        Process::start(&data, free_port(), &[])
            .terminate()
            .success()
    );
}

#[test]
fn directory_of_another_cluster_is_refused_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(
        Process::start(&data, free_port(), &[])
            .terminate()
            .success()
    );
    let before = fs::read(data.join("meta.properties")).unwrap();
    one_line_says(
        refused(&data, &["ottla.cluster.id=AAAAAAAAAAAAAAAAAAAAAA"]),
        "belongs to cluster",
    );
    assert_eq!(fs::read(data.join("meta.properties")).unwrap(), before);
}

#[test]
fn directory_of_another_node_is_refused_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(
        Process::start(&data, free_port(), &[])
            .terminate()
            .success()
    );
    one_line_says(refused(&data, &["node.id=7"]), "node");
}

#[test]
fn directory_that_cannot_be_made_is_refused_with_one_line() {
    // A path below a file cannot be made even by root, who may write everywhere.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let data = file.join("data");
    one_line_says(refused(&data, &[]), &data.display().to_string());
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory");
}

#[test]
fn port_in_use_is_refused_with_one_line_and_leaves_the_directory_free() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Process::start(&folder.path().join("one"), free_port(), &[]);
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{}", broker.port);
    let data = folder.path().join("other");
    one_line_says(refused(&data, &[&listeners]), "taken by another process");
    assert!(
        Process::start(&data, free_port(), &[])
            .terminate()
            .success()
    );
}

#[test]
fn sigterm_under_load_ends_with_success_a_clean_mark_and_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broker = Process::start(&data, free_port(), &[]);
    let (address, port) = (broker.address(), broker.port);
    real::run(|io| async move {
        let admin = Admin::new(io.clone(), [&address]).unwrap();
        admin
            .create_topic(NewTopic::new("load", 1, 1))
            .await
            .unwrap();
        let producer = Arc::new(Producer::builder(io.clone(), [&address]).build().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (counted, mut count) = tokio::sync::mpsc::unbounded_channel();
        let load = io.spawn("load", {
            let (producer, stop) = (Arc::clone(&producer), Arc::clone(&stop));
            async move {
                let mut sent = 0_i64;
                while !stop.load(Ordering::Relaxed) {
                    let record = Record::to("load").partition(0).value(sent.to_string());
                    producer.send(record).await.unwrap();
                    sent += 1;
                    let _ = counted.send(());
                }
                sent
            }
        });
        for _ in 0..100 {
            count.recv().await.unwrap();
        }
        // The producer does not stop for it.
        assert!(broker.terminate().success());
        assert!(data.join(".kafka_cleanshutdown").exists());
        let broker = Process::start(&data, port, &[]);
        while count.try_recv().is_ok() {}
        for _ in 0..100 {
            count.recv().await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let sent = load.await.unwrap();
        let name = TopicPartition::new("load", 0);
        let ends = admin
            .list_offsets(
                &[(name.clone(), OffsetSpec::Latest)].into(),
                IsolationLevel::ReadUncommitted,
            )
            .await;
        assert_eq!(ends[&name].as_ref().unwrap().offset, sent);
        assert!(broker.terminate().success());
    })
    .unwrap();
}
