//! Committed offsets: storing, reading, deleting and expiring them.
//!
//! An offset is visible once its record is durable, not before: a consumer that restarts reads what
//! a crash cannot take back. A fetch waits for the commits that came before it. Expiry follows KIP-211: offsets of a group with members stay as long
//! as the group consumes the topic; the others go when `offsets.retention.minutes` have passed
//! since the group became empty, or, where that is not known or there is no membership, since the
//! commit.

use alloc::vec::Vec;

use ottla_wire::{Str, Uuid};

use super::{
    Output, Ticket,
    classic::GroupState,
    records::StoredOffset,
    request::{
        CommitTopic, FetchedOffset, FetchedTopic, GroupError, OffsetCommit, OffsetDelete,
        OffsetFetch, Response, TopicName, TopicResults,
    },
    shard::{Group, GroupShard},
    timer::{TimerKey, TimerReason},
    writes::{Change, Then},
};
use crate::{
    limits::GROUP_STRING_BYTES_MAX,
    time::{Duration, Now, Timestamp},
};

impl GroupShard {
    pub(super) fn offset_commit(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &OffsetCommit,
        out: &mut Vec<Output>,
    ) {
        let id = request.group_id.detach();
        if let Err(error) = self.validate_commit(now, &id, request) {
            self.forget_if_nothing(&id);
            let response = Response::OffsetCommit(Err(error));
            return out.push(Output::Reply { ticket, response });
        }
        let mut changes = Vec::new();
        let results = request
            .topics
            .iter()
            .map(|topic| {
                self.commit_topic(now, &id, topic, request.retention_time_ms, &mut changes)
            })
            .collect();
        let response = Response::OffsetCommit(Ok(results));
        if changes.is_empty() {
            self.forget_if_nothing(&id);
            return out.push(Output::Reply { ticket, response });
        }
        // One batch: all of a commit, or nothing of it.
        self.count_writes(&changes, 1);
        self.append(now, changes, Then::Reply(ticket, response), out);
    }

    fn validate_commit(
        &mut self,
        now: Now,
        id: &Str,
        request: &OffsetCommit,
    ) -> Result<(), GroupError> {
        if !self.groups.contains_key(id) {
            if request.generation_id >= 0 {
                return Err(if request.knows_group_id_not_found {
                    GroupError::GroupIdNotFound
                } else {
                    GroupError::IllegalGeneration
                });
            }
            // A group without members, made by its first offset.
            self.groups.insert(id.clone(), Group::new(now.wall));
        }
        let Some(group) = self.groups.get(id).map(|g| &g.classic) else {
            return Err(GroupError::GroupIdNotFound);
        };
        group.validate_offset_commit(
            &request.member_id,
            request.group_instance_id.as_ref(),
            request.generation_id,
        )?;
        // A member that commits is alive.
        if matches!(
            group.state(),
            GroupState::Stable | GroupState::PreparingRebalance
        ) && let Some(member) = group.member(&request.member_id).map(|m| m.id.clone())
        {
            self.heard_of(now, id, &member);
        }
        Ok(())
    }

    fn commit_topic(
        &self,
        now: Now,
        id: &Str,
        topic: &CommitTopic,
        retention_time_ms: i64,
        changes: &mut Vec<Change>,
    ) -> TopicResults {
        let name = topic.topic.name.detach();
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for commit in &topic.partitions {
            if self.is_too_long(commit.metadata.as_ref()) {
                partitions.push((commit.partition, Some(GroupError::OffsetMetadataTooLarge)));
                continue;
            }
            partitions.push((commit.partition, None));
            changes.push(Change::Offset {
                group: id.clone(),
                topic: name.clone(),
                partition: commit.partition,
                stored: Some(StoredOffset::new(
                    commit,
                    topic.topic.id,
                    now.wall,
                    retention_time_ms,
                )),
            });
        }
        TopicResults {
            topic: topic.topic.clone(),
            partitions,
        }
    }

    /// Kafka counts Java's characters here, whatever the setting is called; but what a record cannot
    /// hold is too long whatever the setting says.
    fn is_too_long(&self, metadata: Option<&Str>) -> bool {
        let max = self.config.offset_metadata_max_bytes;
        metadata.is_some_and(|m| {
            m.len() > GROUP_STRING_BYTES_MAX || (m.len() > max && m.encode_utf16().count() > max)
        })
    }

    /// Lets a fetch wait for the newest write that changes the group's offsets; gives it back if there
    /// is none.
    pub(super) fn await_writes(
        &mut self,
        ticket: Ticket,
        request: OffsetFetch,
    ) -> Option<OffsetFetch> {
        let group = &request.group_id;
        if self.groups.get(group).is_none_or(|g| g.pending_writes == 0) {
            return Some(request);
        }
        let newest = self.newest_writes().find(|write| {
            let mut changes = write.changes.iter();
            changes.any(|c| matches!(c, Change::Offset { .. }) && c.group() == group)
        });
        match newest {
            Some(write) => {
                write.readers.push((ticket, request));
                None
            }
            None => Some(request),
        }
    }

    pub(super) fn answer_readers(
        &self,
        readers: Vec<(Ticket, OffsetFetch)>,
        out: &mut Vec<Output>,
    ) {
        for (ticket, request) in readers {
            let response = Response::OffsetFetch(Ok(self.offset_fetch(&request)));
            out.push(Output::Reply { ticket, response });
        }
    }

    pub(super) fn offset_fetch(&self, request: &OffsetFetch) -> Vec<FetchedTopic> {
        // A group that is being deleted has its offsets until their tombstones are durable.
        let group = self.groups.get(&request.group_id);
        let Some(topics) = &request.topics else {
            return group
                .map(|g| self.fetch_all(g, request))
                .unwrap_or_default();
        };
        topics
            .iter()
            .map(|(topic, partitions)| {
                let offsets = group.and_then(|g| g.offsets.get(&topic.name));
                let fetched = partitions.iter().map(|partition| {
                    let stored = offsets
                        .and_then(|o| o.get(partition))
                        .filter(|stored| stored.fits(topic.id));
                    self.fetched(request, &topic.name, *partition, stored)
                });
                FetchedTopic {
                    topic: topic.clone(),
                    partitions: fetched.collect(),
                }
            })
            .collect()
    }

    fn fetch_all(&self, group: &Group, request: &OffsetFetch) -> Vec<FetchedTopic> {
        group
            .offsets
            .iter()
            .map(|(topic, partitions)| FetchedTopic {
                topic: TopicName {
                    name: topic.clone(),
                    id: Uuid::ZERO,
                },
                partitions: partitions
                    .iter()
                    .map(|(partition, stored)| {
                        self.fetched(request, topic, *partition, Some(stored))
                    })
                    .collect(),
            })
            .collect()
    }

    fn fetched(
        &self,
        request: &OffsetFetch,
        topic: &Str,
        partition: i32,
        stored: Option<&StoredOffset>,
    ) -> FetchedOffset {
        let unstable = request.require_stable
            && self.has_open_transaction(&request.group_id, topic, partition);
        match stored.filter(|_| !unstable) {
            Some(stored) => FetchedOffset {
                partition,
                offset: stored.offset,
                leader_epoch: stored.leader_epoch,
                metadata: stored.metadata.clone(),
                topic_id: stored.topic_id,
                error: None,
            },
            None => FetchedOffset {
                partition,
                offset: -1,
                leader_epoch: -1,
                metadata: Str::new(),
                topic_id: Uuid::ZERO,
                error: unstable.then_some(GroupError::UnstableOffsetCommit),
            },
        }
    }

    pub(super) fn offset_delete(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &OffsetDelete,
        out: &mut Vec<Output>,
    ) {
        let mut changes = Vec::new();
        let answer = self.delete_offsets(request, &mut changes);
        let response = Response::OffsetDelete(answer);
        if changes.is_empty() {
            return out.push(Output::Reply { ticket, response });
        }
        self.append_in_parts(now, changes, Then::Reply(ticket, response), out);
    }

    fn delete_offsets(
        &self,
        request: &OffsetDelete,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<TopicResults>, GroupError> {
        if request.group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (id, group) = self
            .groups
            .get_key_value(&request.group_id)
            .ok_or(GroupError::GroupIdNotFound)?;
        match group.classic.state() {
            GroupState::Dead => return Err(GroupError::GroupIdNotFound),
            GroupState::Empty => {}
            // What a group of another protocol type uses cannot be told.
            _ if !group.classic.uses_consumer_protocol() => return Err(GroupError::NonEmptyGroup),
            _ => {}
        }
        let mut results = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in &request.topics {
            let subscribed = group.classic.is_subscribed(topic);
            let error = subscribed.then_some(GroupError::GroupSubscribedToTopic);
            results.push(TopicResults {
                topic: TopicName {
                    name: topic.clone(),
                    id: Uuid::ZERO,
                },
                partitions: partitions
                    .iter()
                    .map(|partition| (*partition, error))
                    .collect(),
            });
            if subscribed {
                continue;
            }
            let name = topic.detach();
            for partition in partitions {
                let stored = group
                    .offsets
                    .get(topic)
                    .is_some_and(|o| o.contains_key(partition));
                // One that is on its way to the log is deleted as well.
                if stored
                    || group.pending_writes > 0
                    || self.has_open_transaction(id, topic, *partition)
                {
                    changes.push(Change::Offset {
                        group: id.clone(),
                        topic: name.clone(),
                        partition: *partition,
                        stored: None,
                    });
                }
            }
        }
        Ok(results)
    }

    pub(super) fn schedule_offset_expiry(&mut self, now: Now) {
        let after = self
            .config
            .offsets_retention_check_interval
            .max(Duration::from_millis(1));
        self.set_timer(
            now,
            TimerKey::OffsetExpiry,
            TimerReason::OffsetExpiry,
            after,
        );
    }

    /// Writes tombstones for the offsets whose time is over, and for the groups that nothing is
    /// left of.
    pub(super) fn expire_offsets(&mut self, now: Now, out: &mut Vec<Output>) {
        self.schedule_offset_expiry(now);
        let mut changes = Vec::new();
        for (id, group) in &self.groups {
            // With a commit under way, what is durable is not the newest: look again next time.
            if group.pending_writes > 0 {
                continue;
            }
            let all = self.expired(now.wall, id, group, &mut changes);
            if all
                && group.classic.is(GroupState::Empty)
                && group.classic.pending_join.is_empty()
                && group.record.is_some()
            {
                changes.push(Change::Group {
                    group: id.clone(),
                    value: None,
                });
            }
        }
        if !changes.is_empty() {
            self.append_in_parts(now, changes, Then::Nothing, out);
        }
    }

    /// Collects a group's expired offsets; true if that is all of them.
    fn expired(&self, now: Timestamp, id: &Str, group: &Group, changes: &mut Vec<Change>) -> bool {
        let classic = &group.classic;
        let since_empty = match (&classic.protocol_type, classic.state()) {
            (None, GroupState::Empty | GroupState::Dead) => None,
            (Some(_), GroupState::Empty) => classic.state_since,
            (Some(_), GroupState::Stable)
                if classic.uses_consumer_protocol() && classic.subscribed.is_some() =>
            {
                None
            }
            _ => return group.offsets.is_empty(),
        };
        let retention =
            i64::try_from(self.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let mut all = true;
        for (topic, partitions) in &group.offsets {
            let subscribed = classic.is_subscribed(topic);
            for (partition, stored) in partitions {
                let since = since_empty.unwrap_or(stored.committed);
                let over = match stored.expires {
                    Some(expires) => now >= expires,
                    None => now.0.saturating_sub(since.0) >= retention,
                };
                if over && !subscribed && !self.has_open_transaction(id, topic, *partition) {
                    changes.push(Change::Offset {
                        group: id.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                        stored: None,
                    });
                } else {
                    all = false;
                }
            }
        }
        all
    }
}
