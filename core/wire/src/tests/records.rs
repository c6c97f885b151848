//! Batches come back as they were built, and no damage to one goes unseen.

use alloc::vec;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::raft::{VotersRecord, voters_record};
use crate::records::*;
use crate::transaction::EndTxnMarker;

#[derive(Clone, Debug, PartialEq)]
struct Plain {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn some_bytes(max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..max))
}

fn plain_records() -> impl Strategy<Value = Vec<Plain>> {
    let header = ("[a-c]{0,3}".prop_map(String::into_bytes), some_bytes(5));
    let headers = proptest::collection::vec(header, 0..4);
    let one = (
        1..3i64,
        0..i64::from(u32::MAX),
        some_bytes(20),
        some_bytes(200),
        headers,
    );
    proptest::collection::vec(one, 1..20).prop_map(|all| {
        let mut offset = 99;
        let record = |(step, timestamp, key, value, headers)| {
            offset += step;
            Plain {
                offset,
                timestamp,
                key,
                value,
                headers,
            }
        };
        all.into_iter().map(record).collect()
    })
}

use alloc::string::String;

fn build(records: &[Plain]) -> BatchBuilder {
    let mut builder = BatchBuilder::new()
        .base_offset(100)
        .leader_epoch(3)
        .producer(9, 1, 7)
        .transactional(true);
    for r in records {
        let headers: Vec<_> = r
            .headers
            .iter()
            .map(|(key, value)| RecordHeader {
                key,
                value: value.as_deref(),
            })
            .collect();
        let bound = builder.size_with(r.key.as_deref(), r.value.as_deref(), &headers);
        builder
            .push_at(
                r.offset,
                r.timestamp,
                r.key.as_deref(),
                r.value.as_deref(),
                &headers,
            )
            .unwrap();
        assert!(builder.size() <= bound);
    }
    builder
}

fn read(header: &BatchHeader, payload: &[u8]) -> Result<Vec<Plain>, RecordError> {
    RecordIter::new(header, payload)
        .map(|record| {
            let r = record?;
            let headers = r
                .headers
                .iter()
                .map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec)))
                .collect();
            let (key, value) = (r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec));
            Ok(Plain {
                offset: r.offset,
                timestamp: r.timestamp,
                key,
                value,
                headers,
            })
        })
        .collect()
}

proptest! {
    #[test]
    fn a_batch_comes_back(records in plain_records()) {
        let built = build(&records);
        let size = built.size();
        let batch = BatchView::new(&built.build()).unwrap();
        batch.validate().unwrap();
        prop_assert_eq!(batch.size(), size);
        prop_assert_eq!(batch.last_offset(), records.last().unwrap().offset);
        prop_assert_eq!(batch.header().max_timestamp, records.iter().map(|r| r.timestamp).max().unwrap());
        prop_assert_eq!(read(batch.header(), batch.payload()), Ok(records));
    }

    #[test]
    fn any_flipped_bit_is_seen(records in plain_records(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut bytes = build(&records).build().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        // Neither the base offset nor the leader's epoch is under the checksum: a leader writes them.
        let stamped = at < 8 || (12..16).contains(&at);
        let outcome = batches_in(&bytes).try_for_each(|batch| batch?.check_crc());
        prop_assert_eq!(outcome.is_ok(), stamped);
    }

    #[test]
    fn any_cut_is_a_torn_end(records in plain_records(), at in any::<prop::sample::Index>()) {
        let whole = build(&records).build();
        let mut both = whole.to_vec();
        both.extend_from_slice(&whole[..at.index(whole.len() - 1) + 1]);
        if both.len() == 2 * whole.len() {
            return Ok(());
        }
        let mut split = batches(Bytes::from(both));
        prop_assert!(split.next().unwrap().is_ok());
        let torn = split.next().unwrap();
        let is_torn = matches!(torn, Err(BatchError::TooShort { position, .. }) if position == whole.len());
        prop_assert!(is_torn, "{:?}", torn);
        prop_assert_eq!(split.next(), None);
        prop_assert_eq!(split.position(), whole.len());
    }

    #[test]
    fn arbitrary_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200), count in 0..20) {
        let header = BatchHeader { records_count: count, last_offset_delta: 20, ..header() };
        let _ = read(&header, &payload);
        let _ = RecordIter::new(&header, &payload).consecutive().count();
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_splitter(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        let _ = batches_in(&bytes).count();
        if let Some(magic) = bytes.get_mut(16) {
            *magic = 2;
        }
        for batch in batches(Bytes::from(bytes)) {
            let _ = batch.map(|batch| (batch.validate(), batch.validate_produced()));
        }
    }
}

fn header() -> BatchHeader {
    *BatchView::new(&BatchBuilder::new().build())
        .unwrap()
        .header()
}

/// What Kafka 4.3's own `MemoryRecords` makes of the same record.
#[test]
fn a_batch_has_kafkas_bytes() {
    let mut builder = BatchBuilder::new()
        .base_offset(5)
        .leader_epoch(2)
        .producer(7, 1, 3);
    let headers = [
        RecordHeader {
            key: b"h",
            value: None,
        },
        RecordHeader {
            key: b"h",
            value: Some(b"2"),
        },
    ];
    builder
        .push_at(5, 1000, Some(b"k"), Some(b"v"), &headers)
        .unwrap();
    builder.push_at(6, 1010, None, None, &[]).unwrap();
    let bytes = builder.build();
    let hex: String = bytes.iter().map(|b| alloc::format!("{b:02x}")).collect();
    assert_eq!(hex, GOLDEN_BATCH);
}

const GOLDEN_BATCH: &str = "\
    0000000000000005000000480000000202a45d3c0000000000000100000000000003e800000000000003f20000\
    000000000007000100000003000000021e000000026b027604026801026802320c001402010100";

#[test]
fn old_formats_are_told_from_nonsense() {
    let mut bytes = [0u8; 80];
    for magic in [0u8, 1] {
        bytes[16] = magic;
        let old = BatchError::OldMagic {
            position: 0,
            magic: magic as i8,
        };
        assert_eq!(batches_in(&bytes).next().unwrap().unwrap_err(), old);
    }
    bytes[16] = 3;
    let bad = BatchError::BadMagic {
        position: 0,
        magic: 3,
    };
    assert_eq!(batches_in(&bytes).collect::<Vec<_>>(), vec![Err(bad)]);
    bytes[16] = 2;
    let short = BatchError::BadLength {
        position: 0,
        length: 0,
    };
    assert_eq!(batches_in(&bytes).next().unwrap().unwrap_err(), short);
    let torn = BatchError::TooShort {
        position: 0,
        needed: HEADER_LEN,
        remaining: 10,
    };
    assert_eq!(batches_in(&bytes[..10]).next().unwrap().unwrap_err(), torn);
}

#[test]
fn a_stamp_leaves_the_checksum_valid() {
    let mut builder = BatchBuilder::new();
    builder.push(10, None, Some(b"v")).unwrap();
    let built = builder.build();

    let [head, tail] = BatchView::new(&built).unwrap().stamped(1 << 33, 12);
    let mut bytes = BytesMut::from(&head[..]);
    bytes.extend_from_slice(&tail);
    let mut in_place = built.to_vec();
    stamp(&mut in_place, 1 << 33, 12);
    assert_eq!(in_place, bytes);

    stamp_timestamp(&mut in_place, TimestampType::LogAppendTime, 999);
    let batch = BatchView::new(&Bytes::from(in_place)).unwrap();
    batch.validate_produced().unwrap();
    assert_eq!(
        (batch.base_offset(), batch.header().partition_leader_epoch),
        (1 << 33, 12)
    );
    let records = read(batch.header(), batch.payload()).unwrap();
    assert_eq!((records[0].offset, records[0].timestamp), (1 << 33, 999));
}

#[test]
fn what_a_producer_must_not_send_is_refused() {
    let with_one = |builder: BatchBuilder| {
        let mut builder = builder;
        builder.push(1, None, Some(b"v")).unwrap();
        BatchView::new(&builder.build())
            .unwrap()
            .validate_produced()
    };
    assert_eq!(with_one(BatchBuilder::new()), Ok(()));
    assert_eq!(
        with_one(BatchBuilder::new().producer(1, 0, 0).transactional(true)),
        Ok(())
    );
    assert_eq!(
        with_one(BatchBuilder::new().control(true)),
        Err(BatchError::Control { position: 0 })
    );
    assert!(matches!(
        with_one(BatchBuilder::new().transactional(true)),
        Err(BatchError::BadProducer { .. })
    ));
    assert!(matches!(
        with_one(BatchBuilder::new().producer(1, 0, -1)),
        Err(BatchError::BadProducer { .. })
    ));
    let empty = BatchView::new(&BatchBuilder::new().build()).unwrap();
    assert!(matches!(
        empty.validate_produced(),
        Err(BatchError::BadCount { count: 0, .. })
    ));
    assert_eq!(empty.validate(), Ok(()));
}

#[test]
fn the_count_and_the_offsets_of_records_are_checked() {
    let mut builder = BatchBuilder::new();
    builder.push_at(0, 1, None, None, &[]).unwrap();
    builder.push_at(2, 1, None, None, &[]).unwrap();
    let batch = BatchView::new(&builder.build()).unwrap();
    let gap = RecordError::OffsetDelta {
        position: 10,
        got: 2,
        least: 1,
        most: 1,
    };
    let consecutive = RecordIter::new(batch.header(), batch.payload()).consecutive();
    assert_eq!(consecutive.last(), Some(Err(gap)));
    let one = BatchHeader {
        records_count: 1,
        ..*batch.header()
    };
    let trailing = RecordError::Trailing {
        position: 7,
        remaining: 7,
    };
    assert_eq!(read(&one, batch.payload()), Err(trailing));
    let three = BatchHeader {
        records_count: 3,
        ..*batch.header()
    };
    assert!(matches!(
        read(&three, batch.payload()),
        Err(RecordError::Short { position: 14, .. })
    ));
    let backwards = BatchHeader {
        last_offset_delta: 1,
        ..*batch.header()
    };
    assert!(matches!(
        read(&backwards, batch.payload()),
        Err(RecordError::OffsetDelta {
            got: 2,
            most: 1,
            ..
        })
    ));
}

#[test]
fn compaction_keeps_offsets_and_timestamps() {
    let mut builder = BatchBuilder::new().base_offset(50).producer(3, 0, 8);
    for i in 0..4 {
        builder.push(100 + i, Some(b"k"), None).unwrap();
    }
    let old = BatchView::new(&builder.build()).unwrap();
    let mut kept = BatchBuilder::like(old.header()).delete_horizon(777);
    kept.push_at(52, 102, Some(b"k"), None, &[]).unwrap();
    let new = BatchView::new(&kept.build()).unwrap();
    new.validate().unwrap();
    assert_eq!(
        (
            new.base_offset(),
            new.last_offset(),
            new.header().last_sequence()
        ),
        (50, 53, 11)
    );
    assert_eq!(new.header().delete_horizon(), Some(777));
    let records = read(new.header(), new.payload()).unwrap();
    assert_eq!((records[0].offset, records[0].timestamp), (52, 102));
}

#[test]
fn control_records_come_back_and_unknown_ones_are_skipped() {
    let all = [
        ControlRecord::Abort(EndTxnMarker {
            coordinator_epoch: 5,
        }),
        ControlRecord::Commit(EndTxnMarker {
            coordinator_epoch: -1,
        }),
        ControlRecord::LeaderChange(Default::default()),
        ControlRecord::SnapshotHeader(Default::default()),
        ControlRecord::SnapshotFooter(Default::default()),
        ControlRecord::KRaftVersion(Default::default()),
        ControlRecord::KRaftVoters(VotersRecord {
            voters: vec![voters_record::Voter {
                voter_id: 3,
                ..Default::default()
            }],
            ..Default::default()
        }),
    ];
    let mut builder = BatchBuilder::new();
    for record in &all {
        builder.push_control(1, record).unwrap();
    }
    let batch = BatchView::new(&builder.build()).unwrap();
    assert!(batch.header().attributes.is_control());
    let payload = batch.shared_payload();
    let back: Vec<_> = RecordIter::new(batch.header(), &payload)
        .map(|record| {
            let (key, value) = record.unwrap().shared(&payload);
            ControlRecord::decode(&key.unwrap(), value.unwrap())
                .unwrap()
                .unwrap()
        })
        .collect();
    assert_eq!(back, all);
    assert_eq!(
        ControlRecord::decode(&[0, 0, 0, 99], Bytes::new()),
        Ok(None)
    );
    assert_eq!(
        ControlRecord::decode(&[0], Bytes::new()),
        Err(ControlError::ShortKey { length: 1 })
    );
}

#[cfg(feature = "compression")]
mod compressed {
    use super::*;
    use crate::records::compression::{CompressionError, compress, decompress};

    proptest! {
        #[test]
        fn a_compressed_batch_comes_back(records in plain_records()) {
            for codec in Compression::ALL {
                let bytes = build(&records).build_compressed(codec, None).unwrap();
                let batch = BatchView::new(&bytes).unwrap();
                batch.validate().unwrap();
                prop_assert_eq!(batch.compression(), Ok(codec));
                let payload = batch.records(1 << 20).unwrap();
                let back = read(batch.header(), &payload);
                prop_assert_eq!(back.as_ref(), Ok(&records));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_a_codec(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            for codec in Compression::ALL {
                let _ = decompress(codec, &bytes, 1 << 16);
                let mut valid = compress(codec, None, &bytes).unwrap();
                let middle = valid.len() / 2;
                if let Some(byte) = valid.get_mut(middle) {
                    *byte ^= 0x55;
                }
                let _ = decompress(codec, &valid, 1 << 16);
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_bound() {
        let zeros = vec![0; 1 << 20];
        for codec in Compression::ALL {
            let bomb = compress(codec, None, &zeros).unwrap();
            assert_eq!(decompress(codec, &bomb, 1 << 20).unwrap(), zeros, "{codec}");
            let stopped = decompress(codec, &bomb, (1 << 20) - 1);
            assert!(
                matches!(stopped, Err(CompressionError::TooLarge { .. })),
                "{codec}: {stopped:?}"
            );
        }
    }

    /// Kafka 4.3's own `MemoryRecords` wrote these, one with each codec.
    #[test]
    fn batches_that_kafka_compressed_are_read() {
        let written: [&[u8]; 5] = [
            include_bytes!("../../../fuzz/corpus/record_batch/kafka-none"),
            include_bytes!("../../../fuzz/corpus/record_batch/kafka-gzip"),
            include_bytes!("../../../fuzz/corpus/record_batch/kafka-snappy"),
            include_bytes!("../../../fuzz/corpus/record_batch/kafka-lz4"),
            include_bytes!("../../../fuzz/corpus/record_batch/kafka-zstd"),
        ];
        for (bytes, codec) in written.into_iter().zip(Compression::ALL) {
            let batch = BatchView::new(&Bytes::from_static(bytes)).unwrap();
            batch.validate_produced().unwrap();
            assert_eq!(batch.compression(), Ok(codec));
            let payload = batch.records(1 << 16).unwrap();
            let records = RecordIter::new(batch.header(), &payload).consecutive();
            let values: Vec<_> = records
                .map(|record| record.unwrap().value.unwrap())
                .collect();
            assert_eq!(values.len(), 40);
            assert_eq!(values[39], b"a value of record 39");
        }
    }

    #[test]
    fn a_raw_snappy_block_is_read_too() {
        let raw = snap::raw::Encoder::new()
            .compress_vec(b"as librdkafka and Go clients write it")
            .unwrap();
        assert_eq!(
            decompress(Compression::Snappy, &raw, 100).unwrap(),
            b"as librdkafka and Go clients write it"
        );
        // A few bytes that claim a gigabyte.
        let claim = [0x80, 0x80, 0x80, 0x80, 0x04, 0];
        assert!(matches!(
            decompress(Compression::Snappy, &claim, 1 << 31),
            Err(CompressionError::Corrupt { .. })
        ));
    }
}
