//! An administrator in the middle of the work: topics come, go and come again under the same name,
//! partitions are added, records deleted, configurations altered, and everything is looked at.
//!
//! A topic that was deleted and made anew is another topic: its records say which, so that one of the
//! old topic that shows in the new one is a changed record (KAFKA-12257).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ottla_client::{
    TopicPartition as ClientPartition,
    admin::{Admin, AdminError, ConfigAlteration, ConfigResource, NewTopic},
};
use ottla_io::Clock;
use ottla_wire::ErrorCode;
use tokio::sync::watch;

use super::{
    consumer,
    producer::{self, Burst},
    raw::{EARLIEST, LATEST, RawClient},
};
use crate::{
    event::{NodeId, Recorder, TopicPartition, Work},
    io::SimIo,
    random::SimRandom,
};

/// What an administrator is told.
#[derive(Clone, Debug)]
pub struct AdminPlan {
    /// Its number; each life of a node has one of its own.
    pub number: u32,
    /// Its bursts are producers with numbers from here on.
    pub producers_from: u32,
    /// Its node's name, of which its own topic has its name.
    pub name: String,
    /// Where the broker is.
    pub bootstrap: String,
    /// The partitions of everybody's topics.
    pub partitions: Vec<TopicPartition>,
    /// Whether records of everybody's topics may be deleted.
    pub deletes_records: bool,
}

/// The topics of administrators' own that are there, as far as that is known. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct OwnTopics {
    topics: Arc<Mutex<BTreeMap<String, Own>>>,
}

/// An administrator's own topic: it outlives the administrator's process.
#[derive(Clone, Debug, Default)]
struct Own {
    /// The number of the newest.
    incarnation: u32,
    /// Whether that is there for certain.
    exists: bool,
    /// Whether it is being deleted.
    leaves: bool,
    /// Producers so far: each burst is one.
    bursts: u32,
}

impl OwnTopics {
    /// The partitions that are there for certain.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let there = topics.iter().filter(|(_, own)| own.exists && !own.leaves);
        there
            .map(|(name, own)| partition(name, own.incarnation))
            .collect()
    }

    fn of(&self, name: &str) -> Own {
        self.with(name, |own| own.clone())
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Own) -> T) -> T {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        act(topics.entry(name.to_owned()).or_default())
    }
}

fn partition(name: &str, incarnation: u32) -> TopicPartition {
    TopicPartition {
        topic: format!("{name}@{incarnation}").into(),
        partition: 0,
    }
}

/// Administers until told to stop.
pub async fn administer(
    io: SimIo,
    recorder: Recorder,
    plan: AdminPlan,
    own: OwnTopics,
    mut random: SimRandom,
    stop: watch::Receiver<bool>,
) {
    let Some(admin) = consumer::admin(io.clone(), &plan.bootstrap) else {
        return;
    };
    let own_name = format!("own-{}", plan.name);
    let mut administrator = Administrator {
        raw: RawClient::new(io.clone(), plan.bootstrap.clone()),
        node: io.process().node(),
        admin,
        io,
        recorder,
        plan,
        own,
        own_name,
    };
    while !*stop.borrow() {
        administrator.act(&mut random).await;
        let rest = random.micros(10_000..=1_500_000);
        administrator.io.sleep(rest).await;
    }
}

struct Administrator {
    io: SimIo,
    raw: RawClient,
    admin: Admin<SimIo>,
    node: NodeId,
    recorder: Recorder,
    plan: AdminPlan,
    own: OwnTopics,
    own_name: String,
}

impl Administrator {
    async fn act(&mut self, random: &mut SimRandom) {
        match random.within(0..=9) {
            0..=3 => self.live_with_own_topic(random).await,
            4 | 5 if self.plan.deletes_records => self.delete_records(random).await,
            4..=6 => self.alter_config(random).await,
            7 => self.add_partition().await,
            _ => self.look_round().await,
        }
    }

    /// The next step in the life of its own topic.
    async fn live_with_own_topic(&mut self, random: &mut SimRandom) {
        let own = self.own.of(&self.own_name);
        if own.leaves {
            self.delete_own(own.incarnation).await;
        } else if !own.exists {
            self.create_own(random).await;
        } else if random.chance(1, 3) {
            self.own.with(&self.own_name, |own| own.leaves = true);
        } else if random.chance(1, 2) {
            self.write_own(own.incarnation, random).await;
        } else {
            self.read_own(own.incarnation).await;
        }
    }

    async fn create_own(&mut self, random: &mut SimRandom) {
        let segment = (random.within(6..=60) * 1024).to_string();
        let wanted = NewTopic::new(self.own_name.as_str(), 1, 1)
            .config("internal.segment.bytes", segment.as_str());
        let created = match self.admin.create_topic(wanted).await {
            // A request without an answer made it; it has no records yet in either case.
            Err(error) => is(&error, ErrorCode::TopicAlreadyExists),
            Ok(_) => true,
        };
        if created {
            self.own.with(&self.own_name, |own| {
                own.incarnation += 1;
                own.exists = true;
            });
        }
    }

    /// By its id: a request that comes late must not befall the next topic of that name.
    async fn delete_own(&mut self, incarnation: u32) {
        let gone = match self.admin.describe_topic(self.own_name.as_str()).await {
            Err(error) => is(&error, ErrorCode::UnknownTopicOrPartition),
            Ok(topic) => self
                .raw
                .delete_topic(topic.id)
                .await
                .is_ok_and(|code| matches!(code, ErrorCode::None | ErrorCode::UnknownTopicId)),
        };
        if gone {
            self.own.with(&self.own_name, |own| {
                if own.incarnation == incarnation {
                    (own.exists, own.leaves) = (false, false);
                }
            });
        }
    }

    async fn write_own(&mut self, incarnation: u32, random: &mut SimRandom) {
        let bursts = self.own.with(&self.own_name, |own| {
            own.bursts += 1;
            own.bursts
        });
        let burst = Burst {
            producer: self.plan.producers_from + bursts,
            partition: partition(&self.own_name, incarnation),
            records: random.within(1..=30),
        };
        producer::burst(
            &self.io,
            &self.recorder,
            &self.plan.bootstrap,
            burst,
            random,
        )
        .await;
    }

    async fn read_own(&mut self, incarnation: u32) {
        let partition = partition(&self.own_name, incarnation);
        let mut offset = 0;
        self.work(Work::Positioned {
            consumer: self.plan.number,
            partition: partition.clone(),
            offset,
        });
        while let Ok(page) = self.raw.fetch(&partition, offset, Duration::ZERO).await {
            for fetched in &page.records {
                self.work(Work::Read {
                    consumer: self.plan.number,
                    partition: partition.clone(),
                    offset: fetched.offset,
                    contents: fetched.contents,
                });
            }
            if page.next_offset == offset {
                break;
            }
            offset = page.next_offset;
        }
    }

    async fn delete_records(&mut self, random: &mut SimRandom) {
        let partition = self.some_partition(random);
        let start = self.raw.list_offset(&partition, EARLIEST).await;
        let end = self.raw.list_offset(&partition, LATEST).await;
        let (Ok((start, _)), Ok((end, _))) = (start, end) else {
            return;
        };
        let room = u64::try_from(end - start).unwrap_or(0);
        let before = start + random.within(0..=room).cast_signed();
        self.work(Work::DeletionAsked {
            partition: partition.clone(),
            before,
        });
        let asked = ClientPartition::new(partition.name(), partition.partition);
        let wanted = BTreeMap::from([(asked.clone(), before)]);
        if let Some(Ok(log_start)) = self.admin.delete_records(&wanted).await.get(&asked) {
            let log_start = *log_start;
            self.work(Work::Deleted {
                partition,
                log_start,
            });
        }
    }

    async fn alter_config(&mut self, random: &mut SimRandom) {
        let topic = self.some_partition(random).name().to_owned();
        let (key, values) = random.pick(&[
            (
                "compression.type",
                &["producer", "zstd", "lz4", "gzip", "snappy", "uncompressed"][..],
            ),
            ("index.interval.bytes", &["64", "1000", "4096"]),
            ("segment.ms", &["500", "3000", "604800000"]),
            ("internal.segment.bytes", &["20000", "60000", "200000"]),
            ("message.timestamp.type", &["CreateTime", "LogAppendTime"]),
            ("max.message.bytes", &["2000", "20000", "1048588"]),
        ]);
        // Without its limit a segment would never be full, and retention would stand still.
        let may_go = key != "internal.segment.bytes";
        let alteration = match may_go && random.chance(1, 4) {
            true => ConfigAlteration::delete(key),
            false => ConfigAlteration::set(key, random.pick(values)),
        };
        let resource = ConfigResource::topic(topic.as_str());
        // What cannot be altered now is another time.
        let _ = self
            .admin
            .alter_configs(&resource, &[alteration], random.chance(1, 5))
            .await;
    }

    async fn add_partition(&mut self) {
        let Some(first) = self.plan.partitions.first() else {
            return;
        };
        let own = self.plan.partitions.iter();
        let planned = own.filter(|one| one.topic == first.topic).count() as i32;
        if let Ok(topic) = self.admin.describe_topic(first.name()).await {
            let now = topic.partitions.len() as i32;
            if now < planned + 2 {
                let name = first.name();
                let _ = self.admin.create_partitions(name, now + 1, None).await;
            }
        }
    }

    async fn look_round(&mut self) {
        // Only that it is answered counts, and even that not while there is trouble.
        let _ = self.admin.list_topics().await;
        let _ = self.admin.describe_cluster().await;
        let _ = self.admin.list_groups().await;
        let _ = self.admin.describe_log_dirs(&[1]).await;
        let _ = self
            .admin
            .describe_configs(&ConfigResource::broker(1), None)
            .await;
    }

    fn some_partition(&self, random: &mut SimRandom) -> TopicPartition {
        self.plan.partitions[random.index(self.plan.partitions.len())].clone()
    }

    fn work(&self, work: Work) {
        self.recorder.work(self.node, work);
    }
}

fn is(error: &AdminError, code: ErrorCode) -> bool {
    matches!(error, AdminError::Broker(broker) if broker.code == code)
}
