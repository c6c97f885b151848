//! Static members (KIP-345, KIP-814).

use super::*;

impl Fixture {
    fn join_static(&mut self, member: &str, instance: &str, skips: bool) -> Ticket {
        let request = JoinGroup {
            group_instance_id: Some(instance.into()),
            requires_member_id: true,
            can_skip_assignment: skips,
            ..self.join_request("g", member)
        };
        self.send(Request::Join(request))
    }

    /// A stable group of two static members, "a" and "b"; the leader first.
    fn stable_pair(&mut self) -> (Vec<JoinAnswer>, [&'static str; 2]) {
        let tickets = [
            self.join_static("", "a", true),
            self.join_static("", "b", true),
        ];
        self.pass(DELAY + DELAY);
        let joined = self.sync_all("g", &tickets);
        let names = if joined[0].member_id.starts_with("a-") {
            ["a", "b"]
        } else {
            ["b", "a"]
        };
        (joined, names)
    }
}

#[test]
fn a_static_member_needs_no_member_id_and_is_named_after_its_instance() {
    let mut f = Fixture::new();
    let ticket = f.join_static("", "a", true);
    f.pass(DELAY);
    let joined = f.joined(ticket);
    assert_eq!(joined.error, None);
    assert!(joined.member_id.starts_with("a-"));
    assert_eq!(joined.members[0].group_instance_id, Some("a".into()));
}

#[test]
fn a_follower_that_comes_back_gets_its_assignment_without_a_rebalance() {
    let mut f = Fixture::new();
    let (old, [_, follower]) = f.stable_pair();
    let ticket = f.join_static("", follower, true);
    let back = f.joined(ticket);
    assert_eq!(
        (back.error, back.generation_id, back.skip_assignment),
        (None, 1, false)
    );
    assert_ne!(back.member_id, old[1].member_id);
    assert_eq!(back.leader, old[0].member_id);
    let ticket = f.sync("g", &back, &[]);
    assert_eq!(f.synced(ticket), Ok("p1".into()));
    assert_eq!(f.heartbeat("g", &old[0]), Ok(()));
    f.crash();
    assert_eq!(f.heartbeat("g", &back), Ok(()));
}

#[test]
fn a_leader_that_comes_back_keeps_the_assignment() {
    let mut f = Fixture::new();
    let (old, [leader, _]) = f.stable_pair();
    let ticket = f.join_static("", leader, true);
    let back = f.joined(ticket);
    assert_eq!((back.skip_assignment, back.members.len()), (true, 2));
    assert_eq!(back.leader, back.member_id);
    // One whose client cannot skip is told of a leader that is not itself.
    let ticket = f.join_static("", leader, false);
    let again = f.joined(ticket);
    assert_eq!((again.skip_assignment, again.members.len()), (false, 0));
    assert_eq!(again.leader, back.member_id);
    assert_ne!(again.member_id, back.member_id);
    assert_eq!(f.state("g"), Some(GroupState::Stable));
    assert_eq!(f.heartbeat("g", &old[1]), Ok(()));
}

#[test]
fn the_old_holder_of_an_instance_is_fenced() {
    let mut f = Fixture::new();
    let (old, [_, follower]) = f.stable_pair();
    f.join_static("", follower, true);
    let instance = Some(Str::from(follower));
    let heartbeat = Heartbeat {
        group_id: "g".into(),
        generation_id: 1,
        member_id: old[1].member_id.clone(),
        group_instance_id: instance.clone(),
    };
    let expected = Response::Heartbeat(Err(GroupError::FencedInstanceId));
    assert_eq!(f.ask(Request::Heartbeat(heartbeat)), expected);
    let ticket = f.join_static(&old[1].member_id, follower, true);
    assert_eq!(f.joined(ticket).error, Some(GroupError::FencedInstanceId));
    let commit = OffsetCommit {
        group_instance_id: instance.clone(),
        ..Fixture::commit_request("g", Some(&old[1]), 1)
    };
    let ticket = f.send(Request::OffsetCommit(commit));
    assert_eq!(f.committed(ticket), Err(GroupError::FencedInstanceId));
    let sync = SyncGroup {
        group_id: "g".into(),
        generation_id: 1,
        member_id: old[1].member_id.clone(),
        group_instance_id: instance,
        ..SyncGroup::default()
    };
    assert_eq!(
        f.ask(Request::Sync(sync)),
        Response::Sync(Err(GroupError::FencedInstanceId))
    );
}

#[test]
fn a_join_that_waits_is_fenced_by_its_successor() {
    let mut f = Fixture::new();
    let (old, [leader, _]) = f.stable_pair();
    let waiting = f.join_static(&old[0].member_id, leader, true);
    assert_eq!(f.answer(waiting), None);
    let successor = f.join_static("", leader, true);
    assert_eq!(f.joined(waiting).error, Some(GroupError::FencedInstanceId));
    assert_eq!(f.answer(successor), None);
    f.pass(seconds(60));
    assert_eq!(f.joined(successor).error, None);
}

#[test]
fn a_static_member_that_prefers_another_protocol_makes_a_rebalance() {
    let mut f = Fixture::new();
    let tickets = ["a", "b"].map(|instance| {
        let request = JoinGroup {
            group_instance_id: Some(instance.into()),
            protocols: alloc::vec![protocol("x", &["t"]), protocol("y", &["t"])],
            ..f.join_request("g", "")
        };
        f.send(Request::Join(request))
    });
    f.pass(DELAY + DELAY);
    f.sync_all("g", &tickets);
    let request = JoinGroup {
        group_instance_id: Some("a".into()),
        protocols: alloc::vec![protocol("y", &["t"])],
        ..f.join_request("g", "")
    };
    let ticket = f.send(Request::Join(request));
    assert_eq!(
        (f.answer(ticket), f.state("g")),
        (None, Some(GroupState::PreparingRebalance))
    );
}

#[test]
fn a_replacement_that_cannot_be_written_leaves_the_old_member() {
    let mut f = Fixture::new();
    let (old, [leader, _]) = f.stable_pair();
    f.is_durable_at_once = false;
    let ticket = f.join_static("", leader, true);
    assert_eq!(f.answer(ticket), None);
    assert!(f.fail_one(AppendFailure::NotAvailable));
    assert_eq!(
        f.joined(ticket).error,
        Some(GroupError::CoordinatorNotAvailable)
    );
    assert_eq!(f.joined(ticket).leader, old[0].member_id);
    assert_eq!(f.heartbeat("g", &old[0]), Ok(()));
    assert!(f.shard.groups["g"].classic.is_leader(&old[0].member_id));
}

#[test]
fn a_replacement_that_a_rebalance_overtakes_joins_it() {
    let mut f = Fixture::new();
    let (old, [leader, follower]) = f.stable_pair();
    f.is_durable_at_once = false;
    let back = f.join_static("", follower, true);
    let again = f.join_static(&old[0].member_id, leader, true);
    assert_eq!(f.joined(back).generation_id, 2);
    assert_eq!(f.joined(again).generation_id, 2);
    f.commit_all();
    assert_eq!(f.state("g"), Some(GroupState::CompletingRebalance));
}

#[test]
fn a_static_member_that_is_away_during_a_rebalance_keeps_its_place_for_a_session() {
    let mut f = Fixture::new();
    let (old, [leader, _]) = f.stable_pair();
    let ticket = f.join_static(&old[0].member_id, leader, true);
    f.pass(seconds(10) - Duration::from_millis(1));
    assert_eq!(f.answer(ticket), None);
    f.pass(Duration::from_millis(1));
    assert_eq!(f.joined(ticket).members.len(), 1);
}

#[test]
fn an_operator_removes_a_static_member_by_its_instance() {
    let mut f = Fixture::new();
    f.stable_pair();
    let members = ["a", "nobody", "b"].map(|i| MemberIdentity {
        member_id: Str::new(),
        group_instance_id: Some(i.into()),
    });
    let request = LeaveGroup {
        group_id: "g".into(),
        members: members.to_vec(),
    };
    let Response::Leave(Ok(left)) = f.ask(Request::Leave(request)) else {
        panic!()
    };
    let results: Vec<_> = left.into_iter().map(|(_, result)| result).collect();
    assert_eq!(results, [Ok(()), Err(GroupError::UnknownMemberId), Ok(())]);
    assert_eq!(f.state("g"), Some(GroupState::Empty));
}

#[test]
fn a_static_member_replaced_while_its_first_join_waits_stays_until_the_rebalance_ends() {
    let mut f = Fixture::new();
    let slow = JoinGroup {
        rebalance_timeout_ms: 3_600_000,
        ..f.join_request("g", "")
    };
    let ticket = f.send(Request::Join(slow));
    f.pass(DELAY);
    let first = f.sync_all("g", &[ticket])[0].clone();
    f.join_static("", "a", true);
    let again = f.join_static("", "a", true);
    for _ in 0..600 {
        f.pass(seconds(5));
        assert_eq!(
            f.heartbeat("g", &first),
            Err(GroupError::RebalanceInProgress)
        );
    }
    assert_eq!(f.answer(again), None);
    f.join("g", &first.member_id);
    assert_eq!(f.joined(again).error, None);
}
