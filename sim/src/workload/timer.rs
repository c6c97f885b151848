//! A reader that looks for offsets by time (ListOffsets), of now and of a while ago; and that sends
//! several requests at once now and then, and sees in which order they are answered.

use std::time::Duration;

use ottla_io::Clock;
use tokio::sync::watch;

use super::raw::{EARLIEST, RawClient, RawError};
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
        // A failed look-up is made again, with another time.
        let node = io.process().node();
        recorder.work(node, asked(partition, time));
        if let Ok(found) = look_up(&mut raw, partition, time).await {
            recorder.work(node, found);
        }
        if random.chance(1, 4) {
            let wait = random.micros(0..=500_000);
            let turns = raw.answers_in_turn(partition, wait).await;
            for (expected, got) in turns.unwrap_or_default() {
                recorder.work(node, Work::Answered { expected, got });
            }
        }
        io.sleep(random.micros(1_000..=300_000)).await;
        if random.chance(1, 50) {
            io.sleep(Duration::from_secs(2)).await;
        }
    }
}

/// What is told before a time is looked for.
#[must_use]
pub fn asked(partition: &TopicPartition, time: i64) -> Work {
    let partition = partition.clone();
    Work::TimeAsked { partition, time }
}

/// Looks for a time, and what may have been found then.
pub async fn look_up(
    raw: &mut RawClient,
    partition: &TopicPartition,
    time: i64,
) -> Result<Work, RawError> {
    let (offset, timestamp) = raw.list_offset(partition, time).await?;
    let (start, _) = raw.list_offset(partition, EARLIEST).await?;
    Ok(Work::TimeFound {
        partition: partition.clone(),
        time,
        offset,
        timestamp,
        start,
    })
}
