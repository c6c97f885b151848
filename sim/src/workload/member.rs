//! A member of a consumer group, on the client that people use: it subscribes, reads what it is
//! given, commits, sometimes stalls and sometimes leaves and comes back.
//!
//! What it was handed and what it holds is told right after the poll that said so, with nothing
//! awaited in between: a member that is killed has told all it knew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ottla_client::{
    OffsetAndMetadata, TopicPartition as ClientPartition,
    consumer::{
        Assignor, AutoOffsetReset, Consumer, ConsumerConfig, ConsumerError, ConsumerRecord,
        RebalanceListener,
    },
};
use ottla_io::Clock;
use tokio::sync::watch;

use super::{echo::Echo, payload, producer::impatient, raw::OldCommit};
use crate::{
    event::{Contents, NodeId, Recorder, TopicPartition, Work},
    io::SimIo,
    random::SimRandom,
};

/// Without a heartbeat for this long the coordinator gives a member up.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(3);
/// A member that does not poll for this long leaves; a rebalance waits this long for members.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(5);

/// What a member is told.
#[derive(Clone, Debug)]
pub struct MemberPlan {
    /// The number of its first membership; each later one has the next.
    pub number: u32,
    /// Its group.
    pub group: Arc<str>,
    /// Where the broker is.
    pub bootstrap: String,
    /// What it subscribes to.
    pub topics: Vec<String>,
    /// How partitions are divided, in the order of preference.
    pub assignors: Vec<Assignor>,
}

/// How far a group has read, whoever of its members did. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct GroupProgress {
    ends: Arc<Mutex<BTreeMap<TopicPartition, i64>>>,
}

impl GroupProgress {
    /// Whether everything below `end` was handed to some member.
    #[must_use]
    pub fn has_reached(&self, partition: &TopicPartition, end: i64) -> bool {
        end <= 0 || lock(&self.ends).get(partition).is_some_and(|at| *at >= end)
    }

    /// How much was handed to the members in all; it grows with every progress.
    #[must_use]
    pub fn read(&self) -> i64 {
        lock(&self.ends).values().sum()
    }

    /// Everything below `next` was handed to somebody.
    pub(super) fn reached(&self, partition: &TopicPartition, next: i64) {
        let mut ends = lock(&self.ends);
        let end = ends.entry(partition.clone()).or_default();
        *end = next.max(*end);
    }
}

/// When a member changes its ways.
#[derive(Clone, Debug)]
pub struct Signals {
    /// It stalls and leaves no more: the group is to settle.
    pub settle: watch::Receiver<bool>,
    /// It leaves for good.
    pub stop: watch::Receiver<bool>,
}

/// Reads and commits as a member until told to stop.
pub async fn take_part(
    io: SimIo,
    recorder: Recorder,
    plan: MemberPlan,
    progress: GroupProgress,
    mut random: SimRandom,
    signals: Signals,
) {
    let mut number = plan.number;
    while !*signals.stop.borrow() {
        let config = ConsumerConfig {
            client: impatient("member"),
            group_id: Some((&*plan.group).into()),
            assignors: plan.assignors.clone(),
            session_timeout: SESSION_TIMEOUT,
            heartbeat_interval: Duration::from_secs(1),
            max_poll_interval: POLL_INTERVAL_MAX,
            max_poll_records: random.pick(&[3, 50, 500]),
            auto_commit: false,
            auto_offset_reset: AutoOffsetReset::Earliest,
            ..ConsumerConfig::default()
        };
        let consumer = Consumer::new(io.clone(), [&plan.bootstrap], config);
        let Ok(consumer) = consumer else {
            let node = io.process().node();
            recorder.work(node, Work::Stuck("the member cannot be built".to_owned()));
            return;
        };
        let membership = Membership {
            echo: Echo::new(io.clone(), plan.bootstrap.clone()),
            io: io.clone(),
            notes: Notes::new(&io, &recorder, &plan, number),
            progress: progress.clone(),
            consumer,
        };
        membership.last(&plan.topics, &mut random, &signals).await;
        number += 1;
        if !*signals.stop.borrow() {
            io.sleep(random.micros(10_000..=3_000_000)).await;
        }
    }
}

/// One membership, from joining to leaving.
struct Membership {
    io: SimIo,
    echo: Echo,
    notes: Notes,
    progress: GroupProgress,
    consumer: Consumer<SimIo>,
}

impl Membership {
    async fn last(mut self, topics: &[String], random: &mut SimRandom, signals: &Signals) {
        self.consumer.set_rebalance_listener(self.notes.clone());
        if let Err(error) = self
            .consumer
            .subscribe(topics.iter().map(|topic| topic.as_str()))
        {
            self.notes.stuck(&format!("cannot subscribe: {error}"));
            return;
        }
        let mut polls_left = random.pick(&[40_u32, 400, 4000]);
        while !*signals.stop.borrow() {
            let settles = *signals.settle.borrow();
            if polls_left == 0 && !settles {
                break;
            }
            polls_left = polls_left.saturating_sub(1);
            let timeout = Duration::from_millis(random.pick(&[10, 50, 200]));
            match self.consumer.poll(timeout).await {
                Ok(records) => self.took(&records),
                Err(error) => {
                    self.notes.failed(&error);
                    if matches!(error, ConsumerError::Group { .. }) {
                        break;
                    }
                    self.io.sleep(random.micros(10_000..=200_000)).await;
                }
            }
            self.holds();
            if random.chance(1, 20) {
                self.echo().await;
            }
            if random.chance(1, 3) {
                self.commit().await;
            }
            if random.chance(1, 300) && !settles {
                // Long enough to be given up, now and then.
                self.io.sleep(random.micros(100_000..=8_000_000)).await;
            }
        }
        self.commit().await;
        // What could not be committed is read again by others.
        let _ = self.consumer.close().await;
        self.notes.holds(-1, Vec::new());
    }

    fn took(&self, records: &[ConsumerRecord]) {
        for record in records {
            let next = record.offset + 1;
            let partition = self.notes.took(record);
            self.progress.reached(&partition, next);
        }
    }

    fn holds(&self) {
        let generation = self
            .consumer
            .group_metadata()
            .map_or(-1, |own| own.generation);
        let partitions = self.consumer.assignment();
        let partitions = partitions.iter().map(|one| self.notes.partition(one));
        self.notes.holds(generation, partitions.collect());
    }

    /// An old commit of its own arrives late. One that is accepted counts as sent now.
    async fn echo(&mut self) {
        let generation = self.consumer.group_metadata().map(|own| own.generation);
        if let Some(accepted) = self.echo.arrive(generation.unwrap_or(-1)).await {
            let commit = self.notes.next_commit();
            self.notes
                .commit_sent(commit, accepted.partition, accepted.offset);
            self.notes.work(Work::CommitAcknowledged { commit });
        }
    }

    async fn commit(&mut self) {
        let sent = self.notes.commits(None);
        if sent.is_empty() {
            return;
        }
        let offsets = sent
            .iter()
            .map(|(partition, _, offset)| (partition.clone(), OffsetAndMetadata::new(*offset)));
        let member = self.consumer.group_metadata();
        let outcome = self.consumer.commit_offsets(offsets.collect()).await;
        if let (Ok(()), Some(member)) = (&outcome, member) {
            let (partition, _, offset) = &sent[0];
            self.echo.remember(OldCommit {
                group: member.group,
                generation: member.generation,
                member_id: member.member_id,
                partition: self.notes.partition(partition),
                offset: *offset,
            });
        }
        self.notes.committed(&sent, outcome);
    }
}

/// What a membership has seen, told as it happens. Clones are the same: one is the listener.
#[derive(Clone)]
struct Notes {
    recorder: Recorder,
    node: NodeId,
    group: Arc<str>,
    consumer: u32,
    state: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Given, and nothing read since: the next record shows where reading began.
    fresh: BTreeSet<ClientPartition>,
    /// Behind what was handed out, and how far of that a commit was sent.
    positions: BTreeMap<ClientPartition, (i64, i64)>,
    commits: u64,
    held: Option<(i32, Vec<TopicPartition>)>,
}

/// A commit of one partition: which, its number in this run, and the offset.
type Commit = (ClientPartition, u64, i64);

impl Notes {
    fn new(io: &SimIo, recorder: &Recorder, plan: &MemberPlan, consumer: u32) -> Self {
        Self {
            recorder: recorder.clone(),
            node: io.process().node(),
            group: Arc::clone(&plan.group),
            consumer,
            state: Arc::default(),
        }
    }

    fn partition(&self, one: &ClientPartition) -> TopicPartition {
        TopicPartition {
            topic: (&*one.topic).into(),
            partition: one.partition,
        }
    }

    fn work(&self, work: Work) {
        self.recorder.work(self.node, work);
    }

    fn stuck(&self, text: &str) {
        self.work(Work::Stuck(format!("member {}: {text}", self.consumer)));
    }

    fn took(&self, record: &ConsumerRecord) -> TopicPartition {
        let of = record.topic_partition();
        let partition = self.partition(&of);
        let (consumer, offset) = (self.consumer, record.offset);
        let mut state = lock(&self.state);
        if state.fresh.remove(&of) {
            self.work(Work::Resumed {
                group: Arc::clone(&self.group),
                consumer,
                partition: partition.clone(),
                offset,
            });
            self.work(Work::Positioned {
                consumer,
                partition: partition.clone(),
                offset,
            });
            state.positions.insert(of.clone(), (offset, offset));
        }
        if let Some((position, _)) = state.positions.get_mut(&of) {
            *position = offset + 1;
        }
        let contents = payload::decode(record.value.as_deref().unwrap_or_default(), &partition);
        self.work(Work::Read {
            consumer,
            partition: partition.clone(),
            offset,
            contents,
        });
        partition
    }

    /// A damaged batch was handed to the application as an error: the log must not hold one.
    fn failed(&self, error: &ConsumerError) {
        if let ConsumerError::Corrupt {
            partition, offset, ..
        } = error
        {
            self.work(Work::Read {
                consumer: self.consumer,
                partition: self.partition(partition),
                offset: *offset,
                contents: Contents::Changed { digest: 0 },
            });
        }
    }

    fn holds(&self, generation: i32, partitions: Vec<TopicPartition>) {
        let mut state = lock(&self.state);
        let now = Some((generation, partitions));
        if state.held != now {
            if let Some((generation, partitions)) = now.clone() {
                self.work(Work::Assigned {
                    group: Arc::clone(&self.group),
                    consumer: self.consumer,
                    generation,
                    partitions,
                });
            }
            state.held = now;
        }
    }

    /// Tells of the commits that are sent now: of all that moved, or of `only` these.
    fn commits(&self, only: Option<&BTreeSet<ClientPartition>>) -> Vec<Commit> {
        let mut state = lock(&self.state);
        let mut number = state.commits;
        let mut sent = Vec::new();
        for (partition, (position, committed)) in &mut state.positions {
            let wanted = only.is_none_or(|only| only.contains(partition));
            if wanted && position > committed {
                number += 1;
                *committed = *position;
                sent.push((partition.clone(), self.commit_number(number), *position));
            }
        }
        state.commits = number;
        drop(state);
        for (partition, commit, offset) in &sent {
            self.commit_sent(*commit, self.partition(partition), *offset);
        }
        sent
    }

    /// The number of one commit more.
    fn next_commit(&self) -> u64 {
        let mut state = lock(&self.state);
        state.commits += 1;
        self.commit_number(state.commits)
    }

    fn commit_number(&self, count: u64) -> u64 {
        (u64::from(self.consumer) << 32) | count
    }

    fn commit_sent(&self, commit: u64, partition: TopicPartition, offset: i64) {
        self.work(Work::CommitSent {
            group: Arc::clone(&self.group),
            consumer: self.consumer,
            commit,
            partition,
            offset,
        });
    }

    fn committed(&self, sent: &[Commit], outcome: Result<(), ConsumerError>) {
        for (_, commit, _) in sent {
            let commit = *commit;
            self.work(match &outcome {
                Ok(()) => Work::CommitAcknowledged { commit },
                Err(error) => Work::CommitFailed {
                    commit,
                    error: error.to_string(),
                },
            });
        }
    }

    fn named(&self, partitions: &BTreeSet<ClientPartition>) -> Vec<TopicPartition> {
        partitions.iter().map(|one| self.partition(one)).collect()
    }

    fn gone(&self, partitions: &BTreeSet<ClientPartition>, lost: bool) {
        self.work(Work::Gave {
            group: Arc::clone(&self.group),
            consumer: self.consumer,
            partitions: self.named(partitions),
            lost,
        });
        let mut state = lock(&self.state);
        for partition in partitions {
            state.fresh.remove(partition);
            state.positions.remove(partition);
        }
    }
}

impl RebalanceListener for Notes {
    fn revoked(
        &mut self,
        partitions: &BTreeSet<ClientPartition>,
    ) -> BTreeMap<ClientPartition, OffsetAndMetadata> {
        // Whether these come through is not told: they stay open.
        let sent = self.commits(Some(partitions));
        self.gone(partitions, false);
        sent.into_iter()
            .map(|(partition, _, offset)| (partition, OffsetAndMetadata::new(offset)))
            .collect()
    }

    fn lost(&mut self, partitions: &BTreeSet<ClientPartition>) {
        self.gone(partitions, true);
    }

    fn assigned(&mut self, partitions: &BTreeSet<ClientPartition>) {
        self.work(Work::Took {
            group: Arc::clone(&self.group),
            consumer: self.consumer,
            partitions: self.named(partitions),
        });
        for partition in partitions {
            self.work(Work::CommitAsked {
                group: Arc::clone(&self.group),
                consumer: self.consumer,
                partition: self.partition(partition),
            });
        }
        lock(&self.state).fresh.extend(partitions.iter().cloned());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_the_furthest_of_all_members() {
        let at = |partition| TopicPartition {
            topic: "t".into(),
            partition,
        };
        let progress = GroupProgress::default();
        assert!(progress.has_reached(&at(0), 0));
        progress.reached(&at(0), 7);
        progress.clone().reached(&at(0), 3);
        assert!(progress.has_reached(&at(0), 7));
        assert!(!progress.has_reached(&at(0), 8));
        assert!(!progress.has_reached(&at(1), 1));
    }
}
