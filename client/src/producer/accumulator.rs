//! All that waits to be sent: batches of every partition, when they are ready, and in which requests
//! they go.
//!
//! A pure machine: it is told the time, the leaders and the outcomes, and says what to send. A batch
//! is ready when it is full or a later one exists, when it lingered long enough, when its producer is
//! flushed or closed, when the buffer is full, or when it was sent before. Once one partition of a
//! broker has a ready batch, all that waits for that broker goes with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use ottla_core::time::Instant;
use ottla_wire::records::{Compression, RecordHeader};

use super::{
    batch::{Batch, ProducerIdentity},
    delivery::Delivery,
    partition::{Next, Outcome, PartitionQueue, Rules, SharedIdentity},
    record::SendFailure,
};
use crate::types::TopicPartition;

/// What the accumulator must know of the producer's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccumulatorConfig {
    pub(crate) rules: Rules,
    pub(crate) batch_size: usize,
    pub(crate) max_request_size: usize,
    pub(crate) linger: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) compression: Compression,
}

/// A batch in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) partition: TopicPartition,
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Requests: the broker, and at most one batch of each partition.
    pub(crate) requests: Vec<(i32, Vec<Sending>)>,
    /// A batch waits for the producer to get an id.
    pub(crate) needs_identity: bool,
    /// A partition with a batch has no known leader.
    pub(crate) needs_leader: bool,
    /// When to ask again, if nothing happens before.
    pub(crate) next_at: Option<Instant>,
    /// Bytes of `buffer.memory` that are free again.
    pub(crate) freed: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Accumulator {
    config: AccumulatorConfig,
    partitions: BTreeMap<TopicPartition, PartitionQueue>,
    /// Those that are not empty.
    active: BTreeSet<TopicPartition>,
    identity: SharedIdentity,
    in_flight: BTreeMap<i32, usize>,
    flushing: usize,
    /// Somebody waits for memory: send what there is.
    pressed: bool,
    /// Where the last round ended, so that the next begins behind it.
    cursor: Option<TopicPartition>,
}

/// A record as the accumulator takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordRef<'a> {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [RecordHeader<'a>],
}

impl Accumulator {
    pub(crate) fn new(config: AccumulatorConfig) -> Self {
        Self {
            config,
            partitions: BTreeMap::new(),
            active: BTreeSet::new(),
            identity: SharedIdentity::default(),
            in_flight: BTreeMap::new(),
            flushing: 0,
            pressed: false,
            cursor: None,
        }
    }

    /// Adds a record, which holds `memory` bytes until its batch is done. Says whether the sender
    /// should look.
    pub(crate) fn append(
        &mut self,
        partition: &TopicPartition,
        record: RecordRef<'_>,
        memory: usize,
        now: Instant,
    ) -> Result<(Delivery, bool), SendFailure> {
        if !self.partitions.contains_key(partition) {
            let known = TopicPartition::new(partition.topic.detach(), partition.partition);
            self.partitions.insert(known, PartitionQueue::default());
        }
        // It was put there just now if it was missing.
        let Some(queue) = self.partitions.get_mut(partition) else {
            return Err(SendFailure::Closed);
        };
        let RecordRef {
            timestamp,
            key,
            value,
            headers,
        } = record;
        let limit = self.config.batch_size;
        let mut push = |batch: &mut Batch| {
            let index = batch.push(limit, timestamp, key, value, headers)?;
            batch.memory += memory;
            let completion = batch.completion.clone();
            Some((
                Delivery::new(completion, index, timestamp, partition.clone()),
                batch.size >= limit,
            ))
        };
        if let Some((delivery, full)) = queue.open_batch().and_then(&mut push) {
            return Ok((delivery, full));
        }
        let room = if value.map_or(0, <[u8]>::len) > limit {
            0
        } else {
            limit
        };
        let Some((delivery, _)) = push(queue.add_batch(now, room)) else {
            queue.drop_empty_batch();
            let detail = "the record's timestamp or size does not fit".to_owned();
            return Err(SendFailure::Batch { detail });
        };
        if !self.active.contains(partition) {
            self.active.insert(TopicPartition::new(
                partition.topic.detach(),
                partition.partition,
            ));
        }
        // A new batch means a new linger timer, and perhaps a full one before it.
        Ok((delivery, true))
    }

    /// The producer got an id (or a new one, when the epochs of the last were used up).
    pub(crate) fn set_identity(&mut self, identity: ProducerIdentity) {
        self.identity.current = Some(identity);
    }

    /// Somebody waits for memory.
    pub(crate) fn press(&mut self) {
        self.pressed = true;
    }

    /// Begins a flush: everything is ready until [`Accumulator::end_flush`]. Gives what must be done
    /// before it is over.
    pub(crate) fn begin_flush(&mut self) -> Vec<std::sync::Arc<super::delivery::Completion>> {
        self.flushing += 1;
        let active = self.active.iter().filter_map(|p| self.partitions.get(p));
        active
            .flat_map(|q| q.batches().map(|b| b.completion.clone()))
            .collect()
    }

    pub(crate) fn end_flush(&mut self) {
        self.flushing = self.flushing.saturating_sub(1);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// What to do now. `leader` tells the broker that leads a partition.
    pub(crate) fn work(
        &mut self,
        now: Instant,
        leader: impl Fn(&TopicPartition) -> Option<i32>,
    ) -> Work {
        let mut work = Work::default();
        self.expire(now, &mut work);
        let sendable = self.sendable(now, leader, &mut work);
        let mut requests: BTreeMap<i32, (usize, Vec<Sending>)> = BTreeMap::new();
        for (partition, at, node) in sendable {
            let Some(queue) = self.partitions.get_mut(&partition) else {
                continue;
            };
            let (size, sendings) = requests.entry(node).or_default();
            let Some(batch_size) = queue.batches().nth(at).map(|b| b.size) else {
                continue;
            };
            if !sendings.is_empty() && *size + batch_size > self.config.max_request_size {
                // The rest of this broker's goes with the next request.
                work.next_at = Some(now);
                continue;
            }
            let Some(batch) = queue.send(at, self.config.rules) else {
                continue;
            };
            match batch.bytes(self.config.compression) {
                Ok(bytes) => {
                    *size += bytes.len();
                    let number = batch.number;
                    self.cursor = Some(partition.clone());
                    sendings.push(Sending {
                        partition,
                        number,
                        bytes,
                    });
                }
                Err(error) => {
                    let number = batch.number;
                    let outcome = Outcome::Failed {
                        reason: error.reason,
                        may_be_written: false,
                        retry: false,
                    };
                    work.freed +=
                        self.on_outcome(&partition, number, outcome, now, |_| Duration::ZERO);
                }
            }
        }
        for (node, (_, sendings)) in requests {
            if !sendings.is_empty() {
                *self.in_flight.entry(node).or_default() += 1;
                work.requests.push((node, sendings));
            }
        }
        self.pressed = false;
        work
    }

    /// The batches that go now: partition, place in its queue, broker.
    fn sendable(
        &mut self,
        now: Instant,
        leader: impl Fn(&TopicPartition) -> Option<i32>,
        work: &mut Work,
    ) -> Vec<(TopicPartition, usize, i32)> {
        let mut candidates = Vec::new();
        let mut ready_nodes: BTreeSet<i32> = BTreeSet::new();
        let hurry = self.flushing > 0 || self.pressed;
        let rules = self.config.rules;
        let mut sooner = |at: Instant| work.next_at = Some(work.next_at.map_or(at, |n| n.min(at)));
        for partition in &self.active {
            let Some(queue) = self.partitions.get_mut(partition) else {
                continue;
            };
            if let Some(oldest) = queue.oldest() {
                sooner(oldest.after(self.config.delivery_timeout));
            }
            let at = match queue.next(now, rules, &mut self.identity) {
                Next::Send(at) => at,
                Next::NotBefore(at) => {
                    sooner(at);
                    continue;
                }
                Next::NeedsIdentity => {
                    work.needs_identity = true;
                    continue;
                }
                Next::Wait | Next::Empty => continue,
            };
            let Some(node) = leader(partition) else {
                work.needs_leader = true;
                continue;
            };
            if self
                .in_flight
                .get(&node)
                .is_some_and(|n| *n >= rules.max_in_flight)
            {
                continue;
            }
            let Some(batch) = queue.batches().nth(at) else {
                continue;
            };
            let lingers_until = batch.created.after(self.config.linger);
            let later = queue.batches().nth(at + 1).is_some();
            let full = later || batch.size >= self.config.batch_size || batch.attempts > 0;
            if full || hurry || now >= lingers_until {
                ready_nodes.insert(node);
            } else {
                sooner(lingers_until);
            }
            candidates.push((partition.clone(), at, node));
        }
        candidates.retain(|(_, _, node)| ready_nodes.contains(node));
        let start = candidates
            .iter()
            .position(|(p, _, _)| Some(p) > self.cursor.as_ref());
        candidates.rotate_left(start.unwrap_or(0));
        candidates
    }

    fn expire(&mut self, now: Instant, work: &mut Work) {
        let timeout = u64::try_from(self.config.delivery_timeout.as_nanos()).unwrap_or(u64::MAX);
        let Some(before) = now.0.checked_sub(timeout).map(Instant) else {
            return;
        };
        for partition in &self.active {
            if let Some(queue) = self.partitions.get_mut(partition)
                && queue.oldest().is_some_and(|oldest| oldest <= before)
            {
                work.freed += queue.expire(before).iter().map(|b| b.memory).sum::<usize>();
            }
        }
        self.forget_empty();
    }

    fn forget_empty(&mut self) {
        let partitions = &self.partitions;
        self.active
            .retain(|p| partitions.get(p).is_some_and(|q| !q.is_empty()));
    }

    /// A request to `node` has ended.
    pub(crate) fn request_done(&mut self, node: i32) {
        if let Some(n) = self.in_flight.get_mut(&node) {
            *n -= 1;
            if *n == 0 {
                self.in_flight.remove(&node);
            }
        }
    }

    /// An attempt to send a batch ended. Gives the memory that is free again.
    pub(crate) fn on_outcome(
        &mut self,
        partition: &TopicPartition,
        number: u64,
        outcome: Outcome,
        now: Instant,
        wait: impl FnOnce(u32) -> Duration,
    ) -> usize {
        let Some(queue) = self.partitions.get_mut(partition) else {
            return 0;
        };
        let done = queue.on_outcome(number, outcome, now, self.config.rules, wait);
        if queue.is_empty() {
            self.active.remove(partition);
        }
        done.map_or(0, |batch| batch.memory)
    }

    /// A newer leader of a partition is known.
    pub(crate) fn retry_now(&mut self, partition: &TopicPartition, now: Instant) {
        if let Some(queue) = self.partitions.get_mut(partition) {
            queue.retry_now(now);
        }
    }

    /// Fails everything. Gives the memory that is free again.
    pub(crate) fn fail_all(&mut self, reason: &SendFailure) -> usize {
        self.active.clear();
        let all = self
            .partitions
            .values_mut()
            .flat_map(|q| q.fail_all(reason));
        all.map(|batch| batch.memory).sum()
    }
}
