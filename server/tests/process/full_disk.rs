//! A disk that fills up under the broker, and has room again.
//!
//! The disk is a small tmpfs in a mount namespace of the broker's own, so that nothing is left behind
//! however the test ends; we reach it through `/proc/PID/root`. Where this process may not make one,
//! the test says so and ends.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use ottla_client::{
    ErrorCode,
    admin::{Admin, NewTopic},
    consumer::{AutoOffsetReset, Consumer, ConsumerConfig},
};
use ottla_client::{
    TopicPartition,
    producer::{Producer, ProducerConfig, Record, SendFailure},
};
use ottla_io::real::{self, RealIo};

use crate::broker::{Process, arguments, binary, free_port, piped};

const TOPIC: &str = "full";
const DISK: &str = "size=48m";

/// Runs its arguments with a small disk mounted at the first of them.
const ON_SMALL_DISK: &str = r#"mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@""#;

fn on_small_disk(mounted: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        ON_SMALL_DISK,
        "sh",
        DISK,
    ]);
    command.arg(mounted);
    command
}

/// Fills the disk to the last byte.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    for size in [1 << 20, 4096, 1] {
        let chunk = vec![b'x'; size];
        loop {
            match file.write(&chunk) {
                Ok(written) if written == size => {}
                Ok(_) => break,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    break;
                }
            }
        }
    }
}

fn producer(io: &RealIo, address: &str) -> Producer<RealIo> {
    // A refusal is to be seen, not tried again for two minutes.
    let config = ProducerConfig {
        idempotent: false,
        delivery_timeout: Duration::from_secs(2),
        ..ProducerConfig::default()
    };
    Producer::builder(io.clone(), [address])
        .config(config)
        .build()
        .unwrap()
}

/// The last refusal of a broker that made a send fail.
fn refusal(failure: &SendFailure) -> Option<ErrorCode> {
    match failure {
        SendFailure::Broker(error) => Some(error.code),
        SendFailure::TimedOut { last: Some(last) } => refusal(last),
        _ => None,
    }
}

/// The first `count` values of the topic.
async fn read(io: &RealIo, address: &str, count: usize) -> Vec<bytes::Bytes> {
    let config = ConsumerConfig {
        auto_offset_reset: AutoOffsetReset::Earliest,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(io.clone(), [address], config).unwrap();
    consumer.assign([TopicPartition::new(TOPIC, 0)]);
    let mut values = Vec::new();
    while values.len() < count {
        let records = consumer.poll(Duration::from_secs(10)).await.unwrap();
        values.extend(records.into_iter().map(|record| record.value.unwrap()));
    }
    consumer.close().await.unwrap();
    values
}

#[test]
fn full_disk_refuses_produce_serves_reads_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("disk");
    fs::create_dir(&mounted).unwrap();
    if !on_small_disk(&mounted)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("skipped: this process may not mount a small disk (it takes root and unshare)");
        return;
    }
    let data = mounted.join("data");
    let port = free_port();
    let mut command = on_small_disk(&mounted);
    command.arg(binary()).args(arguments(&data, port, &[]));
    piped(&mut command, &mounted);
    let broker = Process::of(command.spawn().unwrap(), &mounted, port);
    let inside: PathBuf = format!("/proc/{}/root{}", broker.pid(), mounted.display()).into();
    let ballast = inside.join("ballast");
    real::run(|io| async move {
        let address = broker.address();
        let admin = Admin::new(io.clone(), [&address]).unwrap();
        admin
            .create_topic(NewTopic::new(TOPIC, 1, 1))
            .await
            .unwrap();
        let sender = producer(&io, &address);
        let mut acknowledged = Vec::new();
        for round in 0..3 {
            for number in 0..100 {
                let value = format!("{round}/{number}/{}", "v".repeat(1000));
                sender
                    .send(Record::to(TOPIC).partition(0).value(value.clone()))
                    .await
                    .unwrap();
                acknowledged.push(value);
            }
            fill(&ballast);
            let refused = loop {
                let value = format!("{round}/more/{}", "v".repeat(1000));
                match sender
                    .send(Record::to(TOPIC).partition(0).value(value.clone()))
                    .await
                {
                    // The last page had room.
                    Ok(_) => acknowledged.push(value),
                    Err(error) => break error,
                }
            };
            assert_eq!(
                refusal(&refused.reason),
                Some(ErrorCode::KafkaStorageError),
                "{refused:?}"
            );
            assert_eq!(
                read(&io, &address, acknowledged.len()).await.len(),
                acknowledged.len()
            );
            fs::remove_file(&ballast).unwrap();
        }
        let value = "the last one".to_owned();
        sender
            .send(Record::to(TOPIC).partition(0).value(value.clone()))
            .await
            .unwrap();
        acknowledged.push(value);
        // What was refused may not be there: nobody but us wrote, and the offsets are ours.
        assert_eq!(read(&io, &address, acknowledged.len()).await, acknowledged);
        assert!(broker.terminate().success());
    })
    .unwrap();
}
