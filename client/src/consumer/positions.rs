//! Where to begin: committed offsets, else what `auto.offset.reset` says.

use std::{collections::BTreeMap, sync::Arc};

use ottla_io::Io;

use super::{Inner, config::AutoOffsetReset, record::ConsumerError};
use crate::{
    client::Client,
    commit,
    sync::lock,
    types::{OffsetSpec, TopicPartition},
};

impl OffsetSpec {
    pub(super) fn for_reset(reset: AutoOffsetReset) -> Option<Self> {
        match reset {
            AutoOffsetReset::Earliest => Some(Self::Earliest),
            AutoOffsetReset::Latest => Some(Self::Latest),
            AutoOffsetReset::None => None,
        }
    }
}

/// Starts looking for the positions of partitions that have none, unless that is under way.
pub(super) fn start<I: Io>(client: &Client<I>, inner: &Arc<Inner>) {
    let mut state = lock(&inner.state);
    let wanted: BTreeMap<TopicPartition, (u64, Option<OffsetSpec>)> = state
        .partitions
        .iter()
        .filter(|(_, p)| p.position.is_none() && !p.stuck)
        .map(|(partition, p)| (partition.clone(), (p.version, p.reset)))
        .collect();
    if wanted.is_empty() || state.positioning {
        return;
    }
    state.positioning = true;
    drop(state);
    let (task_client, task_inner) = (client.clone(), Arc::clone(inner));
    client.io.spawn_detached(
        "consumer-positions",
        Box::pin(async move {
            let found = find(&task_client, &task_inner, &wanted);
            let errors = tokio::select! {
                biased;
                errors = found => errors,
                () = task_inner.closed.wait() => Vec::new(),
            };
            let failed = !errors.is_empty();
            {
                let mut state = lock(&task_inner.state);
                state.errors.extend(errors);
            }
            if failed {
                task_client.io.sleep(task_client.retry_wait(0)).await;
            }
            lock(&task_inner.state).positioning = false;
            task_inner.poll_wake.notify_one();
        }),
    );
}

async fn find<I: Io>(
    client: &Client<I>,
    inner: &Inner,
    wanted: &BTreeMap<TopicPartition, (u64, Option<OffsetSpec>)>,
) -> Vec<ConsumerError> {
    let mut errors = Vec::new();
    let mut specs: BTreeMap<TopicPartition, OffsetSpec> = BTreeMap::new();
    let fresh: Vec<TopicPartition> = wanted
        .iter()
        .filter(|(_, (_, reset))| reset.is_none())
        .map(|(p, _)| p.clone())
        .collect();
    for (partition, (_, reset)) in wanted {
        specs.extend(reset.map(|spec| (partition.clone(), spec)));
    }
    let mut committed = BTreeMap::new();
    if let Some(group) = inner.config.group_id.as_ref().filter(|_| !fresh.is_empty()) {
        match commit::fetch_committed(client, group, Some(&fresh), true).await {
            Ok(found) => committed = found,
            Err(error) => {
                // Without knowing what is committed nothing may be reset.
                let group = group.clone();
                return vec![ConsumerError::Group { group, error }];
            }
        }
    }
    let reset = OffsetSpec::for_reset(inner.config.auto_offset_reset);
    for partition in fresh {
        match (committed.get(&partition), reset) {
            (Some(committed), _) => {
                let epoch = committed.leader_epoch.unwrap_or(-1);
                set(inner, wanted, &partition, committed.offset, epoch);
            }
            (None, Some(spec)) => {
                specs.insert(partition, spec);
            }
            (None, None) => {
                if let Some(p) = lock(&inner.state).partitions.get_mut(&partition) {
                    p.stuck = true;
                }
                errors.push(ConsumerError::NoOffset(partition));
            }
        }
    }
    inner.poll_wake.notify_one();
    if specs.is_empty() {
        return errors;
    }
    let deadline = client.io.now().monotonic.after(client.config().api_timeout);
    let answers = client
        .list_offsets(&specs, inner.config.isolation_level, deadline)
        .await;
    for (partition, answer) in answers {
        match answer {
            Ok(found) => set(inner, wanted, &partition, found.offset, -1),
            Err(error) => errors.push(ConsumerError::Partition { partition, error }),
        }
    }
    errors
}

/// Sets a position, unless the application or a rebalance was faster.
fn set(
    inner: &Inner,
    wanted: &BTreeMap<TopicPartition, (u64, Option<OffsetSpec>)>,
    partition: &TopicPartition,
    offset: i64,
    epoch: i32,
) {
    let mut state = lock(&inner.state);
    let version = wanted.get(partition).map(|(version, _)| *version);
    if let Some(p) = state.partitions.get_mut(partition)
        && Some(p.version) == version
    {
        p.move_to(offset.max(0), epoch);
    }
}
