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
    admin::{Admin, AdminError, NewTopic},
    consumer::{AutoOffsetReset, Consumer, ConsumerConfig},
};
use ottla_client::{
    TopicPartition,
    producer::{Producer, ProducerConfig, Record, SendFailure},
};
use ottla_io::real::{self, RealIo};

use ottla_wire::messages::InitProducerIdRequest;

use crate::{
    broker::{Process, arguments, binary, free_port, piped},
    raw::Raw,
};

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

fn producer(io: &RealIo, address: &str, patience: Duration) -> Producer<RealIo> {
    let config = ProducerConfig {
        idempotent: false,
        delivery_timeout: patience,
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

/// Fills the last page of the metadata log, which may have room: topics are created until one is
/// refused, then producers are until one is. Gives the topics that were acknowledged; there is no room
/// for their folders.
async fn metadata_is_refused(admin: &Admin<RealIo>, port: u16, round: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let name = format!("unopened-{round}-{number}");
        match admin.create_topic(NewTopic::new(name.as_str(), 1, 1)).await {
            Ok(_) => acknowledged.push(name),
            Err(AdminError::Broker(error)) => {
                assert_eq!(error.code, ErrorCode::KafkaStorageError);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let mut raw = Raw::connect(port);
    // A block of a thousand ids may be at hand.
    let refused = loop {
        if let Err(code) = init_producer_id(&mut raw) {
            break code;
        }
    };
    assert_eq!(refused, ErrorCode::CoordinatorLoadInProgress);
    acknowledged
}

fn init_producer_id(raw: &mut Raw) -> Result<i64, ErrorCode> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let answer = raw.call(4, &request);
    match ErrorCode::from(answer.error_code) {
        ErrorCode::None => Ok(answer.producer_id),
        code => Err(code),
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
        // A refusal is to be seen, not tried again for two minutes.
        let sender = producer(&io, &address, Duration::from_secs(2));
        let patient = producer(&io, &address, Duration::from_secs(120));
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
            // The metadata log's last page may have room, as the topic's had.
            fill(&inside.join("ballast-of-the-rest"));
            let unopened = metadata_is_refused(&admin, broker.port, round).await;
            assert_eq!(
                read(&io, &address, acknowledged.len()).await.len(),
                acknowledged.len()
            );
            fs::remove_file(&ballast).unwrap();
            fs::remove_file(inside.join("ballast-of-the-rest")).unwrap();
            // What was refused works now, and what was acknowledged is made good.
            let topic = NewTopic::new(format!("refused-{round}"), 1, 1);
            admin.create_topic(topic).await.unwrap();
            assert!(init_producer_id(&mut Raw::connect(broker.port)).is_ok());
            for topic in unopened {
                let record = Record::to(topic.as_str()).partition(0).value("late");
                patient.send(record).await.unwrap();
            }
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
