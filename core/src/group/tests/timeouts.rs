//! Every time-out of a group, just before and at its end.

use super::*;

const ONE_MS: Duration = Duration::from_millis(1);

#[test]
fn a_new_group_waits_for_its_first_members() {
    let mut f = Fixture::new();
    let ticket = f.join("g", "");
    assert_eq!(f.shard.next_timer().unwrap().1, TimerReason::InitialDelay);
    f.pass(DELAY - ONE_MS);
    assert_eq!(f.answer(ticket), None);
    f.pass(ONE_MS);
    assert_eq!(f.joined(ticket).generation_id, 1);
}

#[test]
fn the_initial_delay_is_extended_while_members_come_up_to_the_rebalance_time_out() {
    let mut f = Fixture::new();
    let mut last = None;
    // A new one each second: the delay is extended again and again.
    for _ in 0..59 {
        last = Some(f.join("g", ""));
        f.pass(seconds(1));
        assert_eq!(f.answer(last.unwrap()), None);
    }
    f.pass(seconds(1));
    assert_eq!(f.joined(last.unwrap()).generation_id, 1);
    assert_eq!(f.shard.groups["g"].classic.member_count(), 59);
}

#[test]
fn a_member_that_goes_silent_is_out_after_its_session() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    f.pass(seconds(9));
    assert_eq!(f.heartbeat("g", &members[0]), Ok(()));
    f.pass(seconds(10) - ONE_MS);
    assert_eq!(f.state("g"), Some(GroupState::Stable));
    assert_eq!(f.shard.next_timer().unwrap().1, TimerReason::Session);
    f.pass(ONE_MS);
    assert_eq!(f.state("g"), Some(GroupState::Empty));
}

#[test]
fn a_commit_keeps_the_session() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    for n in 0..5 {
        f.pass(seconds(9));
        assert_eq!(f.commit("g", Some(&members[0]), n), Ok(()));
    }
    assert_eq!(f.state("g"), Some(GroupState::Stable));
}

#[test]
fn a_rebalance_goes_on_without_those_who_do_not_join_in_time() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    let again = f.join("g", &members[0].member_id);
    // The other one sends heartbeats, but does not join.
    for _ in 0..11 {
        f.pass(seconds(5));
        assert_eq!(
            f.heartbeat("g", &members[1]),
            Err(GroupError::RebalanceInProgress)
        );
    }
    f.pass(seconds(5) - ONE_MS);
    assert_eq!(f.answer(again), None);
    f.pass(ONE_MS);
    let joined = f.joined(again);
    assert_eq!((joined.generation_id, joined.members.len()), (2, 1));
    assert_eq!(
        f.heartbeat("g", &members[1]),
        Err(GroupError::UnknownMemberId)
    );
}

#[test]
fn a_leader_that_does_not_join_in_time_is_replaced() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    let changed = JoinGroup {
        protocols: alloc::vec![protocol("range", &["u"])],
        ..f.join_request("g", &members[1].member_id)
    };
    let ticket = f.send(Request::Join(changed));
    f.pass(seconds(10));
    let joined = f.joined(ticket);
    assert_eq!(joined.leader, members[1].member_id);
}

#[test]
fn an_id_that_is_not_used_within_a_session_is_forgotten() {
    let mut f = Fixture::new();
    let request = JoinGroup {
        requires_member_id: true,
        ..f.join_request("g", "")
    };
    let ticket = f.send(Request::Join(request));
    let told = f.joined(ticket).member_id;
    f.pass(seconds(10) - ONE_MS);
    assert_eq!(f.state("g"), Some(GroupState::Empty));
    f.pass(ONE_MS);
    assert_eq!(f.state("g"), None);
    let ticket = f.join("g", &told);
    assert_eq!(f.joined(ticket).error, Some(GroupError::UnknownMemberId));
}

#[test]
fn a_rebalance_does_not_wait_for_an_id_that_is_not_used() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    let request = JoinGroup {
        requires_member_id: true,
        ..f.join_request("g", "")
    };
    f.send(Request::Join(request));
    let again = f.join("g", &members[0].member_id);
    assert_eq!(f.answer(again), None);
    f.pass(seconds(10));
    assert_eq!(f.joined(again).generation_id, 2);
}

#[test]
fn a_new_member_whose_join_waits_too_long_is_out() {
    let mut f = Fixture::new();
    let slow = JoinGroup {
        rebalance_timeout_ms: 3_600_000,
        ..f.join_request("g", "")
    };
    let ticket = f.send(Request::Join(slow));
    f.pass(DELAY);
    let first = f.sync_all("g", &[ticket])[0].clone();
    let new = f.join("g", "");
    for _ in 0..59 {
        f.pass(seconds(5));
        assert_eq!(
            f.heartbeat("g", &first),
            Err(GroupError::RebalanceInProgress)
        );
    }
    assert_eq!(f.answer(new), None);
    f.pass(seconds(5));
    assert_eq!(f.joined(new).error, Some(GroupError::UnknownMemberId));
}

#[test]
fn members_that_do_not_ask_for_their_assignment_are_out() {
    let mut f = Fixture::new();
    let tickets = [f.join("g", ""), f.join("g", "")];
    f.pass(DELAY + DELAY);
    let mut joined = tickets.map(|t| f.joined(t));
    joined.sort_by_key(|j| j.leader != j.member_id);
    let [leader, follower] = joined;
    let waiting = f.sync("g", &follower, &[]);
    for _ in 0..11 {
        f.pass(seconds(5));
        assert_eq!(f.heartbeat("g", &leader), Ok(()));
    }
    assert_eq!(f.answer(waiting), None);
    f.pass(seconds(5));
    assert_eq!(f.synced(waiting), Err(GroupError::RebalanceInProgress));
    assert_eq!(f.heartbeat("g", &leader), Err(GroupError::UnknownMemberId));
    let again = f.join("g", &follower.member_id);
    assert_eq!(f.joined(again).leader, follower.member_id);
}

#[test]
fn a_member_that_waits_for_its_assignment_needs_no_heartbeat() {
    let mut f = Fixture::new();
    let tickets = [f.join("g", ""), f.join("g", "")];
    f.pass(DELAY + DELAY);
    let mut joined = tickets.map(|t| f.joined(t));
    joined.sort_by_key(|j| j.leader != j.member_id);
    let [leader, follower] = joined;
    let waiting = f.sync("g", &follower, &[]);
    for _ in 0..4 {
        f.pass(seconds(8));
        assert_eq!(f.heartbeat("g", &leader), Ok(()));
    }
    f.sync("g", &leader, &[(&follower.member_id, "mine")]);
    assert_eq!(f.synced(waiting), Ok("mine".into()));
    // And from then on it has a whole session.
    f.pass(seconds(10) - ONE_MS);
    assert_eq!(f.heartbeat("g", &follower), Ok(()));
}

#[test]
fn members_of_a_loaded_group_have_a_session_to_show_themselves() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    f.pass(seconds(9));
    f.crash();
    f.pass(seconds(10) - ONE_MS);
    assert_eq!(f.heartbeat("g", &members[0]), Ok(()));
    f.pass(ONE_MS);
    assert_eq!(
        f.heartbeat("g", &members[0]),
        Err(GroupError::RebalanceInProgress)
    );
}

#[test]
fn a_rebalance_whose_members_grant_it_no_time_waits_for_their_sessions() {
    let mut f = Fixture::new();
    let request = JoinGroup {
        group_instance_id: Some("a".into()),
        rebalance_timeout_ms: 0,
        ..f.join_request("g", "")
    };
    let fixed = f.send(Request::Join(request));
    let request = JoinGroup {
        rebalance_timeout_ms: -1,
        ..f.join_request("g", "")
    };
    let moving = f.send(Request::Join(request));
    f.pass(DELAY);
    let members = f.sync_all("g", &[fixed, moving]);
    let moving = members
        .iter()
        .find(|m| !m.member_id.starts_with("a-"))
        .unwrap();
    assert_eq!(f.leave("g", &moving.member_id), Ok(()));
    // Each step ends, and each is due a moment after the one before.
    for _ in 0..100 {
        let due = f.shard.next_timer().unwrap().0;
        assert!(due > f.now.monotonic);
        f.set_time(due);
        f.step(Input::Timer);
    }
    assert_eq!(f.state("g"), Some(GroupState::PreparingRebalance));
    f.pass(seconds(10));
    assert_eq!(f.state("g"), Some(GroupState::Empty));
}
