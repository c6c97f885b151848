//! JoinGroup: becoming a member, and staying one from generation to generation.

use alloc::{format, vec::Vec};

use bytes::Bytes;
use ottla_wire::{Str, Uuid};

use super::{
    AppendFailure, Client, Output, Ticket,
    classic::{ClassicGroup, GroupState},
    member::{Member, detached},
    records::group_value,
    request::{GroupError, JoinAnswer, JoinGroup, Protocol, Response},
    shard::{Group, GroupShard, millis},
    timer::{TimerKey, TimerReason},
    writes::{Change, Then, Write},
};
use crate::{
    limits::{GROUP_MEMBER_ID_PREFIX_MAX, GROUP_NEW_MEMBER_JOIN_TIMEOUT},
    time::Now,
};

/// A static member that took its old place in a stable group (KIP-345), until the log has it.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    group: Str,
    instance: Str,
    old_id: Str,
    new_id: Str,
    generation: i32,
    /// The leader before the replacement: older clients are told this one, so that a leader that
    /// came back does not assign anew.
    old_leader: Str,
    old_protocols: Vec<Protocol>,
    old_rebalance_timeout_ms: i32,
    old_session_timeout_ms: i32,
    can_skip_assignment: bool,
}

fn answer(out: &mut Vec<Output>, ticket: Ticket, answer: JoinAnswer) {
    out.push(Output::Reply {
        ticket,
        response: Response::Join(answer),
    });
}

/// The answer that tells a member about the current generation.
pub(super) fn current_generation(group: &ClassicGroup, member_id: &Str) -> JoinAnswer {
    JoinAnswer {
        error: None,
        generation_id: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol_name.clone(),
        leader: group.leader_or_empty(),
        skip_assignment: false,
        member_id: member_id.clone(),
        members: Vec::new(),
    }
}

/// A new member's id: what it is called, and a random part.
fn new_member_id(prefix: &str, uuid: Uuid) -> Str {
    let mut end = prefix.len().min(GROUP_MEMBER_ID_PREFIX_MAX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let n = uuid.as_u128();
    let part = |shift: u32, bits: u32| (n >> shift) & ((1 << bits) - 1);
    Str::from(format!(
        "{}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        &prefix[..end],
        part(96, 32),
        part(80, 16),
        part(64, 16),
        part(48, 16),
        part(0, 48),
    ))
}

impl GroupShard {
    pub(super) fn join(
        &mut self,
        now: Now,
        ticket: Ticket,
        client: &Client,
        request: &JoinGroup,
        out: &mut Vec<Output>,
    ) {
        let id = request.group_id.detach();
        if let Err((member_id, error)) = self.admit(now, &id, request) {
            answer(out, ticket, JoinAnswer::refused(member_id, error));
            // If it was turned out, the others need not wait for it.
            self.maybe_complete_join(now, &id, out);
        } else if request.member_id.is_empty() {
            self.join_as_new(now, ticket, client, &id, request, out);
        } else {
            self.join_again(now, ticket, client, &id, request, out);
        }
        self.forget_if_nothing(&id);
    }

    /// Checks what does not depend on who joins, and makes the group if a new member may.
    fn admit(&mut self, now: Now, id: &Str, request: &JoinGroup) -> Result<(), (Str, GroupError)> {
        let refuse = |error| Err((request.member_id.clone(), error));
        if id.is_empty() {
            return refuse(GroupError::InvalidGroupId);
        }
        let session = millis(request.session_timeout_ms);
        if session < self.config.min_session_timeout || session > self.config.max_session_timeout {
            return refuse(GroupError::InvalidSessionTimeout);
        }
        if !self.groups.contains_key(id) {
            if !request.member_id.is_empty() {
                return refuse(GroupError::UnknownMemberId);
            }
            self.groups.insert(id.clone(), Group::new(now.wall));
        }
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return refuse(GroupError::UnknownMemberId);
        };
        if group.is(GroupState::Dead) {
            return refuse(GroupError::CoordinatorNotAvailable);
        }
        if !accepts(group, &request.member_id, self.config.max_size) {
            // A member of a group that has become too large is turned out as it joins again.
            if let Some(member) = group.remove(&request.member_id) {
                self.timers
                    .cancel(&TimerKey::Session(id.clone(), member.id));
            }
            return Err((Str::new(), GroupError::GroupMaxSizeReached));
        }
        if !group.supports(&request.protocol_type, &request.protocols) {
            return refuse(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn join_as_new(
        &mut self,
        now: Now,
        ticket: Ticket,
        client: &Client,
        id: &Str,
        request: &JoinGroup,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        let Some(instance) = &request.group_instance_id else {
            let member_id = new_member_id(&client.id, request.new_member_uuid);
            if !request.requires_member_id {
                return self.add_member(now, ticket, client, id, &member_id, request, out);
            }
            // Told first, joined second (KIP-394): a client that goes away in between leaves only
            // an id, and that only for a session.
            group.pending_join.insert(member_id.clone());
            self.set_timer(
                now,
                TimerKey::Session(id.clone(), member_id.clone()),
                TimerReason::Session,
                millis(request.session_timeout_ms),
            );
            return answer(
                out,
                ticket,
                JoinAnswer::refused(member_id, GroupError::MemberIdRequired),
            );
        };
        let member_id = new_member_id(instance, request.new_member_uuid);
        match group.static_member_id(instance).cloned() {
            Some(old) => self.replace_static(now, ticket, id, &old, &member_id, request, out),
            None => self.add_member(now, ticket, client, id, &member_id, request, out),
        }
    }

    fn join_again(
        &mut self,
        now: Now,
        ticket: Ticket,
        client: &Client,
        id: &Str,
        request: &JoinGroup,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        let member_id = request.member_id.detach();
        if group.pending_join.contains(&member_id) && request.group_instance_id.is_none() {
            return self.add_member(now, ticket, client, id, &member_id, request, out);
        }
        if let Err(error) = group.validate_member(&member_id, request.group_instance_id.as_ref()) {
            return answer(out, ticket, JoinAnswer::refused(member_id, error));
        }
        let Some(member) = group.member(&member_id) else {
            return;
        };
        let unchanged = member.matches(&request.protocols);
        let leads = group.is_leader(&member_id);
        match group.state() {
            // It may not have heard the answer of the joining phase: tell it again.
            GroupState::CompletingRebalance if unchanged => {
                let mut reply = current_generation(group, &member_id);
                if leads {
                    reply.members = group.joined_members();
                }
                answer(out, ticket, reply);
            }
            // A leader that joins a stable group wants an assignment for something else that has
            // changed, such as the partitions of a topic; a follower only lost its place.
            GroupState::Stable if unchanged && !leads => {
                answer(out, ticket, current_generation(group, &member_id));
            }
            GroupState::Empty | GroupState::Dead => {
                answer(
                    out,
                    ticket,
                    JoinAnswer::refused(member_id, GroupError::UnknownMemberId),
                );
            }
            _ => {
                group.update(
                    &member_id,
                    detached(&request.protocols),
                    request.rebalance_timeout_ms,
                    request.session_timeout_ms,
                );
                await_join(group, &member_id, ticket, out);
                self.rebalance_or_complete(now, id, out);
            }
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "a member is made of all of these"
    )]
    fn add_member(
        &mut self,
        now: Now,
        ticket: Ticket,
        client: &Client,
        id: &Str,
        member_id: &Str,
        request: &JoinGroup,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        let member = Member {
            id: member_id.clone(),
            group_instance_id: request.group_instance_id.as_ref().map(Str::detach),
            client_id: client.id.detach(),
            client_host: client.host.detach(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: detached(&request.protocols),
            assignment: Bytes::new(),
            awaiting_join: Some(ticket),
            awaiting_sync: None,
            is_new: true,
        };
        if group.is(GroupState::PreparingRebalance) && group.previous_state() == GroupState::Empty {
            group.new_member_added = true;
        }
        group.add(member, &request.protocol_type);
        // It cannot send heartbeats before it is answered, and that its connection is gone cannot
        // be seen while the request waits; so it is given a long but bounded time.
        self.set_timer(
            now,
            TimerKey::Session(id.clone(), member_id.clone()),
            TimerReason::Session,
            GROUP_NEW_MEMBER_JOIN_TIMEOUT,
        );
        self.rebalance_or_complete(now, id, out);
    }

    #[allow(clippy::too_many_arguments, reason = "both ids and the request matter")]
    fn replace_static(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: &Str,
        old_id: &Str,
        new_id: &Str,
        request: &JoinGroup,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        let old_leader = group.leader_or_empty();
        let Some(replaced) = group.replace_static(old_id, new_id) else {
            return;
        };
        super::shard::release(&replaced, GroupError::FencedInstanceId, out);
        group.update(
            new_id,
            detached(&request.protocols),
            request.rebalance_timeout_ms,
            request.session_timeout_ms,
        );
        await_join(group, new_id, ticket, out);
        let keeps_protocol =
            group.protocol_name.is_some() && group.select_protocol() == group.protocol_name;
        let state = group.state();
        self.timers
            .cancel(&TimerKey::Session(id.clone(), old_id.clone()));
        self.heard_of(now, id, new_id);
        match state {
            GroupState::Stable if keeps_protocol => {
                let replacement = Replacement {
                    group: id.clone(),
                    instance: replaced.group_instance_id.unwrap_or_default(),
                    old_id: old_id.clone(),
                    new_id: new_id.clone(),
                    generation: self.groups.get(id).map_or(0, |g| g.classic.generation),
                    old_leader,
                    old_protocols: replaced.protocols,
                    old_rebalance_timeout_ms: replaced.rebalance_timeout_ms,
                    old_session_timeout_ms: replaced.session_timeout_ms,
                    can_skip_assignment: request.can_skip_assignment,
                };
                self.append_group(
                    now,
                    id,
                    |m| m.assignment.clone(),
                    Then::Replaced(replacement),
                    out,
                );
            }
            // The old id may already be in the leader's hands, so its assignment would not reach
            // the new one.
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare_rebalance(now, id, out);
            }
            _ => self.maybe_complete_join(now, id, out),
        }
    }

    /// Writes a group's membership as it is, with these assignments.
    pub(super) fn append_group(
        &mut self,
        now: Now,
        id: &Str,
        assignment: impl Fn(&Member) -> Bytes,
        then: Then,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        match group_value(&group.classic, assignment) {
            Ok(value) => {
                let change = Change::Group {
                    group: id.clone(),
                    value: Some(value),
                };
                self.append(now, alloc::vec![change], then, out);
            }
            Err(_) => {
                let write = Write {
                    changes: Vec::new(),
                    then,
                    readers: Vec::new(),
                };
                self.undo(now, write, AppendFailure::TooLarge, out);
            }
        }
    }

    /// The record of a replaced static member is durable, or its append failed.
    pub(super) fn replaced(
        &mut self,
        now: Now,
        it: Replacement,
        failure: Option<GroupError>,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(&it.group).map(|g| &mut g.classic) else {
            return;
        };
        // A rebalance that began meanwhile answers the member itself.
        if !group.is(GroupState::Stable) || group.generation != it.generation {
            return;
        }
        let leads = group.is_leader(&it.new_id);
        let Some(ticket) = group
            .member_mut(&it.new_id)
            .and_then(|m| m.awaiting_join.take())
        else {
            return;
        };
        let mut reply = current_generation(group, &it.new_id);
        if let Some(error) = failure {
            reply = JoinAnswer {
                error: Some(error),
                member_id: Str::new(),
                leader: it.old_leader,
                ..reply
            };
            group.update(
                &it.new_id,
                it.old_protocols,
                it.old_rebalance_timeout_ms,
                it.old_session_timeout_ms,
            );
            group.replace_static(&it.new_id, &it.old_id);
            debug_assert_eq!(group.static_member_id(&it.instance), Some(&it.old_id));
            self.timers
                .cancel(&TimerKey::Session(it.group.clone(), it.new_id));
            self.heard_of(now, &it.group, &it.old_id);
        } else if it.can_skip_assignment {
            // It leads again and learns who the others are, but the assignment stays (KIP-814).
            reply.skip_assignment = leads;
            if leads {
                reply.members = group.joined_members();
            }
            self.heard_of(now, &it.group, &it.new_id);
        } else {
            reply.leader = it.old_leader;
            self.heard_of(now, &it.group, &it.new_id);
        }
        answer(out, ticket, reply);
    }
}

/// Lets a JoinGroup wait. One of the same member that waited before was given up by its client.
fn await_join(group: &mut ClassicGroup, member_id: &Str, ticket: Ticket, out: &mut Vec<Output>) {
    let earlier = group
        .member_mut(member_id)
        .and_then(|m| m.awaiting_join.replace(ticket));
    if let Some(earlier) = earlier {
        answer(
            out,
            earlier,
            JoinAnswer::refused(member_id.clone(), GroupError::RebalanceInProgress),
        );
    }
}

/// Whether there is room. While members join, those who have count: the last to come are turned
/// away from a group that is too large, whoever was there before.
fn accepts(group: &ClassicGroup, member_id: &str, max_size: usize) -> bool {
    match group.state() {
        GroupState::Empty | GroupState::Dead => true,
        GroupState::PreparingRebalance => {
            group
                .member(member_id)
                .is_some_and(|m| m.awaiting_join.is_some())
                || group.awaiting_join_count() < max_size
        }
        GroupState::CompletingRebalance | GroupState::Stable => {
            group.has_member(member_id) || group.member_count() < max_size
        }
    }
}
