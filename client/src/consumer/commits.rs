//! Committing, and asking for what was committed.

use std::{collections::BTreeMap, sync::Arc};

use ottla_io::Io;
use ottla_wire::ErrorCode;

use super::{
    Consumer, Inner,
    record::ConsumerError,
    state::{Commit, State},
};
use crate::{
    client::{Client, Retry},
    commit::{self, Committer},
    coordinator::GroupError,
    error::BrokerError,
    sync::lock,
    types::{OffsetAndMetadata, TopicPartition},
};

impl<I: Io> Consumer<I> {
    /// Commits what the polls so far returned.
    pub async fn commit(&self) -> Result<(), ConsumerError> {
        let offsets = lock(&self.inner.state).positions(None);
        self.commit_offsets(offsets).await
    }

    /// Commits these offsets.
    pub async fn commit_offsets(
        &self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<(), ConsumerError> {
        let commit = {
            let mut state = lock(&self.inner.state);
            state.commits.overtaken(&offsets);
            begin(&self.inner, &state, offsets)?
        };
        let _in_order = self.inner.committing.lock().await;
        commit_all(&self.client, commit).await
    }

    /// Begins to commit what the polls so far returned, and does not wait. It is tried once; a
    /// failure is logged, and the next commit makes up for it.
    pub fn commit_async(&self) {
        {
            let mut state = lock(&self.inner.state);
            let offsets = state.positions(None);
            if offsets.is_empty() {
                return;
            }
            // Between two generations nothing can be committed; the next call does it.
            let Ok(commit) = begin(&self.inner, &state, offsets) else {
                return;
            };
            if !state.commits.add(commit) {
                return;
            }
        }
        let task = run_async(self.client.clone(), Arc::clone(&self.inner));
        self.client
            .io
            .spawn_detached("consumer-commit", Box::pin(task));
    }

    /// The committed offsets of partitions; those without one are left out.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ConsumerError> {
        let group = self
            .inner
            .config
            .group_id
            .as_ref()
            .ok_or(ConsumerError::NoGroup)?;
        let fetched = commit::fetch_committed(&self.client, group, Some(partitions), true).await;
        fetched.map_err(|error| ConsumerError::Group {
            group: group.clone(),
            error,
        })
    }
}

/// A commit as who we are now: a later generation must not commit for an earlier one.
fn begin(
    inner: &Inner,
    state: &State,
    offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Result<Commit, ConsumerError> {
    let group = inner.config.group_id.clone();
    let group = group.ok_or(ConsumerError::NoGroup)?;
    let member = &state.member;
    let committer = if member.is_stable() {
        Committer {
            group,
            generation: member.generation,
            member_id: member.member_id.clone(),
            instance_id: inner.config.group_instance_id.clone(),
        }
    } else if member.topics.is_empty() {
        Committer::outside(group)
    } else {
        let between = BrokerError::new(ErrorCode::RebalanceInProgress);
        return Err(ConsumerError::CommitFenced(between));
    };
    Ok(Commit { committer, offsets })
}

/// Makes the commits that nobody waits for, until there are none or the consumer is closed.
async fn run_async<I: Io>(client: Client<I>, inner: Arc<Inner>) {
    loop {
        let one = async {
            let _in_order = inner.committing.lock().await;
            let mut commit = lock(&inner.state).commits.next()?;
            let coordinator = client.wait_for_coordinator(&commit.committer.group).await;
            Some(match coordinator.map_err(ConsumerError::Commit) {
                Ok(coordinator) => attempt(&client, coordinator, &mut commit).await,
                Err(error) => Err(error),
            })
        };
        let done = tokio::select! {
            biased;
            // The close commits what is newer.
            () = inner.closed.wait() => None,
            done = one => done,
        };
        match done {
            None => return,
            Some(Ok(None)) => {}
            Some(Ok(Some(error))) => {
                tracing::warn!(%error, "some offsets could not be committed");
            }
            Some(Err(error)) => tracing::warn!(%error, "offsets could not be committed"),
        }
    }
}

/// Tries until all is committed, refused for good, or there is no more time.
async fn commit_all<I: Io>(client: &Client<I>, mut commit: Commit) -> Result<(), ConsumerError> {
    let mut retry = Retry::new(client);
    while !commit.offsets.is_empty() {
        let coordinator = client
            .wait_for_coordinator(&commit.committer.group)
            .await
            .map_err(ConsumerError::Commit)?;
        let failed = match attempt(client, coordinator, &mut commit).await {
            Ok(None) => continue,
            Ok(Some(_)) => ConsumerError::TimedOut,
            Err(ConsumerError::Commit(GroupError::Request(error))) if error.is_retriable() => {
                error.into()
            }
            Err(error) => return Err(error),
        };
        if !retry.pause().await {
            return Err(failed);
        }
    }
    Ok(())
}

/// One request. What it committed is taken from the offsets; what is left was refused for now, as
/// the error says.
async fn attempt<I: Io>(
    client: &Client<I>,
    coordinator: i32,
    commit: &mut Commit,
) -> Result<Option<BrokerError>, ConsumerError> {
    let Commit { committer, offsets } = commit;
    let answers = commit::commit(client, coordinator, committer, offsets).await?;
    let mut for_now = None;
    for (partition, answer) in answers {
        match answer {
            Ok(()) => {
                offsets.remove(&partition);
            }
            Err(error) if error.code.is_retriable() => for_now = Some(error),
            Err(error)
                if matches!(
                    error.code,
                    ErrorCode::IllegalGeneration
                        | ErrorCode::UnknownMemberId
                        | ErrorCode::RebalanceInProgress
                ) =>
            {
                return Err(ConsumerError::CommitFenced(error));
            }
            Err(error) => return Err(ConsumerError::Commit(GroupError::Broker(error))),
        }
    }
    Ok(for_now)
}
