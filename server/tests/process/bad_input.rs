//! What strangers, broken clients and attackers send, and what they get.

use std::{fs, time::Instant};

use bytes::Bytes;
use ottla_client::{
    ErrorCode, IsolationLevel, OffsetSpec, TopicPartition,
    admin::{Admin, AdminError, NewTopic},
};
use ottla_io::real::{self, RealIo};
use ottla_wire::{
    messages::{
        ApiKey, ApiVersionsRequest, CreateTopicsRequest, IncrementalAlterConfigsRequest,
        MetadataRequest, ProduceRequest,
        create_topics_request::CreatableTopic,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        metadata_request::MetadataRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    records::{BatchBuilder, crc32c},
};

use crate::{
    broker::{Process, free_port},
    raw::{Raw, frame},
};

/// An old version of Produce that every broker has: topics are named, strings are plain.
const PRODUCE: i16 = 3;

fn started(folder: &tempfile::TempDir, overrides: &[&str]) -> Process {
    Process::start(&folder.path().join("data"), free_port(), overrides)
}

/// Runs `work` with an admin client of the broker.
fn with_admin<F: Future>(broker: &Process, work: impl FnOnce(Admin<RealIo>) -> F) -> F::Output {
    let address = broker.address();
    real::run(|io| work(Admin::new(io, [address]).unwrap())).unwrap()
}

/// An ordinary client gets its answer.
fn serves(broker: &Process) {
    let response = Raw::connect(broker.port).call(4, &api_versions());
    assert_eq!(response.error_code, 0);
}

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "raw".into(),
        client_software_version: "1".into(),
        ..Default::default()
    }
}

fn warnings(errors: &str) -> Vec<&str> {
    errors
        .lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .collect()
}

#[test]
fn strange_bytes_close_their_connections_with_one_warning_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder, &[]);
    let began = Instant::now();
    let garbage: Vec<u8> = (0..4096_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let whole = frame(ApiKey::Metadata, 12, 12, &MetadataRequest::default());
    let unknown_api = [
        &[0, 0, 0, 10][..],
        &[0x27, 0x0f, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
    ]
    .concat();
    // Metadata v1 with two thousand million topics.
    let lying = [
        &[0, 0, 0, 14][..],
        &[0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
    ]
    .concat();
    let strange: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[
            0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03,
        ],
        &[0xff, 0xff, 0xff, 0xff, 0, 3],
        &[0x7f, 0xff, 0xff, 0xff, 0, 3],
        &garbage,
        &unknown_api,
        &frame(ApiKey::Metadata, 12, 99, &MetadataRequest::default()),
        &lying,
        &whole[..whole.len() - 1],
    ];
    for bytes in strange {
        let mut raw = Raw::connect(broker.port);
        raw.send(bytes);
        raw.end();
        raw.wait_for_close();
        serves(&broker);
    }
    let errors = broker.errors();
    let warnings = warnings(&errors);
    // One in the first minute, whatever came; a slow machine may get to the next minute.
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap();
    assert!((1..=1 + minutes).contains(&warnings.len()), "{warnings:#?}");
    assert!(
        warnings[0].contains("127.0.0.1") && warnings[0].contains("HTTP"),
        "{warnings:#?}"
    );
    assert!(broker.terminate().success());
}

#[test]
fn api_versions_of_an_unknown_version_is_answered_as_v0() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder, &[]);
    let mut raw = Raw::connect(broker.port);
    assert!(raw.send(&frame(ApiKey::ApiVersions, 4, 99, &api_versions())));
    let response = raw.response::<ApiVersionsRequest>(0);
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion as i16);
    let [only] = &response.api_keys[..] else {
        panic!("{response:?}")
    };
    assert_eq!(only.api_key, ApiKey::ApiVersions.code());
    // On the same connection the client tries again.
    assert_eq!(raw.call(only.max_version, &api_versions()).error_code, 0);
}

fn batch(values: &[&[u8]]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(1_700_000_000_000, None, Some(value)).unwrap();
    }
    builder.build().to_vec()
}

/// The batch with other bytes at `at`, its checksum made good.
fn with(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn produce(raw: &mut Raw, version: i16, topic: &str, records: Vec<u8>) -> ErrorCode {
    let data = PartitionProduceData {
        index: 0,
        records: Some(Bytes::from(records)),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![data],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let response = raw.call(version, &request);
    ErrorCode::from(response.responses[0].partition_responses[0].error_code)
}

#[test]
fn bad_batches_are_refused_with_their_codes_and_nothing_is_written() {
    use ErrorCode::{
        CorruptMessage, InvalidRecord, InvalidTimestamp, MessageTooLarge,
        UnsupportedCompressionType, UnsupportedForMessageFormat,
    };

    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder, &[]);
    with_admin(&broker, |admin| async move {
        admin
            .create_topic(NewTopic::new("bad", 1, 1))
            .await
            .unwrap();
    });
    let good = batch(&[b"one", b"two", b"three"]);
    let mut wrong_crc = good.clone();
    wrong_crc[17] ^= 1;
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let too_short_length = with(good.clone(), 8, &20_i32.to_be_bytes());
    let mut longer_than_there = good.clone();
    longer_than_there[8..12].copy_from_slice(&(good.len() as i32).to_be_bytes());
    let mut negative_length = good.clone();
    negative_length[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
    let cases = [
        ("wrong crc", wrong_crc, CorruptMessage),
        ("flipped bit in a record", flipped, CorruptMessage),
        (
            "magic 1",
            with(good.clone(), 16, &[1]),
            UnsupportedForMessageFormat,
        ),
        (
            "more records than offsets",
            with(good.clone(), 57, &9_i32.to_be_bytes()),
            InvalidRecord,
        ),
        (
            "fewer records than offsets",
            with(good.clone(), 57, &1_i32.to_be_bytes()),
            InvalidRecord,
        ),
        (
            "no records",
            with(good.clone(), 57, &0_i32.to_be_bytes()),
            InvalidRecord,
        ),
        (
            "negative count",
            with(good.clone(), 57, &(-3_i32).to_be_bytes()),
            InvalidRecord,
        ),
        (
            "negative last delta",
            with(good.clone(), 23, &(-2_i32).to_be_bytes()),
            InvalidRecord,
        ),
        (
            "a control batch",
            with(good.clone(), 21, &0x20_i16.to_be_bytes()),
            InvalidRecord,
        ),
        ("length below a header", too_short_length, CorruptMessage),
        (
            "length beyond the request",
            longer_than_there,
            CorruptMessage,
        ),
        ("negative length", negative_length, CorruptMessage),
        ("cut off", good[..40].to_vec(), CorruptMessage),
        (
            "two batches",
            [good.clone(), good.clone()].concat(),
            InvalidRecord,
        ),
        ("nothing", Vec::new(), InvalidRecord),
        (
            "an offset of its own",
            with(good.clone(), 0, &7_i64.to_be_bytes()),
            InvalidRecord,
        ),
        (
            "five records announced, three there",
            with(
                with(good.clone(), 23, &4_i32.to_be_bytes()),
                57,
                &5_i32.to_be_bytes(),
            ),
            InvalidRecord,
        ),
        (
            "garbage for records",
            with(good.clone(), 61, &[0xff; 10]),
            InvalidRecord,
        ),
        (
            "the time of its append",
            with(good.clone(), 21, &8_i16.to_be_bytes()),
            InvalidTimestamp,
        ),
        (
            "zstd before version 7",
            with(good.clone(), 21, &4_i16.to_be_bytes()),
            UnsupportedCompressionType,
        ),
        (
            "over max.message.bytes",
            batch(&[&vec![b'x'; 2 << 20]]),
            MessageTooLarge,
        ),
    ];
    let mut raw = Raw::connect(broker.port);
    let mut wrong = Vec::new();
    for (what, bytes, expected) in cases {
        let got = produce(&mut raw, PRODUCE, "bad", bytes);
        if got != expected {
            wrong.push(format!("{what}: {got:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let end = with_admin(&broker, |admin| async move {
        let name = TopicPartition::new("bad", 0);
        let ends = admin
            .list_offsets(
                &[(name.clone(), OffsetSpec::Latest)].into(),
                IsolationLevel::ReadUncommitted,
            )
            .await;
        ends[&name].as_ref().unwrap().offset
    });
    assert_eq!(end, 0);
    let log = broker.data.join("bad-0/00000000000000000000.log");
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    assert_eq!(
        produce(&mut raw, PRODUCE, "bad", good.clone()),
        ErrorCode::None
    );
    let data = broker.data.clone();
    assert!(broker.terminate().success());
    let log = data.join("bad-0/00000000000000000000.log");
    assert_eq!(fs::metadata(&log).unwrap().len(), good.len() as u64);
}

#[test]
fn bad_topic_names_are_refused_with_a_reason_and_touch_nothing_outside() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder, &[]);
    let listed = || {
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = listed();
    let long = "x".repeat(250);
    let bad = [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/x",
        "a\\b",
        "a b",
        "\u{fc}ber",
        "a\0b",
        &long,
    ];
    with_admin(&broker, |admin| async move {
        admin
            .create_topic(NewTopic::new("my.topic", 1, 1))
            .await
            .unwrap();
        for name in bad.into_iter().chain(["my_topic"]) {
            match admin.create_topic(NewTopic::new(name, 1, 1)).await {
                Err(AdminError::Broker(error)) => {
                    assert_eq!(error.code, ErrorCode::InvalidTopicException, "{name:?}");
                    assert!(
                        error.message.is_some_and(|text| !text.is_empty()),
                        "{name:?}"
                    );
                }
                other => panic!("{name:?}: {other:?}"),
            }
        }
        assert_eq!(admin.list_topics().await.unwrap().len(), 1);
    });
    // Those who would have them created by asking for them get no more.
    for name in bad {
        let topic = ottla_wire::messages::metadata_request::MetadataRequestTopic {
            name: Some(name.into()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        let response = Raw::connect(broker.port).call(9, &request);
        let code = ErrorCode::from(response.topics[0].error_code);
        assert_eq!(code, ErrorCode::InvalidTopicException, "{name:?}");
    }
    assert_eq!(listed(), before);
}

#[test]
fn a_change_that_the_metadata_log_cannot_hold_is_refused_and_the_broker_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder, &[]);
    let alter = |count: usize, bytes: usize| {
        let config = |number| AlterableConfig {
            name: format!("unknown.{number}").into(),
            value: Some("v".repeat(bytes).into()),
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                // The default of all brokers.
                resource_type: 4,
                configs: (0..count).map(config).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = Raw::connect(broker.port).call(1, &request);
        ErrorCode::from(response.responses[0].error_code)
    };
    assert_eq!(alter(600, 32_000), ErrorCode::PolicyViolation);
    assert_eq!(alter(1, 10), ErrorCode::None);
    // Ten million partitions, asked for in a few bytes.
    let topics: Vec<CreatableTopic> = (0..1000)
        .map(|number| CreatableTopic {
            name: format!("t{number}").into(),
            num_partitions: 10_000,
            replication_factor: -1,
            ..Default::default()
        })
        .collect();
    let request = CreateTopicsRequest {
        topics,
        validate_only: true,
        timeout_ms: 1000,
        ..Default::default()
    };
    let response = Raw::connect(broker.port).call(7, &request);
    let code = ErrorCode::from(response.topics[0].error_code);
    assert_eq!(code, ErrorCode::PolicyViolation);
    serves(&broker);
    assert!(broker.terminate().success());
}

#[test]
fn a_topic_that_is_asked_for_twice_is_created_and_answered_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder, &[]);
    let topic = || MetadataRequestTopic {
        name: Some("twice".into()),
        ..Default::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic(), topic()]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let response = Raw::connect(broker.port).call(12, &request);
    assert_eq!(response.topics.len(), 1);
    assert_eq!(response.topics[0].error_code, 0);
    assert!(broker.terminate().success());
}

#[test]
fn many_large_frames_announced_hold_bounded_memory_and_others_are_served() {
    const CONNECTIONS: usize = 300;
    const ANNOUNCED: i32 = 90 << 20;
    // More than what is read without leave, so that each asks for the memory that it announces.
    const SENT: usize = 40 << 10;

    let folder = tempfile::tempdir().unwrap();
    let broker = started(&folder, &[]);
    serves(&broker);
    let before = broker.resident();
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
    for _ in 0..20 {
        serves(&broker);
    }
    let took = began.elapsed();
    let grown = broker.resident().saturating_sub(before);
    // What was sent may be held, and fourfold at that; what was announced may not.
    let bound = CONNECTIONS * SENT * 4 + (64 << 20);
    assert!(
        grown < bound,
        "{grown} bytes for {CONNECTIONS} connections, expected less than {bound}"
    );
    assert!(took.as_secs() < 10, "others waited {took:?}");
    drop(held);
    serves(&broker);
    assert!(broker.terminate().success());
}
