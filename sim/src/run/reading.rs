//! The last readings of everything: what the checkers take for the truth, and what must be there
//! again after one more loss of power.

use std::time::Duration;

use ottla_client::{TopicPartition as ClientPartition, admin::Admin};
use ottla_io::Clock;
use ottla_wire::ErrorCode;

use super::stage::{MEMBERS, READERS, Stage};
use crate::{
    event::{TopicPartition, Work},
    io::SimIo,
    workload::{
        consumer,
        member::GroupProgress,
        producer::{self, Burst},
        raw::{EARLIEST, Fetched, LATEST, RawClient, RawError},
        timer,
    },
};

/// How long to wait before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often something is refused before it is taken for an answer.
const REFUSALS_MIN: u32 = 20;
/// Look-ups by time with nothing else going on, of each partition.
const TIMES: u64 = 20;

/// The numbers of those who write when all others have ended, from this one on.
const LAST_PRODUCERS: u32 = 900_000;

/// Which of the two last readings of everything.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    /// With nothing else going on: what the checkers take for the truth.
    Final,
    /// After one more loss of power.
    Again,
}

impl Reading {
    fn start(self, partition: &TopicPartition, offset: i64, now: i64) -> Work {
        let partition = partition.clone();
        match self {
            Self::Final => Work::FinalStart {
                partition,
                offset,
                now,
            },
            Self::Again => Work::AgainStart { partition, offset },
        }
    }

    fn record(self, partition: &TopicPartition, fetched: Fetched) -> Work {
        let (partition, offset, contents) = (partition.clone(), fetched.offset, fetched.contents);
        match self {
            Self::Final => Work::Final {
                partition,
                offset,
                timestamp: fetched.timestamp,
                contents,
            },
            Self::Again => Work::Again {
                partition,
                offset,
                contents,
            },
        }
    }

    fn end(self, partition: &TopicPartition, offset: i64) -> Work {
        let partition = partition.clone();
        match self {
            Self::Final => Work::FinalEnd { partition, offset },
            Self::Again => Work::AgainEnd { partition, offset },
        }
    }
}

impl Stage {
    pub(super) async fn read_everything(&self, reading: Reading) {
        let io = self.judge().start();
        let mut raw = RawClient::new(io.clone(), self.server().bootstrap());
        let Some(admin) = consumer::admin(io.clone(), &self.server().bootstrap()) else {
            return;
        };
        self.server().note_cuts();
        for partition in self.partitions() {
            self.read_log(&mut raw, &partition, reading).await;
            self.read_commits(&admin, &partition).await;
            if matches!(reading, Reading::Final) {
                self.look_by_time(&io, &mut raw, &partition).await;
                self.measure(&admin, &partition).await;
            }
        }
        for partition in self.own_topics().partitions() {
            self.read_log(&mut raw, &partition, reading).await;
        }
    }

    /// A few records more to each partition: of one that nobody has, and that was read to its end before,
    /// nothing else would tell.
    pub(super) async fn write_to_every_partition(&self) {
        let io = self.judge().start();
        let (recorder, bootstrap) = (self.world().recorder(), self.server().bootstrap());
        let mut random = self.world().random("what is written last");
        for (producer, partition) in (LAST_PRODUCERS..).zip(self.partitions()) {
            let burst = Burst {
                producer,
                partition,
                records: 2,
            };
            producer::burst(&io, recorder, &bootstrap, burst, &mut random).await;
        }
    }

    async fn pause(&self) {
        self.world().clock().sleep(PAUSE).await;
    }

    fn told(&self, work: Work) {
        self.world().recorder().work(self.judge().id(), work);
    }

    async fn read_log(&self, raw: &mut RawClient, partition: &TopicPartition, reading: Reading) {
        let mut at = None;
        let mut refusals = 0;
        loop {
            let Some(offset) = at else {
                match raw.list_offset(partition, EARLIEST).await {
                    Ok((start, _)) => {
                        let now = self.server().node().wall().at(self.world().clock().now());
                        self.told(reading.start(partition, start, now));
                        at = Some(start);
                    }
                    Err(error) => {
                        if self.gives_up(&mut refusals, partition, &error) {
                            return;
                        }
                        self.pause().await;
                    }
                }
                continue;
            };
            match raw.fetch(partition, offset, Duration::ZERO).await {
                Ok(page) => {
                    for fetched in &page.records {
                        self.told(reading.record(partition, *fetched));
                    }
                    at = Some(page.next_offset);
                    if let Some(how) = page.damage {
                        self.tell_damage(Some(partition), how);
                        return;
                    }
                    if page.next_offset >= page.high_watermark {
                        self.told(reading.end(partition, page.next_offset));
                        return;
                    }
                }
                // Retention goes on.
                Err(RawError::Answered(ErrorCode::OffsetOutOfRange)) => at = None,
                Err(error) => {
                    if self.gives_up(&mut refusals, partition, &error) {
                        return;
                    }
                    self.pause().await;
                }
            }
        }
    }

    /// Where damage is expected, an error that does not go away tells of it.
    fn gives_up(&self, refusals: &mut u32, partition: &TopicPartition, error: &RawError) -> bool {
        *refusals += u32::from(matches!(error, RawError::Answered(_)));
        let told = self.expects_damage() && *refusals >= REFUSALS_MIN;
        if told {
            self.tell_damage(Some(partition), error.to_string());
        }
        told
    }

    pub(super) fn tell_damage(&self, partition: Option<&TopicPartition>, how: String) {
        let partition = partition.cloned();
        self.told(Work::DamageTold { partition, how });
    }

    async fn read_commits(&self, admin: &Admin<SimIo>, partition: &TopicPartition) {
        for group in self.groups() {
            let mut refusals = 0;
            let offset = loop {
                match consumer::committed(admin, group, partition).await {
                    Ok(offset) => break offset,
                    Err(error) => {
                        refusals += 1;
                        if self.expects_damage() && refusals >= REFUSALS_MIN {
                            self.tell_damage(Some(partition), error);
                            return;
                        }
                        self.pause().await;
                    }
                }
            };
            self.told(Work::CommitFound {
                group: group.into(),
                consumer: 0,
                partition: partition.clone(),
                offset,
            });
        }
    }

    /// The groups that commit in this run.
    fn groups(&self) -> impl Iterator<Item = &'static str> {
        let workload = self.workload();
        let groups = [(READERS, workload.consumers), (MEMBERS, workload.members)];
        groups
            .into_iter()
            .filter(|(_, size)| *size > 0)
            .map(|(group, _)| group)
    }

    async fn look_by_time(&self, io: &SimIo, raw: &mut RawClient, partition: &TopicPartition) {
        let span = self.world().clock().now() / 1_000_000;
        for step in 0..TIMES {
            let time = io.now().wall.0 - (span * step / TIMES).cast_signed();
            self.told(timer::asked(partition, time));
            if let Ok(found) = timer::look_up(raw, partition, time).await {
                self.told(found);
            }
        }
    }

    async fn measure(&self, admin: &Admin<SimIo>, partition: &TopicPartition) {
        let named = ClientPartition::new(partition.name(), partition.partition);
        let Ok(answers) = admin.describe_log_dirs(&[1]).await else {
            return;
        };
        let dirs = answers.into_values().flatten().flatten();
        for dir in dirs {
            if let Some(replica) = dir.replicas.get(&named) {
                self.told(Work::FinalSize {
                    partition: partition.clone(),
                    bytes: replica.size,
                });
            }
        }
    }

    /// Waits until somebody has read each partition to its end.
    pub(super) async fn has_read_everything(&self, progress: &GroupProgress) {
        let io = self.judge().start();
        let mut raw = RawClient::new(io, self.server().bootstrap());
        for partition in self.partitions() {
            let mut refusals = 0;
            loop {
                let start = raw.list_offset(&partition, EARLIEST).await;
                let end = raw.list_offset(&partition, LATEST).await;
                if let Err(error) = &end
                    && self.gives_up(&mut refusals, &partition, error)
                {
                    break;
                }
                // Nothing is left of a log whose last record was deleted.
                if let (Ok((start, _)), Ok((end, _))) = (start, end)
                    && (start >= end || progress.has_reached(&partition, end))
                {
                    break;
                }
                self.world().clock().sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
