//! A reader of partitions of its own that commits what it has read for a group.
//!
//! It reads with the raw client and commits as an admin does, so it sees what the broker shows and
//! nothing that a client's own retries could hide. It begins where the group's commit is, so a
//! commit that went back or was lost is met while the run goes on; or, without committing, at the
//! log's start or its end. Some are slow, so that segments are deleted under them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ottla_client::{Client, OffsetAndMetadata, TopicPartition as ClientPartition, admin::Admin};
use ottla_io::Clock;
use ottla_wire::ErrorCode;
use tokio::sync::watch;

use super::{
    producer::impatient,
    raw::{EARLIEST, LATEST, RawClient, RawError},
};
use crate::{
    event::{Recorder, TopicPartition, Work},
    io::SimIo,
    random::SimRandom,
};

/// What a consumer is told.
#[derive(Clone, Debug)]
pub struct ConsumerPlan {
    /// Its number; each life of a node has one of its own.
    pub number: u32,
    /// Its group.
    pub group: Arc<str>,
    /// Where the broker is.
    pub bootstrap: String,
    /// What it reads.
    pub partitions: Vec<TopicPartition>,
    /// Where it begins.
    pub start: Start,
    /// How long it rests between pages, at most.
    pub pause_max: Duration,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Behind what its group has committed; it commits too.
    Committed,
    /// At the log's start.
    Earliest,
    /// At the log's end.
    Latest,
}

/// An admin that notices a fault within virtual seconds; `None` where the address is wrong.
#[must_use]
pub fn admin(io: SimIo, bootstrap: &str) -> Option<Admin<SimIo>> {
    let client = Client::new(io, [bootstrap], impatient("admin")).ok()?;
    Some(Admin::with_client(client))
}

/// The offset that a group has committed for a partition; -1 for none.
pub async fn committed(
    admin: &Admin<SimIo>,
    group: &str,
    partition: &TopicPartition,
) -> Result<i64, String> {
    let wanted = client_partition(partition);
    let found = admin
        .list_group_offsets(group, Some(std::slice::from_ref(&wanted)))
        .await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.get(&wanted).map_or(-1, |committed| committed.offset))
}

/// Reads and commits until told to stop.
pub async fn consume(
    io: SimIo,
    recorder: Recorder,
    plan: ConsumerPlan,
    mut random: SimRandom,
    mut stop: watch::Receiver<bool>,
) {
    if plan.partitions.is_empty() {
        // More readers than partitions. The sender lives as long as the stage.
        let _ = stop.wait_for(|stop| *stop).await;
        return;
    }
    let Some(admin) = admin(io.clone(), &plan.bootstrap) else {
        return;
    };
    let mut reader = Reader {
        raw: RawClient::new(io.clone(), plan.bootstrap.clone()),
        admin,
        recorder,
        positions: BTreeMap::new(),
        commits: 0,
        io,
        plan,
    };
    while !*stop.borrow() {
        for partition in reader.plan.partitions.clone() {
            if reader.turn(&partition, &mut random).await.is_err() {
                reader.io.sleep(random.micros(10_000..=200_000)).await;
            }
        }
        let pause = u64::try_from(reader.plan.pause_max.as_micros()).unwrap_or(0);
        if pause > 0 {
            reader.io.sleep(random.micros(0..=pause)).await;
        }
    }
}

struct Reader {
    io: SimIo,
    raw: RawClient,
    admin: Admin<SimIo>,
    recorder: Recorder,
    plan: ConsumerPlan,
    positions: BTreeMap<TopicPartition, i64>,
    commits: u64,
}

impl Reader {
    /// Finds a partition's position, or reads a page from there on.
    async fn turn(
        &mut self,
        partition: &TopicPartition,
        random: &mut SimRandom,
    ) -> Result<(), String> {
        let Some(position) = self.positions.get(partition).copied() else {
            let at = self.start(partition).await?;
            self.position(partition, at);
            return Ok(());
        };
        let wait = Duration::from_millis(random.pick(&[0, 20, 200]));
        let page = match self.raw.fetch(partition, position, wait).await {
            Ok(page) => page,
            Err(RawError::Answered(ErrorCode::OffsetOutOfRange)) => {
                return self.out_of_range(partition, position).await;
            }
            Err(error) => return Err(error.to_string()),
        };
        if let Some(told) = page.told(partition, position) {
            self.work(told);
        }
        for fetched in page.records {
            self.work(Work::Read {
                consumer: self.plan.number,
                partition: partition.clone(),
                offset: fetched.offset,
                contents: fetched.contents,
            });
        }
        self.positions.insert(partition.clone(), page.next_offset);
        if let Some(how) = page.damage {
            let partition = Some(partition.clone());
            self.work(Work::DamageTold { partition, how });
            return Err("damaged".to_owned());
        }
        let commits = self.plan.start == Start::Committed && random.chance(1, 3);
        if page.next_offset > position && commits {
            self.commit(partition, page.next_offset).await;
        }
        Ok(())
    }

    async fn start(&mut self, partition: &TopicPartition) -> Result<i64, String> {
        let end = match self.plan.start {
            Start::Earliest => EARLIEST,
            Start::Latest => LATEST,
            Start::Committed => {
                let offset = committed(&self.admin, &self.plan.group, partition).await?;
                self.work(Work::CommitFound {
                    group: Arc::clone(&self.plan.group),
                    consumer: self.plan.number,
                    partition: partition.clone(),
                    offset,
                });
                return Ok(offset.max(0));
            }
        };
        let found = self.raw.list_offset(partition, end).await;
        found
            .map(|(offset, _)| offset)
            .map_err(|error| error.to_string())
    }

    fn position(&mut self, partition: &TopicPartition, offset: i64) {
        self.work(Work::Positioned {
            consumer: self.plan.number,
            partition: partition.clone(),
            offset,
        });
        self.positions.insert(partition.clone(), offset);
    }

    /// What it would read was deleted, so it goes on at the log's start. It has read all before its
    /// position, so that lies behind the end only if that went back, which is not to be covered up.
    async fn out_of_range(
        &mut self,
        partition: &TopicPartition,
        position: i64,
    ) -> Result<(), String> {
        let start = self.raw.list_offset(partition, EARLIEST).await;
        let (start, _) = start.map_err(|error| error.to_string())?;
        if start <= position {
            return Err("out of range where it is not".to_owned());
        }
        self.position(partition, start);
        Ok(())
    }

    async fn commit(&mut self, partition: &TopicPartition, offset: i64) {
        self.commits += 1;
        let commit = (u64::from(self.plan.number) << 32) | self.commits;
        self.work(Work::CommitSent {
            group: Arc::clone(&self.plan.group),
            consumer: self.plan.number,
            commit,
            partition: partition.clone(),
            offset,
        });
        let wanted = client_partition(partition);
        let offsets = BTreeMap::from([(wanted.clone(), OffsetAndMetadata::new(offset))]);
        let group = &*self.plan.group;
        let error = match self.admin.alter_group_offsets(group, &offsets).await {
            Ok(answers) => match answers.get(&wanted) {
                Some(Ok(())) => None,
                Some(Err(error)) => Some(error.to_string()),
                None => Some("no answer for the partition".to_owned()),
            },
            Err(error) => Some(error.to_string()),
        };
        self.work(match error {
            None => Work::CommitAcknowledged { commit },
            Some(error) => Work::CommitFailed { commit, error },
        });
    }

    fn work(&self, work: Work) {
        self.recorder.work(self.io.process().node(), work);
    }
}

fn client_partition(partition: &TopicPartition) -> ClientPartition {
    ClientPartition::new(partition.name(), partition.partition)
}
