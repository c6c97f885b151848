//! Joining, syncing, leaving: the classic protocol without time-outs.

use super::*;

#[test]
fn a_new_member_is_told_its_id_before_it_may_join() {
    let mut f = Fixture::new();
    let request = JoinGroup {
        requires_member_id: true,
        ..f.join_request("g", "")
    };
    let ticket = f.send(Request::Join(request.clone()));
    let told = f.joined(ticket);
    assert_eq!(told.error, Some(GroupError::MemberIdRequired));
    assert!(
        told.member_id.starts_with("client-00000000-0000-"),
        "{}",
        told.member_id
    );
    assert_eq!(told.member_id.len(), "client-".len() + 36);

    let again = f.send(Request::Join(JoinGroup {
        member_id: told.member_id.clone(),
        ..request
    }));
    f.pass(DELAY);
    let joined = f.joined(again);
    assert_eq!((joined.error, joined.generation_id), (None, 1));
    assert_eq!(joined.member_id, told.member_id);
    assert_eq!(joined.leader, told.member_id);
}

#[test]
fn an_id_that_was_never_given_is_refused() {
    let mut f = Fixture::new();
    let ticket = f.join("g", "somebody");
    assert_eq!(f.joined(ticket).error, Some(GroupError::UnknownMemberId));
    f.stable("g", 1);
    let ticket = f.join("g", "somebody");
    assert_eq!(f.joined(ticket).error, Some(GroupError::UnknownMemberId));
    assert_eq!(f.state("g"), Some(GroupState::Stable));
}

#[test]
fn the_leader_alone_is_told_who_the_members_are() {
    let mut f = Fixture::new();
    let members = f.stable("g", 3);
    assert_eq!(members[0].members.len(), 3);
    assert!(
        members[1..]
            .iter()
            .all(|m| m.members.is_empty() && m.leader == members[0].member_id)
    );
    assert!(
        members
            .iter()
            .all(|m| m.protocol_name == Some("range".into()))
    );
}

#[test]
fn the_protocol_that_most_members_prefer_wins() {
    let mut f = Fixture::new();
    let all: [&[&str]; 3] = [&["a", "b"], &["b", "a", "c"], &["b", "a"]];
    let tickets = all.map(|names| {
        let protocols = names.iter().map(|name| protocol(name, &["t"])).collect();
        let request = JoinGroup {
            protocols,
            ..f.join_request("g", "")
        };
        f.send(Request::Join(request))
    });
    f.pass(DELAY + DELAY);
    for ticket in tickets {
        assert_eq!(f.joined(ticket).protocol_name, Some("b".into()));
    }
}

#[test]
fn members_that_share_no_protocol_or_type_do_not_get_in() {
    let mut f = Fixture::new();
    f.stable("g", 1);
    let other = alloc::vec![protocol("other", &["t"])];
    let strangers = [
        JoinGroup {
            protocols: other,
            ..f.join_request("g", "")
        },
        JoinGroup {
            protocol_type: "connect".into(),
            ..f.join_request("g", "")
        },
        JoinGroup {
            protocols: Vec::new(),
            ..f.join_request("new", "")
        },
        JoinGroup {
            protocol_type: Str::new(),
            ..f.join_request("new", "")
        },
    ];
    for stranger in strangers {
        let ticket = f.send(Request::Join(stranger));
        assert_eq!(
            f.joined(ticket).error,
            Some(GroupError::InconsistentGroupProtocol)
        );
    }
    assert_eq!(f.state("new"), None);
}

#[test]
fn an_empty_group_id_is_refused() {
    let mut f = Fixture::new();
    let ticket = f.join("", "");
    assert_eq!(f.joined(ticket).error, Some(GroupError::InvalidGroupId));
    let nobody = JoinAnswer::default();
    let ticket = f.sync("", &nobody, &[]);
    assert_eq!(f.synced(ticket), Err(GroupError::InvalidGroupId));
    assert_eq!(f.heartbeat("", &nobody), Err(GroupError::InvalidGroupId));
    assert_eq!(f.leave("", "m"), Err(GroupError::InvalidGroupId));
    let delete = Request::OffsetDelete(OffsetDelete::default());
    let expected = Response::OffsetDelete(Err(GroupError::InvalidGroupId));
    assert_eq!(f.ask(delete), expected);
}

#[test]
fn a_group_that_does_not_exist_has_an_answer_for_each_who_leaves_it() {
    let mut f = Fixture::new();
    let members = ["a", "b"].map(|id| MemberIdentity {
        member_id: id.into(),
        group_instance_id: None,
    });
    let request = LeaveGroup {
        group_id: "none".into(),
        members: members.to_vec(),
    };
    let expected = members.map(|who| (who, Err(GroupError::UnknownMemberId)));
    assert_eq!(
        f.ask(Request::Leave(request)),
        Response::Leave(Ok(expected.to_vec()))
    );
    assert_eq!(f.state("none"), None);
}

#[test]
fn a_session_time_out_outside_of_the_bounds_is_refused() {
    let mut f = Fixture::new();
    for session_timeout_ms in [-1, 5_999, 1_800_001] {
        let request = JoinGroup {
            session_timeout_ms,
            ..f.join_request("g", "")
        };
        let ticket = f.send(Request::Join(request));
        assert_eq!(
            f.joined(ticket).error,
            Some(GroupError::InvalidSessionTimeout)
        );
    }
    assert_eq!(f.state("g"), None);
}

#[test]
fn a_full_group_turns_new_members_away() {
    let mut f = Fixture::with(GroupConfig {
        max_size: 2,
        ..GroupConfig::default()
    });
    let members = f.stable("g", 2);
    let third = f.join("g", "");
    assert_eq!(f.joined(third).error, Some(GroupError::GroupMaxSizeReached));
    assert_eq!(f.heartbeat("g", &members[0]), Ok(()));
}

#[test]
fn a_group_loaded_over_its_size_lets_the_first_who_join_again_stay() {
    let mut f = Fixture::new();
    let members = f.stable("g", 3);
    f.config.max_size = 2;
    f.crash();
    assert_eq!(f.state("g"), Some(GroupState::PreparingRebalance));
    let tickets: Vec<Ticket> = members.iter().map(|m| f.join("g", &m.member_id)).collect();
    assert_eq!(
        f.joined(tickets[2]).error,
        Some(GroupError::GroupMaxSizeReached)
    );
    assert_eq!(
        f.joined(tickets[0]).generation_id,
        members[0].generation_id + 1
    );
    assert_eq!(f.joined(tickets[1]).error, None);
}

#[test]
fn a_follower_waits_for_the_leaders_assignment() {
    let mut f = Fixture::new();
    let tickets = [f.join("g", ""), f.join("g", "")];
    f.pass(DELAY + DELAY);
    let mut joined = tickets.map(|t| f.joined(t));
    joined.sort_by_key(|j| j.leader != j.member_id);
    let [leader, follower] = joined;
    let waiting = f.sync("g", &follower, &[]);
    assert_eq!(f.answer(waiting), None);
    let ticket = f.sync(
        "g",
        &leader,
        &[(&follower.member_id, "mine"), ("stranger", "x")],
    );
    assert_eq!(f.synced(waiting), Ok("mine".into()));
    // The leader left itself out.
    assert_eq!(f.synced(ticket), Ok("".into()));
}

#[test]
fn an_assignment_is_handed_out_only_once_it_is_durable() {
    let mut f = Fixture::new();
    let ticket = f.join("g", "");
    f.pass(DELAY);
    let leader = f.joined(ticket);
    f.is_durable_at_once = false;
    let first = f.sync("g", &leader, &[(&leader.member_id, "one")]);
    assert_eq!(
        (f.answer(first), f.state("g")),
        (None, Some(GroupState::CompletingRebalance))
    );
    // Its client gives up and asks again, with another assignment: the one under way counts.
    let second = f.sync("g", &leader, &[(&leader.member_id, "two")]);
    assert_eq!(f.synced(first), Err(GroupError::RebalanceInProgress));
    f.commit_all();
    assert_eq!(f.synced(second), Ok("one".into()));
}

#[test]
fn an_assignment_that_cannot_be_written_makes_everyone_join_again() {
    let mut f = Fixture::new();
    let ticket = f.join("g", "");
    f.pass(DELAY);
    let leader = f.joined(ticket);
    f.is_durable_at_once = false;
    for (failure, error) in [
        (
            AppendFailure::NotAvailable,
            GroupError::CoordinatorNotAvailable,
        ),
        (AppendFailure::NotLeader, GroupError::NotCoordinator),
        (AppendFailure::TooLarge, GroupError::UnknownServerError),
    ] {
        let now = JoinAnswer {
            generation_id: f.generation("g"),
            ..leader.clone()
        };
        let ticket = f.sync("g", &now, &[(&leader.member_id, "one")]);
        assert!(f.fail_one(failure));
        assert_eq!(f.synced(ticket), Err(error));
        assert_eq!(f.state("g"), Some(GroupState::PreparingRebalance));
        f.join("g", &leader.member_id);
        assert_eq!(f.state("g"), Some(GroupState::CompletingRebalance));
    }
}

#[test]
fn an_assignment_that_a_rebalance_overtook_is_not_handed_out() {
    let mut f = Fixture::new();
    let ticket = f.join("g", "");
    f.pass(DELAY);
    let leader = f.joined(ticket);
    f.is_durable_at_once = false;
    let syncing = f.sync("g", &leader, &[(&leader.member_id, "one")]);
    f.join("g", "");
    assert_eq!(f.synced(syncing), Err(GroupError::RebalanceInProgress));
    f.commit_all();
    assert_eq!(f.state("g"), Some(GroupState::PreparingRebalance));
    let again = f.join("g", &leader.member_id);
    let joined = f.joined(again);
    assert_eq!(joined.generation_id, 2);
    let ticket = f.sync("g", &joined, &[]);
    f.commit_all();
    assert_eq!(f.synced(ticket), Ok("".into()));
}

#[test]
fn requests_of_another_generation_or_stranger_are_refused() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    let old = JoinAnswer {
        generation_id: 0,
        ..members[0].clone()
    };
    let stranger = JoinAnswer {
        member_id: "x".into(),
        ..members[0].clone()
    };
    assert_eq!(f.heartbeat("g", &old), Err(GroupError::IllegalGeneration));
    assert_eq!(
        f.heartbeat("g", &stranger),
        Err(GroupError::UnknownMemberId)
    );
    assert_eq!(
        f.heartbeat("none", &stranger),
        Err(GroupError::UnknownMemberId)
    );
    let ticket = f.sync("g", &old, &[]);
    assert_eq!(f.synced(ticket), Err(GroupError::IllegalGeneration));
    let ticket = f.sync("g", &stranger, &[]);
    assert_eq!(f.synced(ticket), Err(GroupError::UnknownMemberId));
    let ticket = f.sync("none", &stranger, &[]);
    assert_eq!(f.synced(ticket), Err(GroupError::UnknownMemberId));
    assert_eq!(f.leave("g", "x"), Err(GroupError::UnknownMemberId));
    assert_eq!(f.leave("none", "x"), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_sync_that_names_another_protocol_is_refused() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    let sync = |kind: Option<&str>, name: Option<&str>| SyncGroup {
        group_id: "g".into(),
        generation_id: 1,
        member_id: members[0].member_id.clone(),
        protocol_type: kind.map(Str::from),
        protocol_name: name.map(Str::from),
        ..SyncGroup::default()
    };
    for (kind, name, fits) in [
        (Some("consumer"), Some("range"), true),
        (None, None, true),
        (Some("connect"), Some("range"), false),
        (Some("consumer"), Some("sticky"), false),
    ] {
        let Response::Sync(answer) = f.ask(Request::Sync(sync(kind, name))) else {
            panic!()
        };
        let expected = if fits {
            None
        } else {
            Some(GroupError::InconsistentGroupProtocol)
        };
        assert_eq!(answer.err(), expected);
    }
}

#[test]
fn a_new_member_makes_the_others_join_again() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    let new = f.join("g", "");
    assert_eq!(f.answer(new), None);
    assert_eq!(
        f.heartbeat("g", &members[0]),
        Err(GroupError::RebalanceInProgress)
    );
    let ticket = f.sync("g", &members[0], &[]);
    assert_eq!(f.synced(ticket), Err(GroupError::RebalanceInProgress));
    // They may still commit what they have.
    assert_eq!(f.commit("g", Some(&members[0]), 7), Ok(()));
    let tickets = [
        new,
        f.join("g", &members[0].member_id),
        f.join("g", &members[1].member_id),
    ];
    let joined = f.sync_all("g", &tickets);
    assert!(joined.iter().all(|j| j.generation_id == 2));
    assert_eq!(
        f.commit("g", Some(&members[0]), 8),
        Err(GroupError::IllegalGeneration)
    );
}

#[test]
fn joining_a_stable_group_again_matters_only_for_the_leader_and_for_what_is_new() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    let same = f.join("g", &members[1].member_id);
    assert_eq!(f.joined(same).generation_id, 1);
    assert_eq!(f.state("g"), Some(GroupState::Stable));

    let changed = JoinGroup {
        protocols: alloc::vec![protocol("range", &["t", "u"])],
        ..f.join_request("g", &members[1].member_id)
    };
    let changed = f.send(Request::Join(changed));
    assert_eq!(f.answer(changed), None);
    let leader = f.join("g", &members[0].member_id);
    f.sync_all("g", &[changed, leader]);

    // A leader that joins again wants an assignment for what has changed outside of the group.
    f.join("g", &members[0].member_id);
    assert_eq!(f.state("g"), Some(GroupState::PreparingRebalance));
}

#[test]
fn a_member_that_missed_the_answer_of_its_join_gets_it_again() {
    let mut f = Fixture::new();
    let ticket = f.join("g", "");
    f.pass(DELAY);
    let first = f.joined(ticket);
    let ticket = f.join("g", &first.member_id);
    assert_eq!(f.joined(ticket), first);
    assert_eq!(f.generation("g"), 1);
}

#[test]
fn a_join_that_its_client_repeats_frees_the_earlier_one() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    let first = f.join("g", &members[0].member_id);
    let second = f.join("g", &members[0].member_id);
    assert_eq!(f.joined(first).error, Some(GroupError::RebalanceInProgress));
    f.join("g", &members[1].member_id);
    assert_eq!(f.joined(second).error, None);
}

#[test]
fn the_last_to_leave_leaves_an_empty_group() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    assert_eq!(f.leave("g", &members[0].member_id), Ok(()));
    assert_eq!(f.state("g"), Some(GroupState::PreparingRebalance));
    assert_eq!(f.leave("g", &members[1].member_id), Ok(()));
    assert_eq!(f.state("g"), Some(GroupState::Empty));
    assert_eq!(f.generation("g"), 2);
    f.crash();
    assert_eq!(
        (f.state("g"), f.generation("g")),
        (Some(GroupState::Empty), 2)
    );
    assert_eq!(
        f.heartbeat("g", &members[0]),
        Err(GroupError::UnknownMemberId)
    );
}

#[test]
fn a_member_that_leaves_while_it_joins_is_answered() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    let waiting = f.join("g", &members[0].member_id);
    assert_eq!(f.leave("g", &members[0].member_id), Ok(()));
    assert_eq!(f.joined(waiting).error, Some(GroupError::UnknownMemberId));
}

#[test]
fn a_pending_member_that_leaves_leaves_nothing() {
    let mut f = Fixture::new();
    let request = JoinGroup {
        requires_member_id: true,
        ..f.join_request("g", "")
    };
    let ticket = f.send(Request::Join(request));
    let told = f.joined(ticket);
    assert_eq!(f.leave("g", &told.member_id), Ok(()));
    assert_eq!(f.state("g"), None);
}

#[test]
fn the_generation_after_the_last_number_is_the_first() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    f.shard.groups.get_mut("g").unwrap().classic.generation = i32::MAX;
    let ticket = f.join("g", &members[0].member_id);
    assert_eq!(f.joined(ticket).generation_id, 1);
}

#[test]
fn an_overlong_client_id_still_gives_an_id_that_records_hold() {
    let mut f = Fixture::new();
    let request = f.join_request("g", "");
    let ticket = f.send_as(&"é".repeat(16_383), Request::Join(request));
    f.pass(DELAY);
    let joined = f.joined(ticket);
    assert!(joined.member_id.len() < 32_767);
    f.sync_all("g", &[ticket]);
}

#[test]
fn everyone_who_waits_is_told_when_the_groups_move_elsewhere() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    let joining = f.join("g", &members[0].member_id);
    let ticket = f.join("h", "");
    f.pass(DELAY);
    let joined = f.joined(ticket);
    f.is_durable_at_once = false;
    let syncing = f.sync("h", &joined, &[]);
    let committing = f.send(Request::OffsetCommit(Fixture::commit_request("s", None, 1)));
    f.step(Input::Unload);
    assert_eq!(f.joined(joining).error, Some(GroupError::NotCoordinator));
    assert_eq!(f.synced(syncing), Err(GroupError::NotCoordinator));
    assert_eq!(f.committed(committing), Err(GroupError::NotCoordinator));
    assert_eq!(f.shard.next_timer(), None);
    f.commit_all();
    assert_eq!(
        f.heartbeat("g", &members[0]),
        Err(GroupError::NotCoordinator)
    );
}

#[test]
fn while_the_log_is_read_requests_are_put_off_but_heartbeats_are_not() {
    let mut f = Fixture::loading(GroupConfig::default());
    let ticket = f.join("g", "");
    assert_eq!(
        f.joined(ticket).error,
        Some(GroupError::CoordinatorLoadInProgress)
    );
    assert_eq!(
        f.commit("g", None, 1),
        Err(GroupError::CoordinatorLoadInProgress)
    );
    assert_eq!(f.heartbeat("g", &JoinAnswer::default()), Ok(()));
}

#[test]
fn a_group_left_before_its_first_record_is_durable_keeps_its_generation() {
    let mut f = Fixture::new();
    f.is_durable_at_once = false;
    let ticket = f.join("g", "");
    f.pass(DELAY);
    let member = f.joined(ticket).member_id;
    assert_eq!(f.leave("g", &member), Ok(()));
    assert_eq!(f.state("g"), Some(GroupState::Empty));
    assert_eq!(f.generation("g"), 2);
    f.commit_all();
    assert_eq!(f.generation("g"), 2);
    f.crash();
    assert_eq!(f.generation("g"), 2);
}

#[test]
fn a_group_left_before_its_first_record_is_gone_when_the_record_fails() {
    let mut f = Fixture::new();
    f.is_durable_at_once = false;
    let ticket = f.join("g", "");
    f.pass(DELAY);
    let member = f.joined(ticket).member_id;
    assert_eq!(f.leave("g", &member), Ok(()));
    assert!(f.fail_one(AppendFailure::NotAvailable));
    assert_eq!(f.state("g"), None);
}
