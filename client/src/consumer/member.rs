//! A member of a classic group, as a pure state machine (KIP-62, KIP-394, KIP-429).
//!
//! The task asks [`Member::next`] what to do, does it, and tells the machine what came of it. What
//! the application must do (letting go of partitions, taking new ones) is a [`Rebalance`] that a poll
//! picks up; no new generation is joined before an eager member has let go of everything.
//!
//! | state | leaves it when |
//! | --- | --- |
//! | `Unjoined` | it joins: JoinGroup, then SyncGroup |
//! | `Stable` | a heartbeat says that the group rebalances, or what is subscribed to changes |
//!
//! An unknown member or generation means that others may hold our partitions already: they are
//! *lost*, nothing may be committed for them any more.

use std::{collections::BTreeSet, time::Duration};

use ottla_core::time::Instant;
use ottla_wire::{ErrorCode, Str};

use crate::types::TopicPartition;

/// What a member must know of the settings.
#[derive(Clone, Debug)]
pub(crate) struct MemberConfig {
    pub(crate) cooperative: bool,
    pub(crate) is_static: bool,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_poll_interval: Duration,
}

/// What the task is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Find the coordinator.
    FindCoordinator,
    /// Join, and sync.
    Join,
    /// Send a heartbeat.
    Heartbeat,
    /// Leave the group.
    Leave,
    /// Nothing until then, or until something happens.
    Wait(Option<Instant>),
}

/// What the application is to do before the member goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rebalance {
    /// To be let go of.
    pub(crate) revoked: BTreeSet<TopicPartition>,
    /// Gone already.
    pub(crate) lost: BTreeSet<TopicPartition>,
    /// To be read from now on.
    pub(crate) assigned: BTreeSet<TopicPartition>,
}

impl Rebalance {
    pub(crate) fn is_empty(&self) -> bool {
        self.revoked.is_empty() && self.lost.is_empty() && self.assigned.is_empty()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Member {
    config: MemberConfig,
    pub(crate) topics: BTreeSet<Str>,
    pub(crate) coordinator: Option<i32>,
    pub(crate) member_id: Str,
    pub(crate) generation: i32,
    pub(crate) owned: BTreeSet<TopicPartition>,
    stable: bool,
    rejoin: bool,
    leaving: bool,
    /// The application polls too rarely; joined again at its next poll.
    asleep: bool,
    pending: Option<Rebalance>,
    retry_at: Instant,
    heartbeat_at: Instant,
    polled_at: Instant,
}

impl Member {
    pub(crate) fn new(config: MemberConfig, now: Instant) -> Self {
        Self {
            config,
            topics: BTreeSet::new(),
            coordinator: None,
            member_id: Str::new(),
            generation: -1,
            owned: BTreeSet::new(),
            stable: false,
            rejoin: false,
            leaving: false,
            asleep: false,
            pending: None,
            retry_at: Instant(0),
            heartbeat_at: Instant(0),
            polled_at: now,
        }
    }

    /// The application wants these topics now; none is the end of membership.
    pub(crate) fn subscribe(&mut self, topics: BTreeSet<Str>, now: Instant) {
        self.rejoin |= self.topics != topics;
        if topics.is_empty() {
            // Also if topics are wanted again before it has left: the application has let go of all
            // that it held, and only a new membership gives it anew.
            self.leaving = true;
            self.drop_untaken();
        }
        self.topics = topics;
        self.polled_at = now;
    }

    /// What was given and not yet taken will not be.
    fn drop_untaken(&mut self) {
        if let Some(pending) = &mut self.pending {
            let untaken = std::mem::take(&mut pending.assigned);
            self.owned.retain(|p| !untaken.contains(p));
        }
        self.pending = self.pending.take().filter(|p| !p.is_empty());
    }

    /// The application polls. True if that gives the task something to do.
    pub(crate) fn polled(&mut self, now: Instant) -> bool {
        self.polled_at = now;
        std::mem::take(&mut self.asleep)
    }

    /// What the application must do first.
    pub(crate) fn pending(&self) -> Option<&Rebalance> {
        self.pending.as_ref()
    }

    /// The application has let go of what it had to. Gives what it may take now: nothing if the
    /// member lost its place meanwhile, because somebody else may have it already.
    pub(crate) fn rebalanced(&mut self, done: &Rebalance) -> BTreeSet<TopicPartition> {
        match self.pending.take() {
            Some(pending) if pending == *done => pending.assigned,
            Some(mut other) => {
                // What it has let go of is not to be let go of again.
                let gone = |p: &_| done.revoked.contains(p) || done.lost.contains(p);
                other.lost.retain(|p| !gone(p));
                self.pending = Some(other).filter(|p| !p.is_empty());
                BTreeSet::new()
            }
            None => BTreeSet::new(),
        }
    }

    /// Whether it is in a generation and may commit.
    pub(crate) fn is_stable(&self) -> bool {
        self.stable
    }

    /// Something about the topics changed that the leader must divide anew.
    pub(crate) fn request_rejoin(&mut self) {
        self.rejoin = true;
    }

    /// What to do now.
    pub(crate) fn next(&mut self, now: Instant) -> Action {
        let joined = !self.member_id.is_empty();
        if self.leaving {
            if joined {
                return Action::Leave;
            }
            self.leaving = false;
        }
        if self.topics.is_empty() || self.asleep {
            return Action::Wait(None);
        }
        let poll_by = self.polled_at.after(self.config.max_poll_interval);
        if now >= poll_by {
            self.asleep = true;
            if joined && !self.config.is_static {
                return Action::Leave;
            }
            self.forget(false);
            return Action::Wait(None);
        }
        if now < self.retry_at {
            return Action::Wait(Some(self.retry_at));
        }
        if self.coordinator.is_none() {
            return Action::FindCoordinator;
        }
        if (self.rejoin || !self.stable) && self.may_join() {
            return Action::Join;
        }
        if !self.stable {
            return Action::Wait(Some(poll_by));
        }
        if now >= self.heartbeat_at {
            return Action::Heartbeat;
        }
        Action::Wait(Some(self.heartbeat_at.min(poll_by)))
    }

    /// Whether nothing must be let go of first; sees to it if something must.
    fn may_join(&mut self) -> bool {
        if self.pending.is_some() {
            return false;
        }
        let revoked: BTreeSet<_> = if self.config.cooperative {
            self.owned
                .iter()
                .filter(|p| !self.topics.contains(&p.topic))
                .cloned()
                .collect()
        } else {
            self.owned.clone()
        };
        if revoked.is_empty() {
            return true;
        }
        self.owned.retain(|p| !revoked.contains(p));
        self.pending = Some(Rebalance {
            revoked,
            ..Rebalance::default()
        });
        false
    }

    /// The coordinator is this broker.
    pub(crate) fn on_coordinator(&mut self, node: i32) {
        self.coordinator = Some(node);
    }

    /// Joined and synced: this is ours now.
    pub(crate) fn on_joined(
        &mut self,
        member_id: Str,
        generation: i32,
        assigned: BTreeSet<TopicPartition>,
        subscribed: &BTreeSet<Str>,
        now: Instant,
    ) {
        self.member_id = member_id;
        self.generation = generation;
        self.stable = true;
        self.rejoin = self.topics != *subscribed;
        self.heartbeat_at = now.after(self.config.heartbeat_interval);
        // Who is on the way out takes nothing any more.
        let assigned = if self.leaving {
            BTreeSet::new()
        } else {
            assigned
        };
        let revoked: BTreeSet<_> = self.owned.difference(&assigned).cloned().collect();
        let added: BTreeSet<_> = assigned.difference(&self.owned).cloned().collect();
        // What is let go of is for others: they get it in the next round.
        self.rejoin |= self.config.cooperative && !revoked.is_empty();
        self.owned = assigned;
        let change = Rebalance {
            revoked,
            assigned: added,
            ..Rebalance::default()
        };
        if !change.is_empty() {
            self.pending = Some(change);
        }
    }

    /// The coordinator gives this id to join with (KIP-394).
    pub(crate) fn on_member_id(&mut self, member_id: Str) {
        self.member_id = member_id;
    }

    /// A heartbeat came through.
    pub(crate) fn on_heartbeat(&mut self, now: Instant) {
        self.heartbeat_at = now.after(self.config.heartbeat_interval);
    }

    /// A join, sync, heartbeat or commit was refused. `false`: for good.
    pub(crate) fn on_refused(&mut self, code: ErrorCode, now: Instant, wait: Duration) -> bool {
        self.heartbeat_at = now.after(self.config.heartbeat_interval);
        match code {
            ErrorCode::RebalanceInProgress => self.rejoin = true,
            ErrorCode::UnknownMemberId => self.forget(true),
            ErrorCode::IllegalGeneration => self.forget(false),
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                self.on_no_coordinator(now, wait);
            }
            code if code.is_retriable() => self.retry_at = now.after(wait),
            _ => return false,
        }
        true
    }

    /// The coordinator does not answer, or is another.
    pub(crate) fn on_no_coordinator(&mut self, now: Instant, wait: Duration) {
        self.coordinator = None;
        self.retry_at = now.after(wait);
    }

    /// Left, or tried to.
    pub(crate) fn on_left(&mut self) {
        self.leaving = false;
        self.forget(true);
    }

    /// All that was ours may be somebody else's.
    fn forget(&mut self, id_too: bool) {
        if id_too {
            self.member_id = Str::new();
        }
        self.generation = -1;
        self.stable = false;
        let mut pending = self.pending.take().unwrap_or_default();
        // What was never taken is not lost; what was to be let go of is.
        let mut lost: BTreeSet<_> = self.owned.difference(&pending.assigned).cloned().collect();
        lost.append(&mut pending.revoked);
        lost.append(&mut pending.lost);
        self.owned.clear();
        if !lost.is_empty() {
            self.pending = Some(Rebalance {
                lost,
                ..Rebalance::default()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn member(cooperative: bool) -> Member {
        let config = MemberConfig {
            cooperative,
            is_static: false,
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
        };
        let mut member = Member::new(config, Instant(0));
        member.subscribe(["t".into()].into(), Instant(0));
        member
    }

    fn partitions(list: &[i32]) -> BTreeSet<TopicPartition> {
        list.iter().map(|p| TopicPartition::new("t", *p)).collect()
    }

    fn join(member: &mut Member, assigned: &[i32], now: Instant) {
        member.on_coordinator(1);
        assert_eq!(member.next(now), Action::Join);
        let topics = member.topics.clone();
        member.on_joined("m".into(), 1, partitions(assigned), &topics, now);
        while let Some(pending) = member.pending().cloned() {
            member.rebalanced(&pending);
        }
    }

    #[test]
    fn an_eager_member_lets_go_of_everything_before_it_joins_again() {
        let mut member = member(false);
        assert_eq!(member.next(Instant(0)), Action::FindCoordinator);
        join(&mut member, &[0, 1], Instant(0));
        let later = Instant(0).after(Duration::from_secs(3));
        assert_eq!(member.next(later), Action::Heartbeat);
        assert!(member.on_refused(ErrorCode::RebalanceInProgress, later, TICK));
        assert!(matches!(member.next(later), Action::Wait(_)));
        let pending = member.pending().cloned().unwrap();
        assert_eq!(pending.revoked, partitions(&[0, 1]));
        member.rebalanced(&pending);
        assert_eq!(member.next(later), Action::Join);
    }

    #[test]
    fn a_cooperative_member_keeps_reading_and_joins_again_when_it_gave_something_up() {
        let mut member = member(true);
        join(&mut member, &[0, 1], Instant(0));
        assert!(member.on_refused(ErrorCode::RebalanceInProgress, Instant(1), TICK));
        assert_eq!(member.next(Instant(1)), Action::Join);
        let topics = member.topics.clone();
        member.on_joined("m".into(), 2, partitions(&[0]), &topics, Instant(1));
        let pending = member.pending().cloned().unwrap();
        assert_eq!(
            (pending.revoked.clone(), pending.assigned.len()),
            (partitions(&[1]), 0)
        );
        assert!(matches!(member.next(Instant(1)), Action::Wait(_)));
        member.rebalanced(&pending);
        assert_eq!(member.next(Instant(1)), Action::Join);
    }

    #[test]
    fn an_unknown_member_loses_what_it_took_and_nothing_that_it_did_not() {
        let mut member = member(true);
        join(&mut member, &[0], Instant(0));
        let topics = member.topics.clone();
        member.on_joined("m".into(), 2, partitions(&[0, 1]), &topics, Instant(1));
        assert!(member.on_refused(ErrorCode::UnknownMemberId, Instant(2), TICK));
        assert_eq!(member.pending().unwrap().lost, partitions(&[0]));
        assert_eq!(member.member_id, "");
        assert!(!member.is_stable());
    }

    #[test]
    fn what_was_lost_while_the_application_let_go_of_something_is_not_taken() {
        let mut member = member(true);
        join(&mut member, &[0, 1], Instant(0));
        let topics = member.topics.clone();
        member.on_joined("m".into(), 2, partitions(&[1, 2]), &topics, Instant(1));
        let change = member.pending().cloned().unwrap();
        // The application commits for what is revoked; meanwhile the coordinator forgets the member.
        assert!(member.on_refused(ErrorCode::UnknownMemberId, Instant(2), TICK));
        assert_eq!(member.rebalanced(&change), partitions(&[]));
        let lost = member.pending().cloned().unwrap();
        assert_eq!(lost.lost, partitions(&[1]));
        assert!(lost.assigned.is_empty());
        assert_eq!(member.rebalanced(&lost), partitions(&[]));
        assert_eq!(member.next(Instant(2)), Action::Join);
    }

    #[test]
    fn a_member_that_wants_nothing_and_then_something_leaves_in_between() {
        let mut member = member(true);
        join(&mut member, &[0], Instant(0));
        let topics = member.topics.clone();
        member.subscribe(BTreeSet::new(), Instant(1));
        member.subscribe(topics, Instant(1));
        assert_eq!(member.next(Instant(1)), Action::Leave);
        member.on_left();
        let pending = member.pending().cloned().unwrap();
        assert_eq!(pending.lost, partitions(&[0]));
        member.rebalanced(&pending);
        assert!(member.owned.is_empty());
        join(&mut member, &[0], Instant(1));
    }

    #[test]
    fn a_member_on_its_way_out_takes_nothing_that_a_late_join_gives() {
        let mut member = member(true);
        member.on_coordinator(1);
        assert_eq!(member.next(Instant(0)), Action::Join);
        let topics = member.topics.clone();
        member.subscribe(BTreeSet::new(), Instant(1));
        member.on_joined("m".into(), 1, partitions(&[0]), &topics, Instant(1));
        assert_eq!(member.pending(), None);
        assert_eq!(member.next(Instant(1)), Action::Leave);
        member.on_left();
        assert_eq!(member.next(Instant(1)), Action::Wait(None));
    }

    #[test]
    fn a_member_that_is_not_polled_leaves_and_comes_back_with_the_next_poll() {
        let mut member = member(false);
        join(&mut member, &[0], Instant(0));
        let late = Instant(0).after(Duration::from_secs(300));
        assert_eq!(member.next(late), Action::Leave);
        member.on_left();
        assert_eq!(member.next(late), Action::Wait(None));
        assert_eq!(member.pending().unwrap().lost, partitions(&[0]));
        let pending = member.pending().cloned().unwrap();
        member.rebalanced(&pending);
        assert!(member.polled(late));
        assert!(!member.polled(late));
        assert_eq!(member.next(late), Action::Join);
    }

    #[test]
    fn a_fenced_static_member_does_not_go_on() {
        let mut member = member(false);
        join(&mut member, &[0], Instant(0));
        assert!(!member.on_refused(ErrorCode::FencedInstanceId, Instant(1), TICK));
    }
}
