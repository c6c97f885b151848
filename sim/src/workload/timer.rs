//! A reader that looks for offsets by time (ListOffsets), of now and of a while ago.

use std::time::Duration;

use ottla_io::Clock;
use tokio::sync::watch;

use super::raw::{LATEST, RawClient};
use crate::{
    event::{Recorder, TopicPartition, Work},
    io::SimIo,
    random::SimRandom,
};

/// How far back it looks.
const BACK_MAX_MS: u64 = 25_000;

/// Looks until told to stop.
pub async fn look(
    io: SimIo,
    recorder: Recorder,
    bootstrap: String,
    partitions: Vec<TopicPartition>,
    mut random: SimRandom,
    stop: watch::Receiver<bool>,
) {
    let mut raw = RawClient::new(io.clone(), bootstrap);
    while !*stop.borrow() {
        let partition = &partitions[random.index(partitions.len())];
        let now = io.now().wall.0;
        let time = now - random.within(0..=BACK_MAX_MS).cast_signed();
        if let Ok((offset, timestamp)) = raw.list_offset(partition, time).await {
            told(&io, &recorder, partition, time, (offset, timestamp));
        }
        if random.chance(1, 10) {
            // The end is somewhere, whatever goes on.
            let _ = raw.list_offset(partition, LATEST).await;
        }
        io.sleep(random.micros(1_000..=300_000)).await;
        if random.chance(1, 50) {
            io.sleep(Duration::from_secs(2)).await;
        }
    }
}

fn told(io: &SimIo, recorder: &Recorder, partition: &TopicPartition, time: i64, found: (i64, i64)) {
    recorder.work(
        io.process().node(),
        Work::TimeFound {
            partition: partition.clone(),
            time,
            offset: found.0,
            timestamp: found.1,
        },
    );
}
