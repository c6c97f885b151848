//! A small run made by hand: one record that lives to the end, one that is lost, one with a name that
//! would break a page.

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::records::BatchBuilder;

use super::Picture;
use crate::{
    check::{self, History, Violation},
    clock::SimClock,
    event::{
        Aside, Contents, Left, NodeId, RecordId, Recorder, Recording, Survival, TopicPartition,
        What, Work,
    },
    run::Outcome,
    workload::payload,
};

/// The log that the broker writes.
pub(super) const LOG: &str = "/data/t-0/00000000000000000000.log";

pub(super) fn partition() -> TopicPartition {
    TopicPartition {
        topic: "t".into(),
        partition: 0,
    }
}

pub(super) fn record(sequence: u64) -> RecordId {
    RecordId {
        producer: 1,
        sequence,
    }
}

/// A batch of the workload's records, the first at `offset`.
pub(super) fn batch(offset: i64, epoch: i32, sequences: &[u64]) -> Bytes {
    let mut batch = BatchBuilder::new().base_offset(offset).leader_epoch(epoch);
    for sequence in sequences {
        let value = payload::encode(record(*sequence), &partition(), 10);
        batch.push(0, None, Some(&value)).unwrap();
    }
    batch.build()
}

/// The hand-made run: records 0 and 1 are written, record 0 is synced, both are acknowledged, record
/// 0 is read and committed, the power goes and takes record 1, and the log is read to its end.
pub(super) fn recording() -> Recording {
    let runtime = madsim::runtime::Runtime::with_seed_and_config(1, madsim::Config::default());
    runtime.block_on(async {
        let recorder = Recorder::new(SimClock::current(), true);
        let broker = recorder.add_node("broker");
        let producer = recorder.add_node("producer1");
        let reader = recorder.add_node("consumer1</script><script>alert(1)</script>");
        let judge = recorder.add_node("judge");
        record_run(&recorder, [broker, producer, reader, judge]).await;
        std::mem::take(&mut *recorder.lock())
    })
}

async fn record_run(recorder: &Recorder, [broker, producer, reader, judge]: [NodeId; 4]) {
    let partition = partition();
    recorder.record(broker, What::ProcessStarted(0));
    recorder.aside(broker, || Aside::Opened {
        inode: 5,
        path: LOG.to_owned(),
    });
    let (operation, path) = ("open", LOG.to_owned());
    recorder.record(broker, What::DiskName { operation, path });
    recorder.record(broker, What::ProcessReady);
    let mut at = 0;
    let clock = SimClock::current();
    let pause = || clock.sleep(Duration::from_millis(3));
    for sequence in [0, 1] {
        let record = record(sequence);
        let to = partition.clone();
        recorder.work(
            producer,
            Work::Sent {
                record,
                partition: to,
                timestamp: 0,
            },
        );
        pause().await;
        let bytes = batch(sequence as i64, 4, &[sequence]);
        let len = bytes.len() as u64;
        recorder.aside(broker, || Aside::Written {
            inode: 5,
            at,
            bytes,
        });
        let (inode, digest) = (5, 0);
        recorder.record(
            broker,
            What::DiskWrite {
                inode,
                at,
                len,
                digest,
            },
        );
        pause().await;
        if sequence == 0 {
            recorder.record(broker, What::DiskSync { inode, len });
            at = len;
        }
        pause().await;
        let acknowledged = Work::Acknowledged {
            record,
            partition: partition.clone(),
            offset: Some(sequence as i64),
        };
        recorder.work(producer, acknowledged);
    }
    pause().await;
    let contents = Contents::Whole(record(0));
    recorder.work(
        reader,
        Work::Read {
            consumer: 1001,
            partition: partition.clone(),
            offset: 0,
            contents,
        },
    );
    recorder.work(
        reader,
        Work::CommitSent {
            group: "readers".into(),
            consumer: 1001,
            commit: 9,
            partition: partition.clone(),
            offset: 1,
        },
    );
    pause().await;
    recorder.work(reader, Work::CommitAcknowledged { commit: 9 });
    pause().await;
    let left = Left::Nothing;
    recorder.aside(broker, || {
        Aside::Survival(vec![Survival { inode: 5, at, left }])
    });
    let (kept, lost, torn) = (0, 1, 0);
    recorder.record(broker, What::PowerLost { kept, lost, torn });
    clock.sleep(Duration::from_millis(20)).await;
    recorder.work(
        judge,
        Work::Final {
            partition: partition.clone(),
            offset: 0,
            timestamp: 0,
            contents,
        },
    );
    let offset = 1;
    recorder.work(judge, Work::FinalEnd { partition, offset });
}

pub(super) fn violations(recording: &Recording) -> Vec<Violation> {
    check::check(&History::new(recording.work()))
}

/// The page of the run.
pub(super) fn page() -> String {
    let recording = recording();
    let violations = violations(&recording);
    let picture = Picture::new(&recording, &violations, false);
    let outcome = Outcome {
        seed: 1,
        hash: recording.hash().to_string(),
        events: recording.count(),
        acknowledged: 2,
        read: 1,
        violations,
        ..Outcome::default()
    };
    super::page(&picture, &recording, &outcome, "cargo sim replay --seed 1")
}
