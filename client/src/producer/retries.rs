//! What the producer decides when requests and responses are lost, delayed and refused, against a
//! leader that keeps Kafka's rules for sequence numbers and a record of what it wrote.

use std::{collections::BTreeMap, time::Duration};

use futures_util::FutureExt;
use ottla_core::time::Instant;
use ottla_wire::{
    ErrorCode, Str,
    records::{BatchView, Compression, RecordIter},
};
use proptest::prelude::*;

use super::{
    accumulator::{Accumulator, AccumulatorConfig, RecordRef, Sending},
    batch::ProducerIdentity,
    delivery::{Acked, Delivery},
    partition::{Outcome, Rules},
    record::{RecordMetadata, SendError, SendFailure},
};
use crate::{
    error::{BrokerError, RequestError},
    types::TopicPartition,
};

/// What the leader of a partition knows of one producer id.
#[derive(Debug)]
struct Known {
    epoch: i16,
    /// The last five batches: first and last sequence, first offset.
    last: Vec<(i32, i32, i64)>,
    /// It was forgotten, and is taken again only under a newer epoch.
    forgotten: bool,
}

/// The leader of one partition.
#[derive(Debug, Default)]
struct Leader {
    log: Vec<u32>,
    producers: BTreeMap<i64, Known>,
}

impl Leader {
    fn produce(&mut self, sending: &Sending) -> Result<Acked, ErrorCode> {
        let batch = BatchView::new(&sending.bytes).unwrap();
        batch.validate_produced().unwrap();
        let header = *batch.header();
        let (first, count) = (header.base_sequence, header.records_count);
        // Kafka takes a producer that it does not know with any sequence.
        let known = self.producers.entry(header.producer_id).or_insert(Known {
            epoch: header.producer_epoch,
            last: Vec::new(),
            forgotten: false,
        });
        if header.producer_epoch < known.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if header.producer_epoch > known.epoch {
            if first != 0 {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            known.epoch = header.producer_epoch;
            known.last.clear();
            known.forgotten = false;
        }
        if known.forgotten {
            return Err(ErrorCode::UnknownProducerId);
        }
        let last = first + count - 1;
        let acked = |base_offset| Acked {
            base_offset,
            log_append_time: -1,
        };
        if let Some(same) = known.last.iter().find(|k| (k.0, k.1) == (first, last)) {
            return Ok(acked(same.2));
        }
        if known.last.last().is_some_and(|k| k.1 + 1 != first) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        let offset = self.log.len() as i64;
        for record in RecordIter::new(&header, batch.payload()) {
            let value = record.unwrap().value.unwrap();
            self.log
                .push(u32::from_be_bytes(value[..4].try_into().unwrap()));
        }
        known.last.push((first, last, offset));
        if known.last.len() > 5 {
            known.last.remove(0);
        }
        Ok(acked(offset))
    }
}

/// What happens next, drawn by proptest.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append { partition: u8 },
    Work,
    Pass { ms: u32 },
    Arrive { which: u8, fate: Fate },
    GhostArrives { which: u8 },
    Forget { partition: u8 },
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    NotSent,
    RequestLost,
    ResponseLost,
    /// The client gave up on it; it still is on its way to the leader.
    TimedOut,
    RefusedForNow,
    WrittenAndRefused,
    RefusedForGood,
    TooLarge,
    WrittenAndUnreadable,
}

struct Request {
    node: i32,
    sendings: Vec<Sending>,
}

struct World {
    now: Instant,
    accumulator: Accumulator,
    leaders: BTreeMap<TopicPartition, Leader>,
    /// Requests that the client waits for.
    wire: Vec<Request>,
    /// Requests that it does not wait for any more.
    ghosts: Vec<Request>,
    records: Vec<Delivery>,
    next_producer: i64,
    /// Epochs run out soon, which no fence survives.
    last_epochs: bool,
}

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

fn partition(n: u8) -> TopicPartition {
    TopicPartition::new(Str::from_static("t"), i32::from(n % 2))
}

impl World {
    fn new(last_epochs: bool) -> Self {
        let accumulator = Accumulator::new(AccumulatorConfig {
            rules: Rules {
                idempotent: true,
                max_in_flight: 5,
            },
            // Two records of four bytes.
            batch_size: 85,
            max_request_size: 1 << 20,
            linger: Duration::from_millis(5),
            delivery_timeout: DELIVERY_TIMEOUT,
            compression: Compression::None,
        });
        Self {
            now: Instant(1),
            accumulator,
            leaders: (0..2).map(|n| (partition(n), Leader::default())).collect(),
            wire: Vec::new(),
            ghosts: Vec::new(),
            records: Vec::new(),
            next_producer: 100,
            last_epochs,
        }
    }

    fn append(&mut self, to: u8) {
        let id = self.records.len() as u32;
        let value = id.to_be_bytes();
        let record = RecordRef {
            timestamp: 5,
            key: None,
            value: Some(&value),
            headers: &[],
        };
        let appended = self
            .accumulator
            .append(&partition(to), record, 40, self.now);
        self.records.push(appended.unwrap().0);
    }

    /// Gives the time at which there is more to do.
    fn work(&mut self) -> Option<Instant> {
        let leader = |p: &TopicPartition| Some(1 + p.partition % 2);
        let work = self.accumulator.work(self.now, leader);
        for (node, sendings) in work.requests {
            self.wire.push(Request { node, sendings });
        }
        if work.needs_identity {
            let epoch = if self.last_epochs { i16::MAX - 1 } else { 0 };
            self.accumulator.set_identity(ProducerIdentity {
                id: self.next_producer,
                epoch,
            });
            self.next_producer += 1;
            return Some(self.now);
        }
        work.next_at
    }

    fn arrive(&mut self, which: u8, fate: Fate) {
        if self.wire.is_empty() {
            return;
        }
        let request = self.wire.remove(usize::from(which) % self.wire.len());
        let mut outcomes = Vec::new();
        for sending in &request.sendings {
            let leader = self.leaders.get_mut(&sending.partition).unwrap();
            let outcome = outcome(leader, sending, fate);
            outcomes.push((sending.partition.clone(), sending.number, outcome));
        }
        self.accumulator.request_done(request.node);
        for (partition, number, outcome) in outcomes {
            let wait = |_| Duration::from_millis(100);
            self.accumulator
                .on_outcome(&partition, number, outcome, self.now, wait);
        }
        if matches!(fate, Fate::TimedOut) && !self.last_epochs {
            self.ghosts.push(request);
        }
    }

    fn ghost_arrives(&mut self, which: u8) {
        if self.ghosts.is_empty() {
            return;
        }
        let ghost = self.ghosts.remove(usize::from(which) % self.ghosts.len());
        for sending in &ghost.sendings {
            // Nobody waits for the answer.
            let _ = self
                .leaders
                .get_mut(&sending.partition)
                .unwrap()
                .produce(sending);
        }
    }

    /// A leader forgets its producers. If it had written what nobody knows of yet, no client could
    /// keep that from being written twice; so it does that only when it has not.
    fn forget(&mut self, of: u8) {
        let leader = self.leaders.get_mut(&partition(of)).unwrap();
        let records = &mut self.records;
        let open = |id: &u32| (&mut records[*id as usize]).now_or_never().is_none();
        if !leader.log.iter().any(open) {
            leader
                .producers
                .values_mut()
                .for_each(|known| known.forgotten = true);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append { partition } => self.append(partition),
            Step::Work => {
                self.work();
            }
            Step::Pass { ms } => {
                self.now = self.now.after(Duration::from_millis(u64::from(ms)));
            }
            Step::Arrive { which, fate } => self.arrive(which, fate),
            Step::GhostArrives { which } => self.ghost_arrives(which),
            Step::Forget { partition } => self.forget(partition),
        }
    }

    /// From now on nothing goes wrong.
    fn finish(&mut self) {
        while !self.ghosts.is_empty() {
            self.ghost_arrives(0);
        }
        let flushed = self.accumulator.begin_flush();
        for _ in 0..10_000 {
            let next = self.work();
            if !self.wire.is_empty() {
                self.arrive(0, Fate::Answered);
            } else if self.accumulator.is_empty() {
                break;
            } else {
                let next = next.expect("what waits for nothing hangs");
                self.now = self.now.max(next);
            }
        }
        assert!(
            self.accumulator.is_empty(),
            "it hangs: {:?}",
            self.accumulator
        );
        for completion in flushed {
            assert!(completion.wait().now_or_never().is_some());
        }
    }

    fn results(&mut self) -> Vec<(TopicPartition, Result<RecordMetadata, SendError>)> {
        let all = self.records.iter_mut();
        all.map(|d| (d.partition().clone(), d.now_or_never().expect("settled")))
            .collect()
    }

    fn check(&mut self) {
        for (id, (partition, result)) in self.results().into_iter().enumerate() {
            let log = &self.leaders[&partition].log;
            let written = log.iter().filter(|w| **w == id as u32).count();
            match result {
                Ok(metadata) => {
                    assert_eq!(written, 1, "record {id} was acknowledged");
                    let at = usize::try_from(metadata.offset).unwrap();
                    assert_eq!(log[at], id as u32, "record {id} has another offset");
                }
                Err(error) if error.may_be_written => {
                    assert!(written <= 1, "record {id} was written {written} times");
                }
                Err(error) => assert_eq!(written, 0, "record {id}: {error}"),
            }
        }
        for leader in self.leaders.values() {
            assert!(leader.log.is_sorted(), "out of order: {:?}", leader.log);
        }
    }
}

fn outcome(leader: &mut Leader, sending: &Sending, fate: Fate) -> Outcome {
    let refused = |code| Outcome::Refused(BrokerError::new(code));
    let failed = |error: RequestError| Outcome::Failed {
        may_be_written: error.may_have_been_done(),
        retry: error.is_retriable(),
        reason: SendFailure::Request(error),
    };
    let answered = |answer: Result<Acked, ErrorCode>| match answer {
        Ok(acked) => Outcome::Acked(acked),
        Err(code) => refused(code),
    };
    match fate {
        Fate::Answered => answered(leader.produce(sending)),
        Fate::NotSent => failed(RequestError::NotSent),
        Fate::RequestLost => failed(RequestError::Lost),
        Fate::ResponseLost => {
            let _ = leader.produce(sending);
            failed(RequestError::Lost)
        }
        Fate::TimedOut => failed(RequestError::TimedOut {
            api: ottla_wire::messages::ApiKey::Produce,
            timeout: Duration::from_secs(30),
        }),
        Fate::RefusedForNow => refused(ErrorCode::NotEnoughReplicas),
        Fate::WrittenAndRefused => match leader.produce(sending) {
            Ok(_) => refused(ErrorCode::NotEnoughReplicasAfterAppend),
            Err(code) => refused(code),
        },
        Fate::RefusedForGood => refused(ErrorCode::InvalidRecord),
        Fate::TooLarge => refused(ErrorCode::MessageTooLarge),
        Fate::WrittenAndUnreadable => {
            let _ = leader.produce(sending);
            Outcome::Failed {
                reason: SendFailure::Closed,
                may_be_written: true,
                retry: false,
            }
        }
    }
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::NotSent),
        1 => Just(Fate::RequestLost),
        2 => Just(Fate::ResponseLost),
        1 => Just(Fate::TimedOut),
        1 => Just(Fate::RefusedForNow),
        1 => Just(Fate::WrittenAndRefused),
        1 => Just(Fate::RefusedForGood),
        1 => Just(Fate::TooLarge),
        1 => Just(Fate::WrittenAndUnreadable),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..2u8).prop_map(|partition| Step::Append { partition }),
        6 => Just(Step::Work),
        3 => prop_oneof![4 => 1..300u32, 1 => 10_000..130_000u32].prop_map(|ms| Step::Pass { ms }),
        8 => (0..8u8, fates()).prop_map(|(which, fate)| Step::Arrive { which, fate }),
        1 => any::<u8>().prop_map(|which| Step::GhostArrives { which }),
        1 => (0..2u8).prop_map(|partition| Step::Forget { partition }),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn records_are_written_once_in_order_and_failures_tell_the_truth(
        steps in steps(),
        last_epochs in prop::bool::weighted(0.1),
    ) {
        let mut world = World::new(last_epochs);
        for step in steps {
            world.step(step);
        }
        world.finish();
        world.check();
    }
}

#[test]
fn a_batch_out_of_order_behind_a_gap_is_failed_while_requests_given_up_may_still_arrive() {
    let mut world = World::new(false);
    let append = |world: &mut World| {
        world.append(0);
        world.now = world.now.after(Duration::from_secs(1));
    };
    append(&mut world);
    world.work();
    world.work();
    world.arrive(0, Fate::Answered);
    // Two batches on their way, which the client gives up waiting for and the leader gets much later.
    append(&mut world);
    world.work();
    append(&mut world);
    world.work();
    world.arrive(0, Fate::TimedOut);
    world.arrive(0, Fate::TimedOut);
    assert_eq!(world.ghosts.len(), 2);
    // The first is too old; the second is tried again, and is out of order still.
    world.now = Instant(1)
        .after(DELIVERY_TIMEOUT)
        .after(Duration::from_millis(1_500));
    world.append(0);
    world.work();
    world.arrive(0, Fate::Answered);
    world.finish();
    let results = world.results();
    let failed = |n: usize| results[n].1.as_ref().is_err_and(|e| e.may_be_written);
    assert!(failed(1) && failed(2), "{results:?}");
    assert!(results[3].1.is_ok(), "{results:?}");
    world.check();
}
