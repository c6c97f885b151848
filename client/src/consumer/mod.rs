//! Reading records, alone or as a member of a group.
//!
//! A [`Consumer`] reads what it is [assigned](Consumer::assign), or what its group gives it for the
//! topics that it [subscribes](Consumer::subscribe) to. Fetching, heartbeats and rebalances run in
//! tasks of their own; [`Consumer::poll`] hands out what they brought, and may be dropped at any
//! point. What is committed is what was *returned by* a poll, so each record is read at least once.
//!
//! ```no_run
//! # async fn example<I: ottla_io::Io>(io: I) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use ottla_client::consumer::{AutoOffsetReset, Consumer, ConsumerConfig};
//!
//! let config = ConsumerConfig {
//!     group_id: Some("billing".into()),
//!     auto_offset_reset: AutoOffsetReset::Earliest,
//!     ..ConsumerConfig::default()
//! };
//! let mut consumer = Consumer::new(io, ["127.0.0.1:9092"], config)?;
//! consumer.subscribe(["orders"])?;
//! for _ in 0..100 {
//!     for record in consumer.poll(Duration::from_secs(1)).await? {
//!         println!("{}: {:?}", record.offset, record.value);
//!     }
//! }
//! consumer.close().await?;
//! # Ok(())
//! # }
//! ```

pub mod assignor;
mod commits;
mod config;
mod fetched;
mod fetcher;
mod group;
mod member;
mod pattern;
mod positions;
pub(crate) mod protocol;
mod record;
mod state;

pub use assignor::Assignor;
pub use config::{AutoOffsetReset, ConsumerConfig};
pub use record::{BatchFault, ConsumerError, ConsumerRecord};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use ottla_core::time::Instant;
use ottla_io::Io;
use ottla_wire::Str;
use tokio::sync::Notify;

use self::{
    member::{Member, MemberConfig, Rebalance},
    state::{PartitionState, State},
};
use crate::{
    client::Client,
    error::ConnectError,
    offsets::PerPartition,
    sync::{Flag, lock},
    types::{OffsetAndMetadata, OffsetAndTimestamp, OffsetSpec, TopicPartition},
};

/// Who a consumer is in its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// The group.
    pub group: Str,
    /// The generation in which the present assignment was given; -1 while there is none.
    pub generation: i32,
    /// The id that the coordinator gave; empty while there is none.
    pub member_id: Str,
    /// `group.instance.id`.
    pub instance_id: Option<Str>,
}

/// Told when the group gives or takes partitions. Called within [`Consumer::poll`] and
/// [`Consumer::close`].
pub trait RebalanceListener: Send + Sync {
    /// These are to be given up; they are still ours. Gives offsets to commit before they are (with
    /// auto-commit, those of the last poll are committed anyway).
    fn revoked(
        &mut self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let _ = partitions;
        BTreeMap::new()
    }

    /// These may be somebody else's already: nothing can be committed for them.
    fn lost(&mut self, partitions: &BTreeSet<TopicPartition>) {
        let _ = partitions;
    }

    /// These are ours from now on.
    fn assigned(&mut self, partitions: &BTreeSet<TopicPartition>) {
        let _ = partitions;
    }
}

/// Reads records. See the module's documentation.
pub struct Consumer<I: Io> {
    client: Client<I>,
    inner: Arc<Inner>,
    listener: Option<Box<dyn RebalanceListener>>,
    /// Gives the topics that are subscribed to, where they were not named.
    pattern: Option<pattern::Pattern>,
    in_group: bool,
    commit_at: Instant,
}

impl<I: Io> fmt::Debug for Consumer<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// What the consumer and its tasks have in common.
#[derive(Debug)]
struct Inner {
    config: ConsumerConfig,
    state: Mutex<State>,
    /// Something happened that a poll waits for.
    poll_wake: Notify,
    /// Something happened that the group's task waits for.
    group_wake: Notify,
    /// Held by the one commit that is under way: they take effect in the order of their calls.
    committing: tokio::sync::Mutex<()>,
    closed: Flag,
    group_left: Flag,
}

impl<I: Io> Drop for Consumer<I> {
    fn drop(&mut self) {
        self.inner.closed.set();
    }
}

impl<I: Io> Consumer<I> {
    /// A consumer of the cluster that one of `bootstrap` (each `host:port`) belongs to.
    pub fn new<S: AsRef<str>>(
        io: I,
        bootstrap: impl IntoIterator<Item = S>,
        config: ConsumerConfig,
    ) -> Result<Self, ConnectError> {
        let client = Client::new(io, bootstrap, config.client.clone())?;
        let now = client.io.now().monotonic;
        let member = Member::new(
            MemberConfig {
                cooperative: config.is_cooperative(),
                is_static: config.group_instance_id.is_some(),
                heartbeat_interval: config.heartbeat_interval,
                max_poll_interval: config.max_poll_interval,
            },
            now,
        );
        let commit_at = now.after(config.auto_commit_interval);
        let inner = Arc::new(Inner {
            config,
            state: Mutex::new(State::new(member)),
            poll_wake: Notify::new(),
            group_wake: Notify::new(),
            committing: tokio::sync::Mutex::new(()),
            closed: Flag::default(),
            group_left: Flag::default(),
        });
        Ok(Self {
            client,
            inner,
            listener: None,
            pattern: None,
            in_group: false,
            commit_at,
        })
    }

    /// Has `listener` told of rebalances.
    pub fn set_rebalance_listener(&mut self, listener: impl RebalanceListener + 'static) {
        self.listener = Some(Box::new(listener));
    }

    /// Reads these topics as a member of the group, which divides their partitions. Replaces what was
    /// subscribed to before; an empty list leaves the group.
    pub fn subscribe<S: Into<Str>>(
        &mut self,
        topics: impl IntoIterator<Item = S>,
    ) -> Result<(), ConsumerError> {
        self.end_pattern();
        self.subscribe_to(topics.into_iter().map(Into::into).collect())
    }

    fn end_pattern(&mut self) {
        if self.pattern.take().is_some() {
            self.client.watch_all_topics(false);
        }
    }

    fn subscribe_to(&mut self, topics: BTreeSet<Str>) -> Result<(), ConsumerError> {
        let group = self
            .inner
            .config
            .group_id
            .clone()
            .ok_or(ConsumerError::NoGroup)?;
        topics
            .iter()
            .for_each(|topic| self.client.watch_topic(topic));
        let now = self.client.io.now().monotonic;
        let mut state = lock(&self.inner.state);
        if !self.in_group {
            state.partitions.clear();
        }
        state.member.subscribe(topics, now);
        drop(state);
        if !self.in_group {
            self.in_group = true;
            let task = group::run(self.client.clone(), Arc::clone(&self.inner), group);
            self.client
                .io
                .spawn_detached("consumer-group", Box::pin(task));
        }
        self.inner.group_wake.notify_one();
        Ok(())
    }

    /// Leaves the group and reads nothing any more.
    pub fn unsubscribe(&mut self) {
        self.end_pattern();
        let now = self.client.io.now().monotonic;
        let mut state = lock(&self.inner.state);
        state.member.subscribe(BTreeSet::new(), now);
        state.partitions.clear();
        drop(state);
        self.inner.group_wake.notify_one();
    }

    /// Reads these partitions, whatever a group does. Those that were assigned before keep their
    /// positions.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let mut state = lock(&self.inner.state);
        let mut before = std::mem::take(&mut state.partitions);
        for partition in partitions {
            self.client.watch_topic(&partition.topic);
            let kept = before.remove(&partition);
            let kept = kept.unwrap_or_else(|| PartitionState::new(state.new_version()));
            state.partitions.insert(partition, kept);
        }
        drop(state);
        self.inner.poll_wake.notify_one();
    }

    /// The partitions that are read now.
    #[must_use]
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        lock(&self.inner.state).partitions.keys().cloned().collect()
    }

    /// Who this consumer is in its group, as of its last poll; `None` outside of a group. Belongs to
    /// [`Self::assignment`]: both change together, within a poll.
    #[must_use]
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        let config = &self.inner.config;
        let group = config.group_id.clone().filter(|_| self.in_group)?;
        let (generation, member_id) = lock(&self.inner.state).identity.clone();
        Some(GroupMetadata {
            group,
            generation,
            member_id,
            instance_id: config.group_instance_id.clone(),
        })
    }

    /// Records, as soon as there are some; none after `timeout`.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ConsumerError> {
        let deadline = self.client.io.now().monotonic.after(timeout);
        loop {
            let now = self.client.io.now().monotonic;
            self.follow_pattern()?;
            self.tend_group(now).await;
            if self.inner.config.auto_commit && now >= self.commit_at {
                self.commit_at = now.after(self.inner.config.auto_commit_interval);
                self.commit_async();
            }
            positions::start(&self.client, &self.inner);
            fetcher::start(&self.client, &self.inner);
            let mut records = Vec::new();
            let taken =
                lock(&self.inner.state).take(self.inner.config.max_poll_records, &mut records);
            if !records.is_empty() {
                // What was taken made room.
                fetcher::start(&self.client, &self.inner);
                return Ok(records);
            }
            taken?;
            let now = self.client.io.now().monotonic;
            if now >= deadline {
                return Ok(Vec::new());
            }
            let left = deadline.since(now);
            // Time is up: the next round ends it.
            let _ = self
                .client
                .io
                .timeout(left, self.inner.poll_wake.notified())
                .await;
        }
    }

    /// Tells the group's task that the application is alive, and does what a rebalance asks for.
    async fn tend_group(&mut self, now: Instant) {
        if !self.in_group {
            return;
        }
        {
            let mut state = lock(&self.inner.state);
            let mut wakes = state.member.polled(now);
            let metadata = self.client.metadata();
            let changed = |counts: &BTreeMap<Str, i32>| {
                counts.iter().any(|(topic, count)| {
                    let known = metadata.topics.get(topic).map(|t| t.partitions.len());
                    known.is_some_and(|n| i32::try_from(n).is_ok_and(|n| n != *count))
                })
            };
            if state.led_counts.as_ref().is_some_and(changed) {
                state.led_counts = None;
                state.member.request_rejoin();
                wakes = true;
            }
            if wakes {
                self.inner.group_wake.notify_one();
            }
        }
        loop {
            let pending = {
                let mut state = lock(&self.inner.state);
                let pending = state.member.pending().cloned();
                if pending.is_none() {
                    state.identity = (state.member.generation, state.member.member_id.clone());
                }
                pending
            };
            let Some(pending) = pending else { break };
            self.rebalance(&pending).await;
            self.inner.group_wake.notify_one();
        }
    }

    async fn rebalance(&mut self, change: &Rebalance) {
        if !change.revoked.is_empty() {
            let mut offsets = BTreeMap::new();
            if self.inner.config.auto_commit {
                offsets = lock(&self.inner.state).positions(Some(&change.revoked));
            }
            if let Some(listener) = &mut self.listener {
                offsets.extend(listener.revoked(&change.revoked));
            }
            if !offsets.is_empty()
                && let Err(error) = self.commit_offsets(offsets).await
            {
                tracing::warn!(%error, "offsets could not be committed before their partitions were revoked");
            }
        }
        if let Some(listener) = self.listener.as_mut().filter(|_| !change.lost.is_empty()) {
            listener.lost(&change.lost);
        }
        let mut state = lock(&self.inner.state);
        for gone in change.revoked.iter().chain(&change.lost) {
            state.partitions.remove(gone);
        }
        // Asked only now: the member may have lost its place while the commit was under way.
        let assigned = state.member.rebalanced(change);
        for new in &assigned {
            let version = state.new_version();
            state
                .partitions
                .insert(new.clone(), PartitionState::new(version));
            self.client.watch_topic(&new.topic);
        }
        drop(state);
        if let Some(listener) = self.listener.as_mut().filter(|_| !assigned.is_empty()) {
            listener.assigned(&assigned);
        }
    }

    fn with_partition<T>(
        &self,
        partition: &TopicPartition,
        f: impl FnOnce(&mut PartitionState) -> T,
    ) -> Result<T, ConsumerError> {
        let mut state = lock(&self.inner.state);
        let version = state.new_version();
        let known = state.partitions.get_mut(partition);
        let known = known.ok_or_else(|| ConsumerError::NotAssigned(partition.clone()))?;
        known.next_version = version;
        let done = f(known);
        drop(state);
        self.inner.poll_wake.notify_one();
        Ok(done)
    }

    /// Goes on reading a partition at `offset`.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), ConsumerError> {
        self.with_partition(partition, |p| {
            p.version = p.next_version;
            p.move_to(offset.max(0), -1);
        })
    }

    /// Goes on reading a partition at its beginning, its end, or the first record of some time.
    pub fn seek_to(
        &mut self,
        partition: &TopicPartition,
        spec: OffsetSpec,
    ) -> Result<(), ConsumerError> {
        self.with_partition(partition, |p| {
            p.version = p.next_version;
            p.reset_to(spec);
        })
    }

    /// Stops handing out records of a partition.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), ConsumerError> {
        self.with_partition(partition, |p| p.paused = true)
    }

    /// Hands out records of a partition again.
    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), ConsumerError> {
        self.with_partition(partition, |p| p.paused = false)
    }

    /// The offset of the next record that a poll returns; `None` while it is not known.
    pub fn position(&self, partition: &TopicPartition) -> Result<Option<i64>, ConsumerError> {
        self.with_partition(partition, |p| p.position.map(|(offset, _)| offset))
    }

    /// A partition's high watermark as the last fetch saw it; `None` before the first.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Result<Option<i64>, ConsumerError> {
        self.with_partition(partition, |p| Some(p.high_watermark).filter(|w| *w >= 0))
    }

    /// Offsets of any partitions, assigned or not.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> PerPartition<OffsetAndTimestamp> {
        let deadline = self
            .client
            .io
            .now()
            .monotonic
            .after(self.client.config().api_timeout);
        self.client
            .list_offsets(wanted, self.inner.config.isolation_level, deadline)
            .await
    }

    /// How many partitions a topic has, waiting until it is known.
    pub async fn partitions(&self, topic: &str) -> Result<i32, ConsumerError> {
        let deadline = self
            .client
            .io
            .now()
            .monotonic
            .after(self.client.config().api_timeout);
        let known = self.client.wait_for_topic(&topic.into(), deadline).await;
        let metadata = known.map_err(|error| ConsumerError::Topics {
            topics: [topic.into()].into(),
            error,
        })?;
        let count = metadata.topics.get(topic).map_or(0, |t| t.partitions.len());
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// Commits (with auto-commit on), leaves the group and closes the connections.
    pub async fn close(mut self) -> Result<(), ConsumerError> {
        let mut result = Ok(());
        // Also what was read alone, under the name of a group.
        if self.inner.config.auto_commit && self.inner.config.group_id.is_some() {
            let offsets = lock(&self.inner.state).positions(None);
            if !offsets.is_empty() {
                result = self.commit_offsets(offsets).await;
            }
        }
        if self.in_group {
            let held: BTreeSet<TopicPartition> = self.assignment();
            if let Some(listener) = self.listener.as_mut().filter(|_| !held.is_empty()) {
                let offsets = listener.revoked(&held);
                if !offsets.is_empty() {
                    result = result.and(self.commit_offsets(offsets).await);
                }
            }
        }
        self.inner.closed.set();
        if self.in_group {
            self.inner.group_left.wait().await;
        }
        self.client.close().await;
        result
    }
}
