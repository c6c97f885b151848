//! SyncGroup and Heartbeat: what a member does between two rebalances.

use alloc::{collections::BTreeMap, vec::Vec};

use bytes::Bytes;
use ottla_wire::Str;

use super::{
    Output, Ticket,
    classic::{ClassicGroup, GroupState},
    request::{Assignment, GroupError, Heartbeat, Response, SyncGroup},
    shard::GroupShard,
    writes::Then,
};
use crate::time::Now;

fn validate(group: &ClassicGroup, request: &SyncGroup) -> Result<(), GroupError> {
    if group.is(GroupState::Dead) {
        return Err(GroupError::CoordinatorNotAvailable);
    }
    group.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
    if request.generation_id != group.generation {
        return Err(GroupError::IllegalGeneration);
    }
    let differs = |theirs: &Option<Str>, ours: &Option<Str>| matches!((theirs, ours), (Some(theirs), Some(ours)) if theirs != ours);
    if differs(&request.protocol_type, &group.protocol_type)
        || differs(&request.protocol_name, &group.protocol_name)
    {
        return Err(GroupError::InconsistentGroupProtocol);
    }
    Ok(())
}

impl GroupShard {
    pub(super) fn sync(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &SyncGroup,
        out: &mut Vec<Output>,
    ) {
        let answer = match self.sync_now(ticket, request, out) {
            Ok(None) => {
                let (id, member) = (&request.group_id, &request.member_id);
                if self
                    .groups
                    .get(id)
                    .is_some_and(|g| g.classic.is_leader(member))
                {
                    self.assign(now, request, out);
                }
                return;
            }
            Ok(Some(assignment)) => Ok(assignment),
            Err(error) => Err(error),
        };
        out.push(Output::Reply {
            ticket,
            response: Response::Sync(answer),
        });
    }

    /// The answer, or `None` if the member has to wait for its leader.
    fn sync_now(
        &mut self,
        ticket: Ticket,
        request: &SyncGroup,
        out: &mut Vec<Output>,
    ) -> Result<Option<Assignment>, GroupError> {
        if request.group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let group = self
            .groups
            .get_mut(&request.group_id)
            .map(|g| &mut g.classic)
            .ok_or(GroupError::UnknownMemberId)?;
        validate(group, request)?;
        match group.state() {
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                group.pending_sync.remove(&request.member_id);
                let member = group
                    .member_mut(&request.member_id)
                    .ok_or(GroupError::UnknownMemberId)?;
                if let Some(earlier) = member.awaiting_sync.replace(ticket) {
                    // Its client gave it up and asks again.
                    let response = Response::Sync(Err(GroupError::RebalanceInProgress));
                    out.push(Output::Reply {
                        ticket: earlier,
                        response,
                    });
                }
                Ok(None)
            }
            GroupState::Stable => {
                group.pending_sync.remove(&request.member_id);
                let member = group
                    .member(&request.member_id)
                    .ok_or(GroupError::UnknownMemberId)?;
                Ok(Some(Assignment {
                    protocol_type: group.protocol_type.clone(),
                    protocol_name: group.protocol_name.clone(),
                    assignment: member.assignment.clone(),
                }))
            }
        }
    }

    /// Writes the leader's assignment; members it left out get an empty one.
    fn assign(&mut self, now: Now, request: &SyncGroup, out: &mut Vec<Output>) {
        let Some((id, group)) = self.groups.get_key_value(&request.group_id) else {
            return;
        };
        let (id, generation) = (id.clone(), group.classic.generation);
        if group.classic.assigning == Some(generation) {
            // The leader asks again while its first answer is on its way to the log: that counts.
            return;
        }
        let mut assignment: BTreeMap<Str, Bytes> = group
            .classic
            .members()
            .map(|m| (m.id.clone(), Bytes::new()))
            .collect();
        for (member, bytes) in &request.assignments {
            if let Some(place) = assignment.get_mut(member) {
                *place = Bytes::copy_from_slice(bytes);
            }
        }
        if let Some(group) = self.groups.get_mut(&id) {
            group.classic.assigning = Some(generation);
        }
        let written = assignment.clone();
        let then = Then::Assigned {
            group: id.clone(),
            generation,
            assignment,
        };
        self.append_group(
            now,
            &id,
            |m| written.get(&m.id).cloned().unwrap_or_default(),
            then,
            out,
        );
    }

    /// The assignment is durable: hand it out, if the group still waits for it.
    pub(super) fn assigned(
        &mut self,
        now: Now,
        id: &Str,
        generation: i32,
        mut assignment: BTreeMap<Str, Bytes>,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        if !group.is(GroupState::CompletingRebalance) || group.generation != generation {
            return;
        }
        group.assigning = None;
        group.set_assignment(|member| assignment.remove(member).unwrap_or_default());
        let shared = Assignment {
            protocol_type: group.protocol_type.clone(),
            protocol_name: group.protocol_name.clone(),
            assignment: Bytes::new(),
        };
        group.transition(GroupState::Stable, now.wall);
        let ids = group.member_ids();
        self.answer_syncs(now, id, Ok(shared), &ids, out);
    }

    /// The assignment is not durable: everyone joins again.
    pub(super) fn assignment_failed(
        &mut self,
        now: Now,
        id: &Str,
        generation: i32,
        error: GroupError,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        if !group.is(GroupState::CompletingRebalance) || group.generation != generation {
            return;
        }
        let ids = group.member_ids();
        self.answer_syncs(now, id, Err(error), &ids, out);
        self.prepare_rebalance(now, id, out);
    }

    /// Answers the SyncGroups that wait, each with its member's own assignment, and gives those
    /// members a whole session from now on: their heartbeats were excused while they waited.
    pub(super) fn answer_syncs(
        &mut self,
        now: Now,
        id: &Str,
        shared: Result<Assignment, GroupError>,
        members: &[Str],
        out: &mut Vec<Output>,
    ) {
        for member_id in members {
            let Some(member) = self
                .groups
                .get_mut(id)
                .and_then(|g| g.classic.member_mut(member_id))
            else {
                continue;
            };
            let Some(ticket) = member.awaiting_sync.take() else {
                continue;
            };
            let answer = shared.clone().map(|a| Assignment {
                assignment: member.assignment.clone(),
                ..a
            });
            out.push(Output::Reply {
                ticket,
                response: Response::Sync(answer),
            });
            self.heard_of(now, id, member_id);
        }
    }

    pub(super) fn heartbeat(&mut self, now: Now, request: &Heartbeat) -> Result<(), GroupError> {
        if request.group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (id, group) = self
            .groups
            .get_key_value(&request.group_id)
            .map(|(id, g)| (id.clone(), &g.classic))
            .ok_or(GroupError::UnknownMemberId)?;
        if group.is(GroupState::Dead) {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        group.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != group.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let state = group.state();
        if state == GroupState::Empty {
            return Err(GroupError::UnknownMemberId);
        }
        let member = group.member(&request.member_id).map(|m| m.id.clone());
        if let Some(member) = member {
            self.heard_of(now, &id, &member);
        }
        if state == GroupState::PreparingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }
}
