//! Committing, and asking for what was committed.

use std::{collections::BTreeMap, sync::Arc};

use ottla_io::Io;
use ottla_wire::ErrorCode;

use super::{Consumer, Inner, record::ConsumerError};
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
        commit_all(&self.client, &self.inner, offsets).await
    }

    /// Begins to commit what the polls so far returned, and does not wait. A failure is logged; the
    /// next commit makes up for it.
    pub fn commit_async(&self) {
        let offsets = lock(&self.inner.state).positions(None);
        if offsets.is_empty() || self.inner.config.group_id.is_none() {
            return;
        }
        let (client, inner) = (self.client.clone(), Arc::clone(&self.inner));
        self.client.io.spawn_detached(
            "consumer-commit",
            Box::pin(async move {
                if let Err(error) = commit_all(&client, &inner, offsets).await {
                    tracing::warn!(%error, "offsets could not be committed");
                }
            }),
        );
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

async fn commit_all<I: Io>(
    client: &Client<I>,
    inner: &Inner,
    mut offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Result<(), ConsumerError> {
    let group = inner
        .config
        .group_id
        .clone()
        .ok_or(ConsumerError::NoGroup)?;
    // As who we were when this was read: a later generation must not commit for an earlier one.
    let committer = {
        let state = lock(&inner.state);
        let member = &state.member;
        if member.topics.is_empty() && !member.is_stable() {
            Committer::outside(group)
        } else if !member.is_stable() {
            let between = BrokerError::new(ErrorCode::RebalanceInProgress);
            return Err(ConsumerError::CommitFenced(between));
        } else {
            let instance_id = inner.config.group_instance_id.clone();
            let (generation, member_id) = (member.generation, member.member_id.clone());
            Committer {
                group,
                generation,
                member_id,
                instance_id,
            }
        }
    };
    let mut retry = Retry::new(client);
    while !offsets.is_empty() {
        let coordinator = client
            .wait_for_coordinator(&committer.group)
            .await
            .map_err(ConsumerError::Commit)?;
        let answers = match commit::commit(client, coordinator, &committer, &offsets).await {
            Ok(answers) => answers,
            Err(error) if error.is_retriable() && retry.pause().await => continue,
            Err(error) => return Err(ConsumerError::Commit(GroupError::Request(error))),
        };
        for (partition, answer) in answers {
            match answer {
                Ok(()) => {
                    offsets.remove(&partition);
                }
                Err(error) if error.code.is_retriable() => {}
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
        if !offsets.is_empty() && !retry.pause().await {
            return Err(ConsumerError::TimedOut);
        }
    }
    Ok(())
}
