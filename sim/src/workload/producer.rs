//! A producer: bursts of records, several under way at once, idempotent or not, with any acks.

use std::{sync::Arc, time::Duration};

use ottla_client::{
    ClientConfig,
    producer::{Acks, Delivery, Producer, ProducerBuilder, Record},
};
use ottla_io::{Clock, Spawn};
use ottla_wire::records::Compression;
use tokio::sync::{Semaphore, watch};

use super::payload;
use crate::{
    event::{NodeId, Promise, RecordId, Recorder, TopicPartition, Work},
    io::SimIo,
    random::SimRandom,
};

/// Bursts without an answer.
const OUTSTANDING_MAX: usize = 6;

/// What a producer is told.
#[derive(Clone, Debug)]
pub struct ProducerPlan {
    /// Its number; each life of a node has one of its own.
    pub number: u32,
    /// Where the broker is.
    pub bootstrap: String,
    /// What it produces to.
    pub partitions: Vec<TopicPartition>,
    /// The largest filler of a value.
    pub payload_bytes_max: u64,
    /// The longest rest between bursts.
    pub pause_max: Duration,
    /// What it may expect, which says how it produces.
    pub promise: Promise,
    /// How far a record's time may lie before the clock's, in milliseconds.
    pub late_max_ms: u64,
}

/// A burst of records by a producer of its own.
#[derive(Clone, Debug)]
pub struct Burst {
    /// The producer's number.
    pub producer: u32,
    /// Where to.
    pub partition: TopicPartition,
    /// How many.
    pub records: u64,
}

/// Settings under which a client notices a fault within virtual seconds.
#[must_use]
pub fn impatient(client_id: &str) -> ClientConfig {
    ClientConfig {
        client_id: client_id.to_owned(),
        request_timeout: Duration::from_secs(4),
        connect_timeout: Duration::from_secs(3),
        ..ClientConfig::default()
    }
}

/// Produces until told to stop, then until everything has an answer.
pub async fn produce(
    io: SimIo,
    recorder: Recorder,
    plan: ProducerPlan,
    mut random: SimRandom,
    stop: watch::Receiver<bool>,
) {
    let node = io.process().node();
    let Some(producer) = begin(&io, &recorder, &plan, &mut random) else {
        return;
    };
    let mut sequences = vec![0; plan.partitions.len()];
    let outstanding = Arc::new(Semaphore::new(OUTSTANDING_MAX));
    while !*stop.borrow() {
        let Ok(permit) = Arc::clone(&outstanding).acquire_owned().await else {
            return;
        };
        let mut deliveries = Vec::new();
        for _ in 0..random.within(1..=12) {
            let index = random.index(plan.partitions.len());
            let partition = &plan.partitions[index];
            let record = RecordId {
                producer: plan.number,
                sequence: sequences[index],
            };
            sequences[index] += 1;
            let filler = random.within(0..=plan.payload_bytes_max) as usize;
            let late = random.within(0..=plan.late_max_ms).cast_signed();
            let sent = sent(&io, &recorder, record, partition, filler, late);
            match producer.queue(sent).await {
                Ok(delivery) => deliveries.push((record, partition.clone(), delivery)),
                Err(error) => gave_up(&recorder, node, record, partition, &error.to_string()),
            }
        }
        let recorder = recorder.clone();
        io.spawn_detached(
            "deliveries",
            Box::pin(async move {
                delivered(&recorder, node, deliveries).await;
                drop(permit);
            }),
        );
        let pause = u64::try_from(plan.pause_max.as_micros()).unwrap_or(0);
        io.sleep(random.micros(0..=pause)).await;
    }
    // Everything has an answer once every permit is back.
    let _ = outstanding.acquire_many(OUTSTANDING_MAX as u32).await;
    producer.close().await;
}

/// A client that keeps what `plan` promises, with the rest drawn.
fn begin(
    io: &SimIo,
    recorder: &Recorder,
    plan: &ProducerPlan,
    random: &mut SimRandom,
) -> Option<Producer<SimIo>> {
    let promise = plan.promise;
    let acks = match promise {
        Promise::Once | Promise::Durable => Acks::All,
        Promise::Written => Acks::Leader,
        Promise::Nothing => Acks::None,
    };
    let builder = builder(io, &plan.bootstrap)
        .compression(random.pick(&[
            Compression::None,
            Compression::None,
            Compression::Lz4,
            Compression::Zstd,
            Compression::Gzip,
            Compression::Snappy,
        ]))
        .linger(Duration::from_millis(random.pick(&[0, 5, 30])))
        .acks(acks)
        .idempotent(promise == Promise::Once);
    let node = io.process().node();
    let Ok(producer) = builder.build() else {
        recorder.work(node, Work::Stuck("the producer cannot be built".to_owned()));
        return None;
    };
    let producer_number = plan.number;
    recorder.work(
        node,
        Work::ProducerBegan {
            producer: producer_number,
            promise,
        },
    );
    Some(producer)
}

fn builder(io: &SimIo, bootstrap: &str) -> ProducerBuilder<SimIo> {
    Producer::builder(io.clone(), [bootstrap])
        .client(impatient("producer"))
        .delivery_timeout(Duration::from_secs(150))
        .max_block(Duration::from_secs(150))
}

/// Produces a few records once, idempotently, and waits until all have an answer.
pub async fn burst(
    io: &SimIo,
    recorder: &Recorder,
    bootstrap: &str,
    burst: Burst,
    random: &mut SimRandom,
) {
    let node = io.process().node();
    let Ok(producer) = builder(io, bootstrap).build() else {
        return;
    };
    let mut deliveries = Vec::new();
    for sequence in 0..burst.records {
        let record = RecordId {
            producer: burst.producer,
            sequence,
        };
        let partition = &burst.partition;
        let filler = random.within(0..=500) as usize;
        let sent = sent(io, recorder, record, partition, filler, 0);
        match producer.queue(sent).await {
            Ok(delivery) => deliveries.push((record, partition.clone(), delivery)),
            Err(error) => gave_up(recorder, node, record, partition, &error.to_string()),
        }
    }
    delivered(recorder, node, deliveries).await;
    producer.close().await;
}

/// A record of the workload, told of as sent.
fn sent(
    io: &SimIo,
    recorder: &Recorder,
    record: RecordId,
    partition: &TopicPartition,
    filler: usize,
    late_ms: i64,
) -> Record {
    let timestamp = io.now().wall.0 - late_ms;
    recorder.work(
        io.process().node(),
        Work::Sent {
            record,
            partition: partition.clone(),
            timestamp,
        },
    );
    Record::to(partition.name())
        .partition(partition.partition)
        .timestamp(timestamp)
        .value(payload::encode(record, partition, filler))
}

async fn delivered(
    recorder: &Recorder,
    node: NodeId,
    deliveries: Vec<(RecordId, TopicPartition, Delivery)>,
) {
    for (record, partition, delivery) in deliveries {
        match delivery.await {
            Ok(metadata) => {
                let offset = (metadata.offset >= 0).then_some(metadata.offset);
                recorder.work(
                    node,
                    Work::Acknowledged {
                        record,
                        partition,
                        offset,
                    },
                );
            }
            Err(error) => gave_up(recorder, node, record, &partition, &error.to_string()),
        }
    }
}

fn gave_up(
    recorder: &Recorder,
    node: NodeId,
    record: RecordId,
    partition: &TopicPartition,
    error: &str,
) {
    let (partition, error) = (partition.clone(), error.to_owned());
    recorder.work(
        node,
        Work::GaveUp {
            record,
            partition,
            error,
        },
    );
}
