//! A reader of all partitions at once through an incremental fetch session (KIP-227), as Kafka's own
//! consumer reads: it names what changed, and is told what has news.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ottla_io::Clock;
use ottla_wire::{
    ErrorCode,
    messages::{FetchResponse, fetch_request::FetchTopic},
};
use tokio::sync::watch;

use super::{
    member::GroupProgress,
    raw::{self, EARLIEST, Page, RawClient, RawError},
};
use crate::{
    event::{Recorder, TopicPartition, Work},
    io::SimIo,
    random::SimRandom,
};

/// What a reader is told.
#[derive(Clone, Debug)]
pub struct SessionPlan {
    /// Its number; each life of a node has one of its own.
    pub number: u32,
    /// Where the broker is.
    pub bootstrap: String,
    /// What it reads.
    pub partitions: Vec<TopicPartition>,
}

/// Reads until told to stop.
pub async fn read(
    io: SimIo,
    recorder: Recorder,
    plan: SessionPlan,
    progress: GroupProgress,
    mut random: SimRandom,
    stop: watch::Receiver<bool>,
) {
    // Where little fits into an answer, most partitions have no records in it and other news.
    let max_bytes = random.pick(&[1 << 10, raw::MAX_BYTES]);
    let mut reader = Reader {
        max_bytes,
        known: BTreeMap::new(),
        io: io.clone(),
        raw: RawClient::new(io.clone(), plan.bootstrap.clone()),
        recorder,
        progress,
        node: io.process().node(),
        session: (0, 0),
        positions: BTreeMap::new(),
        changed: BTreeSet::new(),
        plan,
    };
    while !*stop.borrow() {
        if let Err(error) = reader.round(&mut random).await {
            // Whether the broker has taken the request is open: sometimes it is left to the broker to
            // say that the session is not there, or at another epoch.
            if matches!(error, RawError::Answered(_)) || random.chance(1, 2) {
                reader.forget_session();
            }
            io.sleep(random.micros(10_000..=200_000)).await;
        }
        if random.chance(1, 100) {
            reader.forget_session();
        }
    }
}

struct Reader {
    io: SimIo,
    raw: RawClient,
    recorder: Recorder,
    progress: GroupProgress,
    node: crate::event::NodeId,
    plan: SessionPlan,
    /// Number and next epoch; zeros where a new one is asked for.
    session: (i32, i32),
    positions: BTreeMap<TopicPartition, i64>,
    /// High watermark and log start as the broker told them last, of each partition that it serves.
    known: BTreeMap<TopicPartition, (i64, i64)>,
    /// How much an answer may hold.
    max_bytes: i32,
    /// What the broker does not know the position of.
    changed: BTreeSet<TopicPartition>,
}

impl Reader {
    async fn round(&mut self, random: &mut SimRandom) -> Result<(), RawError> {
        for partition in self.plan.partitions.clone() {
            if !self.positions.contains_key(&partition) {
                let (start, _) = self.raw.list_offset(&partition, EARLIEST).await?;
                self.position(partition, start);
            }
        }
        let wait = Duration::from_millis(random.pick(&[0, 20, 500]));
        let topics = self.wanted();
        let looks = random.chance(1, 2);
        // Now and then it hangs up before the answer, which is then lost.
        let leaves = random.chance(1, 25);
        if looks {
            let consumer = self.plan.number;
            self.recorder.work(self.node, Work::NewsAsked { consumer });
        }
        let (session, max_bytes) = (self.session, self.max_bytes);
        if leaves {
            self.raw
                .leave_a_fetch_in_session(session, wait, max_bytes, topics)
                .await;
            return Err(RawError::Unanswered("not waited for".to_owned()));
        }
        let response = self
            .raw
            .fetch_in_session(session, wait, max_bytes, topics)
            .await?;
        self.changed.clear();
        self.session = match (response.session_id, self.session.1) {
            // No room for a session: the next request is a whole one again.
            (0, _) => (0, 0),
            (id, epoch) => (id, epoch.checked_add(1).unwrap_or(1)),
        };
        self.took(&response)?;
        if looks {
            self.tells_what_it_knows();
        }
        if self.session.0 == 0 {
            self.changed.extend(self.positions.keys().cloned());
        }
        Ok(())
    }

    fn position(&mut self, partition: TopicPartition, offset: i64) {
        self.recorder.work(
            self.node,
            Work::Positioned {
                consumer: self.plan.number,
                partition: partition.clone(),
                offset,
            },
        );
        self.positions.insert(partition.clone(), offset);
        self.changed.insert(partition);
    }

    fn wanted(&self) -> Vec<FetchTopic> {
        let mut topics: BTreeMap<&str, FetchTopic> = BTreeMap::new();
        for partition in &self.changed {
            let offset = self.positions.get(partition).copied().unwrap_or(0);
            let topic = topics
                .entry(partition.name())
                .or_insert_with(|| FetchTopic {
                    topic: partition.name().into(),
                    ..FetchTopic::default()
                });
            topic.partitions.push(raw::wanted(partition, offset));
        }
        topics.into_values().collect()
    }

    fn took(&mut self, response: &FetchResponse) -> Result<(), RawError> {
        for topic in &response.responses {
            for data in &topic.partitions {
                let is_it = |one: &&TopicPartition| {
                    one.name() == topic.topic.as_str() && one.partition == data.partition_index
                };
                let Some(partition) = self.plan.partitions.iter().find(is_it).cloned() else {
                    continue;
                };
                match raw::check(data.error_code) {
                    Ok(()) => {
                        let news = (data.high_watermark, data.log_start_offset);
                        self.known.insert(partition.clone(), news);
                    }
                    Err(RawError::Answered(ErrorCode::OffsetOutOfRange)) => {
                        self.positions.remove(&partition);
                        self.known.remove(&partition);
                        continue;
                    }
                    Err(error) => {
                        self.known.remove(&partition);
                        return Err(error);
                    }
                }
                let from = self.positions.get(&partition).copied().unwrap_or(0);
                let mut page = Page::at(from);
                let bytes = data.records.clone().unwrap_or_default();
                raw::read(bytes, &partition, &mut page);
                if let Some(told) = page.told(&partition, from) {
                    self.recorder.work(self.node, told);
                }
                if let Some(how) = page.damage {
                    let partition = Some(partition.clone());
                    self.recorder
                        .work(self.node, Work::DamageTold { partition, how });
                }
                let next = page.next_offset;
                for fetched in page.records {
                    self.recorder.work(
                        self.node,
                        Work::Read {
                            consumer: self.plan.number,
                            partition: partition.clone(),
                            offset: fetched.offset,
                            contents: fetched.contents,
                        },
                    );
                }
                if next > from {
                    self.progress.reached(&partition, next);
                    self.positions.insert(partition.clone(), next);
                    self.changed.insert(partition);
                }
            }
        }
        Ok(())
    }

    fn tells_what_it_knows(&self) {
        let now = self.io.now().wall.0;
        for (partition, (high_watermark, log_start)) in &self.known {
            let known = Work::NewsKnown {
                consumer: self.plan.number,
                partition: partition.clone(),
                high_watermark: *high_watermark,
                log_start: *log_start,
                now,
            };
            self.recorder.work(self.node, known);
        }
    }

    fn forget_session(&mut self) {
        self.session = (0, 0);
        self.known.clear();
        self.changed.extend(self.positions.keys().cloned());
    }
}
