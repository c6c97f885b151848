//! Random histories against a plain list of batches.

use alloc::{format, vec, vec::Vec};

use proptest::prelude::*;

use super::{
    TestBatch,
    fixture::{Fixture, header, small_config},
};
use crate::{batch::Origin, time::Timestamp};

#[derive(Clone, Debug)]
enum Op {
    Append {
        count: i32,
        filler: usize,
        time: i64,
    },
    Produce {
        producer: i64,
        count: i32,
        transactional: bool,
        repeat: bool,
    },
    Marker {
        producer: i64,
        commit: bool,
    },
    NewEpoch,
    Write,
    Fail {
        performed: usize,
    },
    Read {
        from: i64,
        max_bytes: usize,
    },
    Truncate {
        back: i64,
    },
    Retain {
        bytes: u64,
    },
    DeleteRecords {
        share: i64,
    },
    Restart,
    LosePower {
        seed: u64,
        sync: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..5i32, 0..200usize, 0..1000i64).prop_map(|(count, filler, time)| Op::Append { count, filler, time }),
        8 => (0..4i64, 1..4i32, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(producer, count, transactional, repeat)| Op::Produce { producer, count, transactional, repeat }),
        4 => (0..4i64, any::<bool>()).prop_map(|(producer, commit)| Op::Marker { producer, commit }),
        1 => Just(Op::NewEpoch),
        8 => Just(Op::Write),
        3 => (0..20usize).prop_map(|performed| Op::Fail { performed }),
        6 => (0..200i64, 0..900usize).prop_map(|(from, max_bytes)| Op::Read { from, max_bytes }),
        2 => (0..40i64).prop_map(|back| Op::Truncate { back }),
        1 => (0..3000u64).prop_map(|bytes| Op::Retain { bytes }),
        1 => (0..100i64).prop_map(|share| Op::DeleteRecords { share }),
        2 => Just(Op::Restart),
        3 => (any::<u64>(), any::<bool>()).prop_map(|(seed, sync)| Op::LosePower { seed, sync }),
    ]
}

struct Run {
    fixture: Fixture,
    epoch: i32,
    /// The next sequence number and whether a transaction is open, as the producers know.
    recovery_point: i64,
    /// Bytes and producers before what is not yet written.
    written: (usize, alloc::string::String, super::disk::Disk),
}

impl Run {
    fn new() -> Self {
        let fixture = Fixture::new(small_config());
        let written = (0, format!("{:?}", fixture.log), fixture.disk.clone());
        Self {
            fixture,
            epoch: 0,
            recovery_point: 0,
            written,
        }
    }

    fn produce(&mut self, producer: i64, count: i32, transactional: bool, repeat: bool) {
        let entry = self.fixture.log.producers().get(producer).copied();
        let open = entry.is_some_and(|entry| entry.current_txn_first_offset.is_some());
        let mut batch = TestBatch {
            count,
            timestamp: self.fixture.now.0,
            attributes: if transactional || open { 0x10 } else { 0 },
            producer: (
                producer,
                0,
                entry.map_or(0, |entry| entry.last_sequence() + 1),
            ),
            ..TestBatch::default()
        };
        if let Some(last) = entry
            .and_then(|entry| entry.last_batch().copied())
            .filter(|_| repeat)
        {
            batch.producer.2 = last.first_sequence();
            batch.count = last.offset_delta + 1;
            let end = self.fixture.log.log_end();
            let appended = self
                .fixture
                .append(batch, self.epoch, Origin::Client)
                .unwrap();
            assert!(appended.duplicate);
            assert_eq!(
                (appended.last_offset, self.fixture.log.log_end()),
                (last.last_offset, end)
            );
            return;
        }
        assert!(
            !self
                .fixture
                .append(batch, self.epoch, Origin::Client)
                .unwrap()
                .duplicate
        );
        let gap = TestBatch {
            producer: (producer, 0, batch.producer.2 + count + 1),
            ..batch
        };
        let (end, pushed) = (self.fixture.log.log_end(), self.fixture.pending.len());
        self.fixture
            .append(gap, self.epoch, Origin::Client)
            .unwrap_err();
        assert_eq!(
            (self.fixture.log.log_end(), self.fixture.pending.len()),
            (end, pushed)
        );
    }

    fn mark_written(&mut self) {
        self.fixture.write();
        self.fixture.check();
        self.written = (
            self.fixture.model.len(),
            format!("{:?}", self.fixture.log),
            self.fixture.disk.clone(),
        );
    }

    fn lose_power(&mut self, seed: u64, sync: bool) {
        self.mark_written();
        if sync {
            self.fixture.sync();
            self.recovery_point = self.fixture.log.log_end();
        }
        let durable = self.recovery_point;
        let mut state = seed;
        self.fixture.disk.lose_power(|below| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        });
        let log_start = self.fixture.log.log_start();
        let recovered = self.fixture.recover(durable, log_start, false).unwrap();
        let end = recovered.log.log_end();
        assert!(
            end >= durable,
            "the log ends at {end}, {durable} was durable: {:?}",
            recovered.cut
        );
        self.fixture.log = recovered.log;
        self.fixture
            .model
            .retain(|batch| header(batch).last_offset() < end);
        self.recovery_point = end;
        self.mark_written();
    }

    fn step(&mut self, op: Op) {
        let fixture = &mut self.fixture;
        fixture.now.0 += 10;
        match op {
            Op::Append {
                count,
                filler,
                time,
            } => {
                let timestamp = fixture.now.0 - time;
                let batch = TestBatch {
                    count,
                    filler,
                    timestamp,
                    ..TestBatch::default()
                };
                _ = fixture.append(batch, self.epoch, Origin::Client);
            }
            Op::Produce {
                producer,
                count,
                transactional,
                repeat,
            } => {
                self.produce(producer, count, transactional, repeat);
            }
            Op::Marker { producer, commit } => {
                let timestamp = fixture.now.0;
                let producer = (producer, 0, -1);
                let batch = TestBatch {
                    timestamp,
                    producer,
                    marker: Some((commit, 3)),
                    ..TestBatch::default()
                };
                fixture
                    .append(batch, self.epoch, Origin::Coordinator)
                    .unwrap();
            }
            Op::NewEpoch => self.epoch += 1,
            Op::Write => self.mark_written(),
            Op::Fail { performed } => {
                for effect in fixture.pending.iter().take(performed) {
                    fixture.disk.perform(effect);
                }
                fixture.pending.clear();
                let mut out = Vec::new();
                fixture.log.undo_unwritten(&mut out);
                out.iter().for_each(|effect| fixture.disk.perform(effect));
                fixture.model.truncate(self.written.0);
                assert_eq!(format!("{:?}", fixture.log), self.written.1);
                self.fixture.check();
            }
            Op::Read { from, max_bytes } => {
                self.mark_written();
                self.fixture.check_reads(from, max_bytes);
            }
            Op::Truncate { back } => {
                self.mark_written();
                // Replicas part where a batch ends.
                let (start, wanted) = (
                    self.fixture.log.log_start(),
                    self.fixture.log.log_end() - back,
                );
                let mut bases = self
                    .fixture
                    .model
                    .iter()
                    .map(|batch| header(batch).base_offset);
                let Some(offset) = bases.find(|&base| base >= wanted && base >= start) else {
                    return;
                };
                self.recovery_point = self.recovery_point.min(offset);
                self.fixture.truncate(offset);
                self.mark_written();
            }
            Op::Retain { bytes } => {
                self.mark_written();
                self.fixture.sync();
                self.recovery_point = self.fixture.log.log_end();
                let fixture = &mut self.fixture;
                let mut config = small_config();
                config.retention_bytes = Some(bytes);
                fixture.log.set_config(config);
                let (end, pending) = (fixture.log.log_end(), &mut fixture.pending);
                fixture.log.retain(fixture.now, end, pending);
                fixture.log.set_config(small_config());
                let first = fixture.log.segments().next().unwrap().base_offset();
                let (gone, kept) = fixture
                    .model
                    .drain(..)
                    .partition(|batch| header(batch).last_offset() < first);
                fixture.gone.extend::<Vec<_>>(gone);
                fixture.model = kept;
                self.mark_written();
            }
            Op::DeleteRecords { share } => {
                self.mark_written();
                // Only what lies below the high watermark goes, and that is durable.
                self.fixture.sync();
                self.recovery_point = self.fixture.log.log_end();
                let fixture = &mut self.fixture;
                let (start, end) = (fixture.log.log_start(), fixture.log.log_end());
                let offset = start + (end - start) * share / 100;
                fixture
                    .log
                    .advance_log_start(offset, end, &mut fixture.pending)
                    .unwrap();
                self.mark_written();
            }
            Op::Restart => {
                self.mark_written();
                let fixture = &mut self.fixture;
                fixture.log.close(&mut fixture.pending);
                self.mark_written();
                let (start, end) = (self.fixture.log.log_start(), self.fixture.log.log_end());
                let recovered = self.fixture.recover(end, start, true).unwrap();
                assert_eq!(
                    (recovered.log.log_end(), recovered.log.log_start()),
                    (end, start)
                );
                assert_eq!((recovered.cut, recovered.indexes_rebuilt), (None, 0));
                self.fixture.log = recovered.log;
                self.recovery_point = end;
                self.mark_written();
            }
            Op::LosePower { seed, sync } => self.lose_power(seed, sync),
        }
        let _ = Timestamp::NONE;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_was_appended_through_rolls_failures_truncations_and_crashes(ops in prop::collection::vec(op(), 1..60)) {
        let mut run = Run::new();
        for op in ops {
            run.step(op);
        }
    }
}
