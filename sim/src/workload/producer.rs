//! An idempotent producer with acks=all: bursts of records, several under way at once.

use std::{sync::Arc, time::Duration};

use ottla_client::{
    ClientConfig,
    producer::{Producer, Record},
};
use ottla_io::{Clock, Spawn};
use ottla_wire::records::Compression;
use tokio::sync::{Semaphore, watch};

use super::payload;
use crate::{
    event::{NodeId, RecordId, Recorder, TopicPartition, Work},
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
    let producer = Producer::builder(io.clone(), [&plan.bootstrap])
        .client(impatient("producer"))
        .compression(random.pick(&[
            Compression::None,
            Compression::None,
            Compression::Lz4,
            Compression::Zstd,
            Compression::Gzip,
            Compression::Snappy,
        ]))
        .linger(Duration::from_millis(random.pick(&[0, 5, 30])))
        .delivery_timeout(Duration::from_secs(150))
        .max_block(Duration::from_secs(150))
        .build();
    let Ok(producer) = producer else {
        recorder.work(node, Work::Stuck("the producer cannot be built".to_owned()));
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
            let value = payload::encode(record, partition, filler);
            let sent = Record::to(&*partition.topic)
                .partition(partition.partition)
                .value(value);
            recorder.work(
                node,
                Work::Sent {
                    record,
                    partition: partition.clone(),
                },
            );
            match producer.queue(sent).await {
                Ok(delivery) => deliveries.push((record, partition.clone(), delivery)),
                Err(error) => gave_up(&recorder, node, record, partition, &error.to_string()),
            }
        }
        let recorder = recorder.clone();
        io.spawn_detached(
            "deliveries",
            Box::pin(async move {
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
                        Err(error) => {
                            gave_up(&recorder, node, record, &partition, &error.to_string());
                        }
                    }
                }
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
