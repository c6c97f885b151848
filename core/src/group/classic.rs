//! The members of a classic group and the states they move through.
//!
//! This file holds what a group *is*; what requests and time do to it is in `join`, `rebalance` and
//! `sync`. The protocol is the one Kafka's clients have spoken since 0.9, with static members
//! (KIP-345) and required member ids (KIP-394).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use bytes::Bytes;
use ottla_wire::Str;

use super::{
    member::Member,
    request::{GroupError, JoinedMember, Protocol},
    subscription::subscribed_topics,
};
use crate::{
    marks,
    time::{Duration, Timestamp},
};

/// The protocol type of Kafka's consumers, the only one whose metadata the broker looks into.
pub(super) const CONSUMER: &str = "consumer";

/// Where a group is in its life.
///
/// | from \ to           | Empty | Preparing | Completing | Stable | Dead |
/// |---------------------|-------|-----------|------------|--------|------|
/// | Empty               |       | a member joins | | | deleted, expired |
/// | PreparingRebalance  | all left | | the joining phase ends | | |
/// | CompletingRebalance | | a member joins, leaves or fails | | the assignment is durable | |
/// | Stable              | | a member joins, leaves or fails | | | |
/// | Dead                | the deletion failed | | | | |
///
/// Dead lasts from the tombstone's append until it is durable; then the group is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// No members; there may be offsets.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// The generation is formed and waits for its leader's assignment.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
    /// Being deleted.
    Dead,
}

impl GroupState {
    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// Whether the table above has the step.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        matches!(
            (self, next),
            (Empty, PreparingRebalance | Dead)
                | (PreparingRebalance, Empty | CompletingRebalance)
                | (CompletingRebalance, PreparingRebalance | Stable)
                | (Stable, PreparingRebalance)
                | (Dead, Empty)
        )
    }
}

/// A classic group without its offsets.
#[derive(Clone, Debug)]
pub(super) struct ClassicGroup {
    state: GroupState,
    previous: GroupState,
    /// When the state was entered; `None` if an old record did not say.
    pub(super) state_since: Option<Timestamp>,
    /// `None` for a group that only stores offsets.
    pub(super) protocol_type: Option<Str>,
    pub(super) protocol_name: Option<Str>,
    pub(super) generation: i32,
    pub(super) leader: Option<Str>,
    members: BTreeMap<Str, Member>,
    /// Member id by static id.
    static_members: BTreeMap<Str, Str>,
    /// Ids handed out whose members have not joined with them yet (KIP-394).
    pub(super) pending_join: BTreeSet<Str>,
    /// Members of this generation that have not asked for their assignment.
    pub(super) pending_sync: BTreeSet<Str>,
    /// How many members know each protocol.
    supported: BTreeMap<Str, usize>,
    /// The topics the members consume; `None` if that cannot be told.
    pub(super) subscribed: Option<BTreeSet<Str>>,
    /// A member came during the initial delay, so the delay is extended.
    pub(super) new_member_added: bool,
    /// The delay of a new group that runs, and how much it may still be extended by.
    pub(super) initial_delay: (Duration, Duration),
    /// The generation whose assignment is on its way to the log.
    pub(super) assigning: Option<i32>,
}

impl ClassicGroup {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            state: GroupState::Empty,
            previous: GroupState::Dead,
            state_since: Some(now),
            protocol_type: None,
            protocol_name: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            supported: BTreeMap::new(),
            subscribed: None,
            new_member_added: false,
            initial_delay: (Duration::ZERO, Duration::ZERO),
            assigning: None,
        }
    }

    /// A group as its record in the log describes it: stable if it has members.
    pub(super) fn restored(
        generation: i32,
        protocol_type: Option<Str>,
        protocol_name: Option<Str>,
        leader: Option<Str>,
        state_since: Option<Timestamp>,
        members: Vec<Member>,
    ) -> Self {
        let mut group = Self::new(Timestamp::NONE);
        for member in members {
            group.index(&member);
            group.members.insert(member.id.clone(), member);
        }
        group.state = if group.members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::Stable
        };
        group.state_since = state_since;
        group.generation = generation;
        group.protocol_type = protocol_type;
        group.protocol_name = protocol_name;
        group.leader = leader;
        group.subscribed = group.compute_subscribed();
        group
    }

    pub(super) fn state(&self) -> GroupState {
        self.state
    }

    pub(super) fn previous_state(&self) -> GroupState {
        self.previous
    }

    pub(super) fn is(&self, state: GroupState) -> bool {
        self.state == state
    }

    pub(super) fn transition(&mut self, next: GroupState, now: Timestamp) {
        debug_assert!(self.state.may_become(next), "{:?} -> {next:?}", self.state);
        self.previous = self.state;
        self.state = next;
        self.state_since = Some(now);
    }

    /// The deletion failed: the group is as it was.
    pub(super) fn revive(&mut self, since: Option<Timestamp>) {
        debug_assert!(self.is(GroupState::Dead));
        self.state = GroupState::Empty;
        self.previous = GroupState::Dead;
        self.state_since = since;
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn member_ids(&self) -> Vec<Str> {
        self.members.keys().cloned().collect()
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(super) fn has_member(&self, id: &str) -> bool {
        self.members.contains_key(id)
    }

    pub(super) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    pub(super) fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub(super) fn static_member_id(&self, instance: &str) -> Option<&Str> {
        self.static_members.get(instance)
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_ref().is_some_and(|leader| *leader == *id)
    }

    pub(super) fn leader_or_empty(&self) -> Str {
        self.leader.clone().unwrap_or_default()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type
            .as_ref()
            .is_some_and(|kind| *kind == *CONSUMER)
    }

    pub(super) fn awaiting_join_count(&self) -> usize {
        self.members
            .values()
            .filter(|m| m.awaiting_join.is_some())
            .count()
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.pending_join.is_empty() && self.members.values().all(|m| m.awaiting_join.is_some())
    }

    /// The longest any member asked a rebalance to wait. At least a moment: a group that waits for
    /// members who ask for none would otherwise be due again at once, for ever.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members
            .values()
            .map(|m| m.rebalance_timeout_ms)
            .max()
            .unwrap_or(0)
            .max(1)
    }

    /// Adds a member; the caller has checked that its protocols fit and its ids are free.
    pub(super) fn add(&mut self, member: Member, protocol_type: &Str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.detach());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.pending_join.remove(&member.id);
        self.index(&member);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out; if it led, the first of the others does.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let removed = self.members.remove(id);
        if let Some(member) = &removed {
            self.unindex(member);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        removed
    }

    /// Gives a static member's place to a new member id. What the old one waited for is returned
    /// with it.
    pub(super) fn replace_static(&mut self, old: &str, new: &Str) -> Option<Member> {
        let replaced = self.members.remove(old)?;
        let mut member = replaced.clone();
        member.id = new.clone();
        member.awaiting_join = None;
        member.awaiting_sync = None;
        // It takes the place of one that the group knew: its own session counts, not the time that
        // a new member's first JoinGroup may wait.
        member.is_new = false;
        if let Some(instance) = &member.group_instance_id {
            self.static_members.insert(instance.clone(), new.clone());
        }
        self.members.insert(new.clone(), member);
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.pending_sync.remove(old);
        Some(replaced)
    }

    /// Takes over what a member said in a JoinGroup.
    pub(super) fn update(
        &mut self,
        id: &str,
        protocols: Vec<Protocol>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
    ) {
        let Some(mut member) = self.members.remove(id) else {
            return;
        };
        self.unindex(&member);
        member.protocols = protocols;
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        self.index(&member);
        self.members.insert(member.id.clone(), member);
    }

    fn index(&mut self, member: &Member) {
        for protocol in &member.protocols {
            *self.supported.entry(protocol.name.clone()).or_default() += 1;
        }
        if let Some(instance) = &member.group_instance_id {
            self.static_members
                .insert(instance.clone(), member.id.clone());
        }
    }

    fn unindex(&mut self, member: &Member) {
        for protocol in &member.protocols {
            if let Some(count) = self.supported.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
        if let Some(instance) = &member.group_instance_id {
            self.static_members.remove(instance);
        }
    }

    /// Whether a member with these protocols may be here.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type
            .as_ref()
            .is_some_and(|kind| *kind == *protocol_type)
            && protocols.iter().any(|p| self.all_support(&p.name))
    }

    fn all_support(&self, protocol: &str) -> bool {
        self.supported.get(protocol) == Some(&self.members.len())
    }

    /// The protocol most members prefer among those that all know; of several with the same votes
    /// the first by name.
    pub(super) fn select_protocol(&self) -> Option<Str> {
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.vote(|name| self.all_support(name)) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes
            .iter()
            .find(|(_, count)| **count == most)
            .map(|(name, _)| (*name).clone())
    }

    /// Makes sure that a member that has joined leads. False if none has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(|m| m.awaiting_join.is_some()) {
            return true;
        }
        match self.members.values().find(|m| m.awaiting_join.is_some()) {
            Some(joined) => {
                self.leader = Some(joined.id.clone());
                true
            }
            None => false,
        }
    }

    /// Forms the next generation of those who are here.
    pub(super) fn init_next_generation(&mut self, now: Timestamp) {
        // A generation is never negative: the one after the last that fits is the first again.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol_name = self.select_protocol();
        self.subscribed = self.compute_subscribed();
        let next = if self.members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::CompletingRebalance
        };
        self.transition(next, now);
        self.pending_sync.clear();
    }

    fn compute_subscribed(&self) -> Option<BTreeSet<Str>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// Whether the members consume a topic; a consumer group whose topics cannot be told may
    /// consume any.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// The members with their metadata for the elected protocol.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.clone().unwrap_or_default();
        self.members
            .values()
            .map(|m| JoinedMember {
                member_id: m.id.clone(),
                group_instance_id: m.group_instance_id.clone(),
                metadata: m.metadata(&protocol),
            })
            .collect()
    }

    /// Checks that a request comes from a member, and from the current holder of its static id.
    pub(super) fn validate_member(
        &self,
        member_id: &str,
        instance: Option<&Str>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(holder) if *holder != *member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.has_member(member_id) {
            Ok(())
        } else {
            Err(GroupError::UnknownMemberId)
        }
    }

    /// Checks that a commit may change the group's offsets.
    pub(super) fn validate_offset_commit(
        &self,
        member_id: &str,
        instance: Option<&Str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        match self.state {
            GroupState::Dead => return Err(GroupError::CoordinatorNotAvailable),
            // From a tool, or from a consumer that does not use the group's membership.
            GroupState::Empty if generation < 0 => return Ok(()),
            _ => {}
        }
        if generation >= 0 || !member_id.is_empty() || instance.is_some() {
            self.validate_member(member_id, instance)?;
            if generation != self.generation {
                marks::GROUP_COMMIT_FENCED.reach();
                return Err(GroupError::IllegalGeneration);
            }
        } else {
            return Err(GroupError::UnknownMemberId);
        }
        if self.is(GroupState::CompletingRebalance) {
            // The member knows the generation but not yet its assignment.
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    pub(super) fn set_assignment(&mut self, mut of: impl FnMut(&Str) -> Bytes) {
        for member in self.members.values_mut() {
            member.assignment = of(&member.id);
        }
    }
}
