//! From one generation to the next: when members are asked to join again, how long that may take,
//! and who is left out.

use alloc::vec::Vec;

use bytes::Bytes;
use ottla_wire::Str;

use super::{
    Output,
    classic::GroupState,
    join::current_generation,
    request::{GroupError, JoinAnswer, LeaveGroup, MemberIdentity, MemberResult, Response},
    shard::{GroupShard, millis},
    timer::{TimerKey, TimerReason},
    writes::Then,
};
use crate::{
    marks,
    time::{Duration, Now},
};

impl GroupShard {
    /// Something about the members changed: begin a rebalance, or see whether the one that runs is
    /// complete.
    pub(super) fn rebalance_or_complete(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        if group
            .classic
            .state()
            .may_become(GroupState::PreparingRebalance)
        {
            self.prepare_rebalance(now, id, out);
        } else {
            self.maybe_complete_join(now, id, out);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        let before = group.state();
        let waiting: Vec<Str> = group
            .members()
            .filter(|m| m.awaiting_sync.is_some())
            .map(|m| m.id.clone())
            .collect();
        if before == GroupState::CompletingRebalance {
            // Those who wait for this generation's assignment will not get one.
            group.set_assignment(|_| Bytes::new());
            self.answer_syncs(now, id, Err(GroupError::RebalanceInProgress), &waiting, out);
        }
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        group.pending_sync.clear();
        group.assigning = None;
        group.transition(GroupState::PreparingRebalance, now.wall);
        let timeout_ms = group.rebalance_timeout_ms();
        let complete = group.has_all_joined();
        if before == GroupState::Empty {
            group.new_member_added = false;
        }
        self.timers.cancel(&TimerKey::PendingSync(id.clone()));
        if before == GroupState::Empty {
            // The first members of a new group rarely come at once.
            let delay = self.config.initial_rebalance_delay;
            let left = millis(timeout_ms).saturating_sub(delay);
            self.set_initial_delay(now, id, delay, left);
        } else if complete {
            self.complete_join(now, id, out);
        } else {
            self.set_timer(
                now,
                TimerKey::Join(id.clone()),
                TimerReason::RebalanceTimeout,
                millis(timeout_ms),
            );
        }
    }

    fn set_initial_delay(&mut self, now: Now, id: &Str, delay: Duration, left: Duration) {
        if let Some(group) = self.groups.get_mut(id) {
            group.classic.initial_delay = (delay, left);
        }
        self.set_timer(
            now,
            TimerKey::Join(id.clone()),
            TimerReason::InitialDelay,
            delay,
        );
    }

    /// The initial delay has passed: extend it if members came meanwhile, up to the rebalance
    /// time-out as a whole.
    pub(super) fn initial_delay_over(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        let (delay, left) = group.initial_delay;
        if group.new_member_added && left > Duration::ZERO {
            group.new_member_added = false;
            let next = self.config.initial_rebalance_delay.min(left);
            self.set_initial_delay(now, id, next, left.saturating_sub(delay));
        } else {
            self.complete_join(now, id, out);
        }
    }

    /// Ends the joining phase if everyone has joined, unless the group is new: then it waits for
    /// its delay.
    pub(super) fn maybe_complete_join(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        let Some(group) = self.groups.get(id).map(|g| &g.classic) else {
            return;
        };
        if group.is(GroupState::PreparingRebalance)
            && group.previous_state() != GroupState::Empty
            && group.has_all_joined()
        {
            self.complete_join(now, id, out);
        }
    }

    /// Ends the joining phase: whoever has not joined is out, static members excepted, whose
    /// places wait for their session time-out.
    pub(super) fn complete_join(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        self.timers.cancel(&TimerKey::Join(id.clone()));
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        if !group.is(GroupState::PreparingRebalance) {
            return;
        }
        let missing: Vec<Str> = group
            .members()
            .filter(|m| m.awaiting_join.is_none() && !m.is_static())
            .map(|m| m.id.clone())
            .collect();
        for member in &missing {
            marks::GROUP_MEMBER_LEFT_BEHIND.reach();
            group.remove(member);
            self.timers
                .cancel(&TimerKey::Session(id.clone(), member.clone()));
        }
        if !group.elect_joined_leader() && group.member_count() > 0 {
            // Only static members, none of whom came: wait for one, or for their sessions to end.
            let timeout = millis(group.rebalance_timeout_ms());
            self.set_timer(
                now,
                TimerKey::Join(id.clone()),
                TimerReason::RebalanceTimeout,
                timeout,
            );
            return;
        }
        group.init_next_generation(now.wall);
        if group.is(GroupState::Empty) {
            // If this is lost, the generation before counts as stable again and its members time
            // out: harmless.
            self.append_group(now, id, |_| Bytes::new(), Then::Nothing, out);
            return;
        }
        self.announce_generation(now, id, out);
    }

    /// Answers those who joined, and waits for each to ask for its assignment.
    fn announce_generation(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        let ids = group.member_ids();
        for member_id in &ids {
            let mut reply = current_generation(group, member_id);
            if group.is_leader(member_id) {
                reply.members = group.joined_members();
            }
            if let Some(member) = group.member_mut(member_id) {
                member.is_new = false;
                if let Some(ticket) = member.awaiting_join.take() {
                    out.push(Output::Reply {
                        ticket,
                        response: Response::Join(reply),
                    });
                }
            }
            group.pending_sync.insert(member_id.clone());
        }
        let timeout = millis(group.rebalance_timeout_ms());
        for member_id in &ids {
            self.heard_of(now, id, member_id);
        }
        self.set_timer(
            now,
            TimerKey::PendingSync(id.clone()),
            TimerReason::PendingSync,
            timeout,
        );
    }

    pub(super) fn session_expired(
        &mut self,
        now: Now,
        id: &Str,
        member_id: &Str,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        if group.pending_join.remove(member_id) {
            self.maybe_complete_rejoin(now, id, out);
            self.forget_if_nothing(id);
            return;
        }
        match group.member(member_id) {
            Some(member) if !member.has_satisfied_heartbeat() => {
                marks::GROUP_SESSION_EXPIRED.reach();
                if group.is(GroupState::PreparingRebalance) {
                    marks::GROUP_SESSION_EXPIRED_IN_REBALANCE.reach();
                }
                self.remove_member(id, member_id, out);
                self.after_removal(now, id, out);
            }
            _ => {}
        }
    }

    /// Takes a member out and answers what it waits for.
    fn remove_member(&mut self, id: &Str, member_id: &Str, out: &mut Vec<Output>) {
        self.timers
            .cancel(&TimerKey::Session(id.clone(), member_id.clone()));
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return;
        };
        let Some(member) = group.remove(member_id) else {
            return;
        };
        if let Some(ticket) = member.awaiting_join {
            let answer = JoinAnswer::refused(Str::new(), GroupError::UnknownMemberId);
            out.push(Output::Reply {
                ticket,
                response: Response::Join(answer),
            });
        }
        if let Some(ticket) = member.awaiting_sync {
            let response = Response::Sync(Err(GroupError::UnknownMemberId));
            out.push(Output::Reply { ticket, response });
        }
    }

    fn after_removal(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        match self.groups.get(id).map(|g| g.classic.state()) {
            Some(GroupState::Stable | GroupState::CompletingRebalance) => {
                self.prepare_rebalance(now, id, out);
            }
            Some(GroupState::PreparingRebalance) => self.maybe_complete_rejoin(now, id, out),
            _ => {}
        }
    }

    /// As [`Self::maybe_complete_join`], for a new group as well: with a member fewer, nobody is
    /// to be waited for.
    fn maybe_complete_rejoin(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        let Some(group) = self.groups.get(id).map(|g| &g.classic) else {
            return;
        };
        if group.is(GroupState::PreparingRebalance) && group.has_all_joined() {
            self.complete_join(now, id, out);
        }
    }

    /// The members that did not ask for their assignment are out.
    pub(super) fn pending_sync_expired(&mut self, now: Now, id: &Str, out: &mut Vec<Output>) {
        let Some(group) = self.groups.get(id).map(|g| &g.classic) else {
            return;
        };
        if !matches!(
            group.state(),
            GroupState::CompletingRebalance | GroupState::Stable
        ) || group.pending_sync.is_empty()
        {
            return;
        }
        let missing: Vec<Str> = group.pending_sync.iter().cloned().collect();
        for member_id in &missing {
            self.remove_member(id, member_id, out);
        }
        self.prepare_rebalance(now, id, out);
    }

    pub(super) fn leave(
        &mut self,
        now: Now,
        request: &LeaveGroup,
        out: &mut Vec<Output>,
    ) -> Result<Vec<MemberResult>, GroupError> {
        let id = request.group_id.detach();
        if id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        // A group that is not there has none of them: an answer for each, as from one that is.
        let group = self.groups.get(&id);
        if group.is_some_and(|g| g.classic.is(GroupState::Dead)) {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        let answers: Vec<MemberResult> = request
            .members
            .iter()
            .map(|who| (who.clone(), self.leave_one(&id, who, out)))
            .collect();
        if answers.iter().any(|(_, result)| result.is_ok()) {
            match self.groups.get(&id).map(|g| g.classic.state()) {
                Some(GroupState::Stable | GroupState::CompletingRebalance) => {
                    self.prepare_rebalance(now, &id, out);
                }
                _ => self.maybe_complete_join(now, &id, out),
            }
        }
        self.forget_if_nothing(&id);
        Ok(answers)
    }

    fn leave_one(
        &mut self,
        id: &Str,
        who: &MemberIdentity,
        out: &mut Vec<Output>,
    ) -> Result<(), GroupError> {
        let Some(group) = self.groups.get_mut(id).map(|g| &mut g.classic) else {
            return Err(GroupError::UnknownMemberId);
        };
        let member_id = if who.member_id.is_empty() {
            let instance = who
                .group_instance_id
                .as_ref()
                .ok_or(GroupError::UnknownMemberId)?;
            group
                .static_member_id(instance)
                .cloned()
                .ok_or(GroupError::UnknownMemberId)?
        } else if group.pending_join.remove(&who.member_id) {
            self.timers
                .cancel(&TimerKey::Session(id.clone(), who.member_id.clone()));
            return Ok(());
        } else {
            group.validate_member(&who.member_id, who.group_instance_id.as_ref())?;
            who.member_id.clone()
        };
        self.remove_member(id, &member_id, out);
        Ok(())
    }
}
