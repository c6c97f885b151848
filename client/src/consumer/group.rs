//! The task of a group member: does what `Member` says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
        sync_group_request::SyncGroupRequestAssignment,
    },
};

use super::{
    Inner,
    assignor::{Assignor, Subscription, user_data},
    member::Action,
    protocol,
    record::ConsumerError,
};
use crate::{
    client::{Client, Lane},
    coordinator::GroupError,
    error::BrokerError,
    sync::lock,
    types::TopicPartition,
};

/// Runs until the consumer is closed, then leaves the group.
pub(super) async fn run<I: Io>(client: Client<I>, inner: Arc<Inner>, group: Str) {
    let task = Task {
        client,
        inner,
        group,
    };
    let mut failures = 0;
    loop {
        if task.inner.closed.is_set() {
            task.leave().await;
            break;
        }
        let now = task.client.io.now().monotonic;
        let (action, waits_for_poll) = {
            let mut state = lock(&task.inner.state);
            let action = state.member.next(now);
            (action, state.member.pending().is_some())
        };
        // Only then: a poll that is woken wakes this task, and the two would never rest.
        if waits_for_poll {
            task.inner.poll_wake.notify_one();
        }
        if let Action::Wait(until) = action {
            task.wait(until).await;
            continue;
        }
        let closing = task.inner.closed.wait();
        let done = tokio::select! {
            biased;
            done = task.perform(action) => done,
            () = closing => continue,
        };
        match done {
            Ok(()) => failures = 0,
            Err(error) => {
                let wait = task.client.retry_wait(failures);
                failures = failures.saturating_add(1);
                task.failed(error, wait);
                task.inner.poll_wake.notify_one();
            }
        }
    }
    task.inner.group_left.set();
}

struct Task<I: Io> {
    client: Client<I>,
    inner: Arc<Inner>,
    group: Str,
}

impl<I: Io> Task<I> {
    async fn wait(&self, until: Option<ottla_core::time::Instant>) {
        let timer = async {
            match until {
                Some(at) => self.client.io.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.inner.group_wake.notified() => {}
            () = self.inner.closed.wait() => {}
            () = timer => {}
        }
    }

    async fn perform(&self, action: Action) -> Result<(), GroupError> {
        match action {
            Action::FindCoordinator => {
                let node = self.client.find_coordinator(&self.group).await?;
                lock(&self.inner.state).member.on_coordinator(node);
                Ok(())
            }
            Action::Join => self.join().await,
            Action::Heartbeat => self.heartbeat().await,
            Action::Leave => {
                self.leave().await;
                Ok(())
            }
            Action::Wait(_) => Ok(()),
        }
    }

    fn failed(&self, error: GroupError, wait: Duration) {
        let now = self.client.io.now().monotonic;
        let mut state = lock(&self.inner.state);
        let goes_on = match &error {
            GroupError::Broker(refusal) => state.member.on_refused(refusal.code, now, wait),
            GroupError::Request(failure) if failure.is_retriable() => {
                state.member.on_no_coordinator(now, wait);
                true
            }
            GroupError::Request(_) => false,
        };
        if !goes_on {
            state.member.on_left();
            state.member.subscribe(BTreeSet::new(), now);
            let group = self.group.clone();
            state
                .errors
                .push_back(ConsumerError::Group { group, error });
        }
    }

    fn ids(&self) -> (i32, Str, i32) {
        let state = lock(&self.inner.state);
        let member = &state.member;
        (
            member.coordinator.unwrap_or(-1),
            member.member_id.clone(),
            member.generation,
        )
    }

    async fn heartbeat(&self) -> Result<(), GroupError> {
        let (coordinator, member_id, generation_id) = self.ids();
        let build = |_| HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id,
            member_id,
            group_instance_id: self.inner.config.group_instance_id.clone(),
            ..Default::default()
        };
        // No answer within the session time-out is as bad as none at all.
        let timeout = self
            .client
            .config()
            .request_timeout
            .min(self.inner.config.session_timeout);
        let lane = Lane::Coordinator;
        let answer = self
            .client
            .call_within(coordinator, lane, i16::MAX, timeout, build)
            .await?;
        BrokerError::check(answer.1.error_code, None)?;
        lock(&self.inner.state)
            .member
            .on_heartbeat(self.client.io.now().monotonic);
        Ok(())
    }

    async fn join(&self) -> Result<(), GroupError> {
        let (coordinator, mut member_id, _) = self.ids();
        let (topics, protocols) = self.protocols();
        let config = &self.inner.config;
        let ms = |d: Duration| i32::try_from(d.as_millis()).unwrap_or(i32::MAX);
        // The coordinator answers when all have joined, or the rebalance time-out has passed.
        let timeout = config.max_poll_interval + JOIN_SLACK;
        let response = loop {
            let build = |_| JoinGroupRequest {
                group_id: self.group.clone(),
                session_timeout_ms: ms(config.session_timeout),
                rebalance_timeout_ms: ms(config.max_poll_interval),
                member_id: member_id.clone(),
                group_instance_id: config.group_instance_id.clone(),
                protocol_type: Str::from_static("consumer"),
                protocols: protocols.clone(),
                ..Default::default()
            };
            let answer = self
                .client
                .call_within(coordinator, Lane::Join, i16::MAX, timeout, build);
            let (_, response) = answer.await?;
            if ErrorCode::from(response.error_code) != ErrorCode::MemberIdRequired {
                break response;
            }
            member_id = response.member_id.detach();
            lock(&self.inner.state)
                .member
                .on_member_id(member_id.clone());
        };
        BrokerError::check(response.error_code, None)?;
        let member_id = response.member_id.detach();
        lock(&self.inner.state)
            .member
            .on_member_id(member_id.clone());
        let assignments = if response.leader == response.member_id {
            self.lead(&response).await?
        } else {
            Vec::new()
        };
        let assigned = self.sync(coordinator, &response, assignments).await?;
        let now = self.client.io.now().monotonic;
        let mut state = lock(&self.inner.state);
        state
            .member
            .on_joined(member_id, response.generation_id, assigned, &topics, now);
        Ok(())
    }

    /// What this member says when it joins, for each assignor.
    fn protocols(&self) -> (BTreeSet<Str>, Vec<JoinGroupRequestProtocol>) {
        let config = &self.inner.config;
        let state = lock(&self.inner.state);
        let member = &state.member;
        let one = |assignor: &Assignor| {
            let generation = member.generation;
            let subscription = Subscription {
                topics: member.topics.iter().cloned().collect(),
                user_data: assignor.is_cooperative().then(|| user_data(generation)),
                owned: member.owned.iter().cloned().collect(),
                generation,
                rack: config.client_rack.clone(),
                instance_id: None,
            };
            let metadata = protocol::encode_subscription(&subscription).unwrap_or_default();
            JoinGroupRequestProtocol {
                name: Str::from_static(assignor.name()),
                metadata,
                ..Default::default()
            }
        };
        (
            member.topics.clone(),
            config.assignors.iter().map(one).collect(),
        )
    }

    /// The leader's part: watches the topics of all, and divides their partitions among the members.
    /// A static leader that came back is told to leave the division as it is, and watches all the
    /// same (KIP-814).
    async fn lead(
        &self,
        response: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, GroupError> {
        let inconsistent = || BrokerError::new(ErrorCode::InconsistentGroupProtocol);
        let mut members: BTreeMap<Str, Subscription> = BTreeMap::new();
        for member in &response.members {
            let subscription = protocol::decode_subscription(&member.metadata);
            let mut subscription = subscription.map_err(|_| inconsistent())?;
            subscription.instance_id = member.group_instance_id.as_ref().map(Str::detach);
            members.insert(member.member_id.detach(), subscription);
        }
        let topics: BTreeSet<Str> = members
            .values()
            .flat_map(|m| m.topics.iter().cloned())
            .collect();
        topics
            .iter()
            .for_each(|topic| self.client.watch_topic(topic));
        let metadata = self
            .client
            .refresh_metadata(self.client.metadata().version)
            .await?;
        let count = |topic: &Str| {
            let partitions = metadata.topics.get(topic).map_or(0, |t| t.partitions.len());
            i32::try_from(partitions).unwrap_or(i32::MAX)
        };
        let counts: BTreeMap<Str, i32> =
            topics.into_iter().map(|t| (t.clone(), count(&t))).collect();
        lock(&self.inner.state).led_counts = Some(counts.clone());
        if response.skip_assignment {
            return Ok(Vec::new());
        }
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let assignor = Assignor::by_name(name).ok_or_else(inconsistent)?;
        let assignment = assignor.assign(&counts, &members);
        let one =
            |(member_id, partitions): (Str, Vec<TopicPartition>)| SyncGroupRequestAssignment {
                member_id,
                assignment: protocol::encode_assignment(&partitions).unwrap_or_default(),
                ..Default::default()
            };
        Ok(assignment.into_iter().map(one).collect())
    }

    async fn sync(
        &self,
        coordinator: i32,
        joined: &JoinGroupResponse,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> Result<BTreeSet<TopicPartition>, GroupError> {
        if joined.leader != joined.member_id {
            lock(&self.inner.state).led_counts = None;
        }
        let build = |version: i16| SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: self.inner.config.group_instance_id.clone(),
            protocol_type: joined.protocol_type.clone().filter(|_| version >= 5),
            protocol_name: joined.protocol_name.clone().filter(|_| version >= 5),
            assignments,
            ..Default::default()
        };
        let timeout = self.inner.config.max_poll_interval + JOIN_SLACK;
        let answer = self
            .client
            .call_within(coordinator, Lane::Join, i16::MAX, timeout, build);
        let (_, response) = answer.await?;
        BrokerError::check(response.error_code, None)?;
        let assigned = protocol::decode_assignment(&response.assignment);
        let assigned =
            assigned.map_err(|_| BrokerError::new(ErrorCode::InconsistentGroupProtocol))?;
        Ok(assigned.into_iter().collect())
    }

    /// Leaves; a static member stays, so that it can come back.
    async fn leave(&self) {
        let (coordinator, member_id, _) = self.ids();
        let is_static = self.inner.config.group_instance_id.is_some();
        if !member_id.is_empty() && coordinator >= 0 && !is_static {
            let build = |version: i16| {
                let group_id = self.group.clone();
                if version < 3 {
                    return LeaveGroupRequest {
                        group_id,
                        member_id,
                        ..Default::default()
                    };
                }
                let members = vec![MemberIdentity {
                    member_id,
                    ..Default::default()
                }];
                LeaveGroupRequest {
                    group_id,
                    members,
                    ..Default::default()
                }
            };
            // If it does not get through, the session times out.
            let lane = Lane::Coordinator;
            let _ = self
                .client
                .call_within(coordinator, lane, i16::MAX, LEAVE_TIMEOUT, build)
                .await;
        }
        lock(&self.inner.state).member.on_left();
        self.inner.poll_wake.notify_one();
    }
}

/// What a join may take beyond the rebalance time-out, on the way and at the broker.
const JOIN_SLACK: Duration = Duration::from_secs(5);
/// How long the way out may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
