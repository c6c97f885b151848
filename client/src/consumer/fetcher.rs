//! Fetching: one request at a time to each leader, for all of its partitions that have room.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str, Uuid,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
    },
};

use super::{
    Inner, State,
    config::AutoOffsetReset,
    fetched::{Aborted, Fetched, ReadRules},
    record::ConsumerError,
};
use crate::{
    client::{Client, Lane},
    error::BrokerError,
    offsets::PartitionError,
    sync::lock,
    types::{IsolationLevel, OffsetSpec, TopicPartition},
};

/// Fetched pieces of one partition that may wait to be handed out.
const BUFFERED_MAX: usize = 2;

/// From this version of Fetch on a leader says where its log diverges from what was fetched.
const LAST_FETCHED_EPOCH: i16 = 12;

/// A partition in a fetch: what it was when it was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    offset: i64,
    /// The leader epoch of what was fetched before it.
    epoch: i32,
    version: u64,
}

/// Starts a fetch from each leader that has none under way and something to fetch.
///
/// A leader that has a partition with enough fetched waits until the application has taken some of
/// it: a fetch without that partition would wait at the broker for the others' next record, and the
/// partition with it, which may be empty again by then.
pub(super) fn start<I: Io>(client: &Client<I>, inner: &Arc<Inner>) {
    let metadata = client.metadata();
    let mut by_node: BTreeMap<i32, BTreeMap<TopicPartition, Asked>> = BTreeMap::new();
    let mut unknown = false;
    {
        let mut state = lock(&inner.state);
        let State {
            partitions,
            fetching,
            ..
        } = &mut *state;
        let mut full = BTreeSet::new();
        for (partition, p) in partitions.iter() {
            if p.position.is_none() || p.paused || p.fetching {
                continue;
            }
            let Some((node, _)) = metadata.leader(&partition.topic, partition.partition) else {
                unknown = true;
                continue;
            };
            if p.buffered >= BUFFERED_MAX {
                full.insert(node);
            } else if !fetching.contains(&node) {
                let asked = Asked {
                    offset: p.fetch_offset,
                    epoch: p.fetch_epoch,
                    version: p.version,
                };
                by_node
                    .entry(node)
                    .or_default()
                    .insert(partition.clone(), asked);
            }
        }
        by_node.retain(|node, _| !full.contains(node));
        for (node, asked) in &by_node {
            fetching.insert(*node);
            for partition in asked.keys() {
                if let Some(p) = partitions.get_mut(partition) {
                    p.fetching = true;
                }
            }
        }
        unknown |= client.metadata_is_old();
        if unknown && !std::mem::replace(&mut state.refreshing, true) {
            let (client, inner, seen) = (client.clone(), Arc::clone(inner), metadata.version);
            let io = client.io.clone();
            io.spawn_detached(
                "consumer-metadata",
                Box::pin(async move {
                    client.io.sleep(client.retry_wait(0)).await;
                    // If it fails it is asked for again as long as it is needed.
                    let _ = client.refresh_metadata(seen).await;
                    lock(&inner.state).refreshing = false;
                    inner.poll_wake.notify_one();
                }),
            );
        }
    }
    for (node, asked) in by_node {
        let task = fetch(client.clone(), Arc::clone(inner), node, asked);
        client.io.spawn_detached("consumer-fetch", Box::pin(task));
    }
}

async fn fetch<I: Io>(
    client: Client<I>,
    inner: Arc<Inner>,
    node: i32,
    asked: BTreeMap<TopicPartition, Asked>,
) {
    let answer = tokio::select! {
        biased;
        answer = request(&client, &inner, node, &asked) => Some(answer),
        () = inner.closed.wait() => None,
    };
    let mut stale = false;
    let mut failed = false;
    {
        let mut state = lock(&inner.state);
        for partition in asked.keys() {
            if let Some(p) = state.partitions.get_mut(partition) {
                p.fetching = false;
            }
        }
        match &answer {
            Some(Ok(response)) => stale = take(&client, &inner, &mut state, response, &asked),
            Some(Err(_)) => failed = true,
            None => {}
        }
    }
    if failed || stale {
        client.io.sleep(client.retry_wait(0)).await;
        // If it fails the next fetch finds out.
        let _ = client.refresh_metadata(client.metadata().version).await;
    }
    lock(&inner.state).fetching.remove(&node);
    inner.poll_wake.notify_one();
}

async fn request<I: Io>(
    client: &Client<I>,
    inner: &Inner,
    node: i32,
    asked: &BTreeMap<TopicPartition, Asked>,
) -> Result<FetchResponse, crate::RequestError> {
    let config = &inner.config;
    let metadata = client.metadata();
    let id_of = |topic: &str| metadata.topics.get(topic).map_or(Uuid::ZERO, |t| t.id);
    let mut topics: BTreeMap<Str, Vec<FetchPartition>> = BTreeMap::new();
    for (partition, asked) in asked {
        let leader = metadata.leader(&partition.topic, partition.partition);
        topics
            .entry(partition.topic.clone())
            .or_default()
            .push(FetchPartition {
                partition: partition.partition,
                current_leader_epoch: leader.map_or(-1, |(_, epoch)| epoch),
                fetch_offset: asked.offset,
                // The leader tells if its log is another than what was fetched.
                last_fetched_epoch: asked.epoch,
                partition_max_bytes: config.max_partition_fetch_bytes,
                ..Default::default()
            });
    }
    // From version 13 on topics go by their ids.
    let cap = if topics.keys().all(|t| !id_of(t).is_zero()) {
        i16::MAX
    } else {
        12
    };
    let build = |version: i16| FetchRequest {
        max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.fetch_min_bytes,
        max_bytes: config.fetch_max_bytes,
        isolation_level: config.isolation_level.code(),
        rack_id: config.client_rack.clone().unwrap_or_default(),
        topics: topics
            .into_iter()
            .map(|(topic, mut partitions)| FetchTopic {
                topic_id: id_of(&topic),
                topic,
                partitions: {
                    if version < LAST_FETCHED_EPOCH {
                        partitions
                            .iter_mut()
                            .for_each(|p| p.last_fetched_epoch = -1);
                    }
                    partitions
                },
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let timeout = client.config().request_timeout + config.fetch_max_wait;
    Ok(client
        .call_within(node, Lane::Fetch, cap, timeout, build)
        .await?
        .1)
}

/// Takes what came; says whether the metadata is stale.
fn take<I: Io>(
    client: &Client<I>,
    inner: &Inner,
    state: &mut State,
    response: &FetchResponse,
    asked: &BTreeMap<TopicPartition, Asked>,
) -> bool {
    let mut stale = ErrorCode::from(response.error_code) != ErrorCode::None;
    let metadata = client.metadata();
    for topic in &response.responses {
        let name = match metadata.topic_name(topic.topic_id) {
            Some(name) if !topic.topic_id.is_zero() => name.clone(),
            _ => topic.topic.detach(),
        };
        for data in &topic.partitions {
            let partition = TopicPartition::new(name.clone(), data.partition_index);
            let Some(asked) = asked.get(&partition) else {
                continue;
            };
            // A seek or a rebalance since then makes the answer worthless.
            if state
                .partitions
                .get(&partition)
                .is_some_and(|p| p.version == asked.version)
            {
                stale |= take_partition(client, inner, state, partition, data, asked.offset);
            }
        }
    }
    stale
}

fn take_partition<I: Io>(
    client: &Client<I>,
    inner: &Inner,
    state: &mut State,
    partition: TopicPartition,
    data: &PartitionData,
    offset: i64,
) -> bool {
    let Some(p) = state.partitions.get_mut(&partition) else {
        return false;
    };
    let code = ErrorCode::from(data.error_code);
    match code {
        ErrorCode::None => {}
        ErrorCode::OffsetOutOfRange if p.buffered > 0 => return false,
        ErrorCode::OffsetOutOfRange => {
            match OffsetSpec::for_reset(inner.config.auto_offset_reset) {
                Some(spec) => p.reset_to(spec),
                None => {
                    // Found again by the next fetch, if the application goes on without a seek.
                    state
                        .errors
                        .push_back(ConsumerError::OffsetOutOfRange { partition, offset });
                }
            }
            return false;
        }
        code if code.is_retriable() => {
            let (leader, epoch) = (
                data.current_leader.leader_id,
                data.current_leader.leader_epoch,
            );
            return !client.learn_leader(&partition.topic, partition.partition, leader, epoch);
        }
        ErrorCode::UnknownServerError => return true,
        code => {
            let error = PartitionError::Broker(BrokerError::new(code));
            state
                .errors
                .push_back(ConsumerError::Partition { partition, error });
            return true;
        }
    }
    let diverging = (data.diverging_epoch.end_offset, data.diverging_epoch.epoch);
    if diverging.0 >= 0 {
        let may_reset = inner.config.auto_offset_reset != AutoOffsetReset::None;
        state.diverged(&partition, diverging, may_reset);
        return false;
    }
    p.high_watermark = data.high_watermark;
    let Some(records) = data.records.as_ref().filter(|r| !r.is_empty()) else {
        return false;
    };
    let aborted = data.aborted_transactions.iter().flatten();
    let aborted = aborted
        .map(|a| Aborted {
            producer_id: a.producer_id,
            first_offset: a.first_offset,
        })
        .collect();
    let config = &inner.config;
    let rules = ReadRules {
        read_committed: config.isolation_level == IsolationLevel::ReadCommitted,
        check_crcs: config.check_crcs,
        max_batch_bytes: config.max_batch_bytes,
    };
    (p.fetch_offset, p.fetch_epoch) = Fetched::end_of((offset, p.fetch_epoch), records);
    p.buffered += 1;
    let version = p.version;
    let fetched = Fetched::new(partition, offset, records.clone(), aborted, rules);
    state.buffer.push_back((version, fetched));
    false
}
