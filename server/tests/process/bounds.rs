//! What clients that send or read only half cost, and whether others are served beside them.

use std::time::Instant;

use bytes::Bytes;
use ottla_client::{
    ErrorCode,
    admin::{Admin, NewTopic},
};
use ottla_core::limits::RESPONSE_BYTES_MAX;
use ottla_io::real;
use ottla_wire::{
    messages::{
        ApiKey, FetchRequest, FetchResponse, JoinGroupRequest, ProduceRequest, ProduceResponse,
        fetch_request::{FetchPartition, FetchTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    records::BatchBuilder,
};

use crate::{
    broker::{Process, free_port},
    raw::{Raw, frame},
};

/// Versions in which topics are named.
const PRODUCE: i16 = 3;
const FETCH: i16 = 11;

const TOPIC: &str = "bounds";

/// A broker with a topic of one partition.
fn started(folder: &tempfile::TempDir) -> Process {
    let broker = Process::start(&folder.path().join("data"), free_port(), &[]);
    let address = broker.address();
    real::run(|io| async move {
        let admin = Admin::new(io, [address]).unwrap();
        admin
            .create_topic(NewTopic::new(TOPIC, 1, 1))
            .await
            .unwrap();
    })
    .unwrap();
    broker
}

fn produce(raw: &mut Raw, bytes: usize, acks: i16, timeout_ms: i32) -> ErrorCode {
    let mut builder = BatchBuilder::new();
    builder
        .push(1_700_000_000_000, None, Some(&vec![b'x'; bytes]))
        .unwrap();
    let request = ProduceRequest {
        acks,
        timeout_ms,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                records: Some(builder.build()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response: ProduceResponse = raw.call(PRODUCE, &request);
    ErrorCode::from(response.responses[0].partition_responses[0].error_code)
}

fn fetch(max_bytes: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: vec![FetchPartition {
                partition_max_bytes: max_bytes,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn records(response: &FetchResponse) -> Bytes {
    let [topic] = &response.responses[..] else {
        panic!("{response:?}")
    };
    topic.partitions[0].records.clone().unwrap_or_default()
}

#[test]
fn moderate_frames_begun_and_left_do_not_keep_a_producer_waiting() {
    const CONNECTIONS: usize = 300;
    const ANNOUNCED: i32 = 1 << 20;
    const SENT: usize = 20 << 10;

    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder);
    let mut begun = frame(
        ApiKey::Produce,
        PRODUCE,
        PRODUCE,
        &ProduceRequest::default(),
    );
    begun[..4].copy_from_slice(&ANNOUNCED.to_be_bytes());
    begun.resize(SENT, 0);
    let held: Vec<Raw> = (0..CONNECTIONS)
        .map(|_| {
            let mut raw = Raw::connect(broker.port);
            assert!(raw.send(&begun));
            raw
        })
        .collect();
    let began = Instant::now();
    let mut producer = Raw::connect(broker.port);
    for _ in 0..20 {
        assert_eq!(
            produce(&mut producer, 100 << 10, -1, 10_000),
            ErrorCode::None
        );
    }
    // Those who wait for them to be closed wait for half a minute.
    let took = began.elapsed();
    assert!(took.as_secs() < 20, "it waited {took:?}");
    drop(held);
    assert!(broker.terminate().success());
}

#[test]
fn readers_that_do_not_read_hold_bounded_memory_and_another_is_served() {
    const READERS: usize = 30;
    const MEBIBYTES: usize = 48;

    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder);
    let mut producer = Raw::connect(broker.port);
    for _ in 0..MEBIBYTES {
        let code = produce(&mut producer, 1_000_000, 1, 10_000);
        assert_eq!(code, ErrorCode::None);
    }
    // What acks=all acknowledges last is shown, and all before it.
    assert_eq!(produce(&mut producer, 10, -1, 10_000), ErrorCode::None);
    let asked = frame(ApiKey::Fetch, FETCH, FETCH, &fetch(50 << 20));
    let mut readers: Vec<Raw> = (0..READERS)
        .map(|_| {
            let mut raw = Raw::connect(broker.port);
            assert!(raw.send(&asked));
            raw
        })
        .collect();
    let given: Vec<usize> = readers.iter_mut().map(Raw::begun).collect();
    let all: usize = given.iter().sum();
    assert!(all <= RESPONSE_BYTES_MAX + READERS * 1024, "{given:?}");
    let response: FetchResponse = Raw::connect(broker.port).call(FETCH, &fetch(50 << 20));
    assert!(!records(&response).is_empty());
    drop(readers);
    assert!(broker.terminate().success());
}

#[test]
fn a_write_is_acknowledged_whatever_time_out_its_request_has() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder);
    let mut raw = Raw::connect(broker.port);
    for acks in [1, -1] {
        for _ in 0..10 {
            assert_eq!(produce(&mut raw, 10, acks, 0), ErrorCode::None, "{acks}");
        }
    }
    assert!(broker.terminate().success());
}

#[test]
fn a_string_too_long_for_kafka_ends_its_connection_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder);
    let request = JoinGroupRequest {
        group_id: "x".repeat(100).as_str().into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        ..Default::default()
    };
    let short = frame(ApiKey::JoinGroup, 6, 6, &request);
    let name = [&[101][..], &[b'x'; 100]].concat();
    let at = short
        .windows(name.len())
        .position(|bytes| bytes == name)
        .unwrap();
    // The same with 40,000 bytes for a name.
    let mut long = short[..at].to_vec();
    long.extend([0xc1, 0xb8, 0x02]);
    long.resize(long.len() + 40_000, b'x');
    long.extend(&short[at + name.len()..]);
    let len = u32::try_from(long.len() - 4).unwrap();
    long[..4].copy_from_slice(&len.to_be_bytes());
    let mut raw = Raw::connect(broker.port);
    assert!(raw.send(&long));
    raw.wait_for_close();
    let mut other = Raw::connect(broker.port);
    assert_eq!(produce(&mut other, 10, -1, 10_000), ErrorCode::None);
    assert!(broker.terminate().success());
}
