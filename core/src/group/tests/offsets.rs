//! Committing, fetching, deleting and expiring offsets.

use alloc::collections::BTreeSet;

use super::*;

const WEEK: Duration = seconds_const(7 * 24 * 3_600);
const TEN_MINUTES: Duration = seconds_const(600);

const fn seconds_const(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_commit_is_seen_and_answered_only_once_it_is_durable() {
    let mut f = Fixture::new();
    assert_eq!(f.commit("g", None, 1), Ok(()));
    f.is_durable_at_once = false;
    let ticket = f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 2)));
    assert_eq!(f.answer(ticket), None);
    assert_eq!(f.durable("g"), 1);
    f.commit_all();
    assert_eq!((f.committed(ticket), f.fetch("g")), (Ok(()), 2));
}

/// Asks for t-0 without waiting for the answer.
fn ask_for(f: &mut Fixture, group: &str) -> Ticket {
    f.send(Request::OffsetFetch(OffsetFetch {
        group_id: group.into(),
        ..OffsetFetch::default()
    }))
}

fn fetched(f: &Fixture, ticket: Ticket) -> Option<Result<i64, GroupError>> {
    match f.answer(ticket)? {
        Response::OffsetFetch(Ok(topics)) => {
            Some(Ok(topics.first().map_or(-1, |t| t.partitions[0].offset)))
        }
        Response::OffsetFetch(Err(error)) => Some(Err(*error)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fetch_behind_a_commit_that_is_under_way_waits_for_it() {
    let mut f = Fixture::new();
    f.is_durable_at_once = false;
    f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 1)));
    f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 2)));
    let both = ask_for(&mut f, "g");
    let third = f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 3)));
    let other = ask_for(&mut f, "h");
    assert_eq!(fetched(&f, other), Some(Ok(-1)), "another group's");
    f.commit_one();
    assert_eq!(fetched(&f, both), None);
    f.commit_one();
    assert_eq!((fetched(&f, both), f.answer(third)), (Some(Ok(2)), None));
    let last = ask_for(&mut f, "g");
    assert!(f.fail_one(AppendFailure::NotAvailable));
    assert_eq!(fetched(&f, last), Some(Ok(2)));
}

#[test]
fn a_fetch_that_waits_is_answered_when_the_groups_move_elsewhere() {
    let mut f = Fixture::new();
    f.is_durable_at_once = false;
    f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 1)));
    let waiting = ask_for(&mut f, "g");
    f.step(Input::Unload);
    assert_eq!(fetched(&f, waiting), Some(Err(GroupError::NotCoordinator)));
}

#[test]
fn a_fetch_behind_a_commit_that_waits_for_a_rewrite_waits_for_both() {
    let mut f = Fixture::new();
    f.commit("g", None, 1).unwrap();
    f.is_durable_at_once = false;
    f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 2)));
    f.shard.size.log = usize::MAX / 2;
    f.step(Input::Timer);
    f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 3)));
    let waiting = ask_for(&mut f, "g");
    f.commit_one();
    f.commit_one();
    assert_eq!(fetched(&f, waiting), None);
    f.commit_one();
    assert_eq!(fetched(&f, waiting), Some(Ok(3)));
}

#[test]
fn a_note_that_no_record_holds_is_refused_whatever_the_setting_says() {
    let mut f = Fixture::with(GroupConfig {
        offset_metadata_max_bytes: 1 << 20,
        ..GroupConfig::default()
    });
    let mut request = Fixture::commit_request("g", None, 1);
    request.topics[0].partitions[0].metadata = Some("n".repeat(32_768).into());
    let ticket = f.send(Request::OffsetCommit(request));
    assert_eq!(f.committed(ticket), Err(GroupError::OffsetMetadataTooLarge));
}

#[test]
fn a_commit_that_is_not_durable_is_never_seen() {
    let mut f = Fixture::new();
    f.is_durable_at_once = false;
    for (failure, error) in [
        (
            AppendFailure::NotAvailable,
            GroupError::CoordinatorNotAvailable,
        ),
        (AppendFailure::NotLeader, GroupError::NotCoordinator),
        (AppendFailure::TooLarge, GroupError::UnknownServerError),
        (AppendFailure::Full, GroupError::NotCoordinator),
    ] {
        let ticket = f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 2)));
        assert!(f.fail_one(failure));
        assert_eq!(
            (f.committed(ticket), f.fetch("g"), f.state("g")),
            (Err(error), -1, None)
        );
    }
}

#[test]
fn an_offset_comes_back_with_its_epoch_and_note() {
    let mut f = Fixture::new();
    f.commit("", None, 42).unwrap();
    f.crash();
    let all = OffsetFetch {
        group_id: "".into(),
        topics: None,
        require_stable: true,
    };
    let Response::OffsetFetch(Ok(topics)) = f.ask(Request::OffsetFetch(all)) else {
        panic!()
    };
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0].topic.name, "t");
    let expected = FetchedOffset {
        partition: 0,
        offset: 42,
        leader_epoch: 5,
        metadata: "note".into(),
        topic_id: Uuid::ZERO,
        error: None,
    };
    assert_eq!(topics[0].partitions, [expected]);
}

#[test]
fn a_note_that_is_too_long_is_refused_alone() {
    let mut f = Fixture::with(GroupConfig {
        offset_metadata_max_bytes: 4,
        ..GroupConfig::default()
    });
    let mut request = Fixture::commit_request("g", None, 1);
    let mut long = request.topics[0].partitions[0].clone();
    (long.partition, long.metadata) = (1, Some("notes".into()));
    request.topics[0].partitions.push(long);
    let ticket = f.send(Request::OffsetCommit(request.clone()));
    let Some(Response::OffsetCommit(Ok(results))) = f.answer(ticket) else {
        panic!()
    };
    let expected = [(0, None), (1, Some(GroupError::OffsetMetadataTooLarge))];
    assert_eq!(results[0].partitions, expected);
    // Java counts characters.
    request.topics[0].partitions.truncate(1);
    request.topics[0].partitions[0].metadata = Some("éééé".into());
    let ticket = f.send(Request::OffsetCommit(request));
    assert_eq!(f.committed(ticket), Ok(()));
}

#[test]
fn a_commit_for_a_group_that_does_not_exist_needs_to_be_from_outside() {
    let mut f = Fixture::new();
    let member = JoinAnswer {
        generation_id: 1,
        member_id: "m".into(),
        ..JoinAnswer::default()
    };
    let mut request = Fixture::commit_request("g", Some(&member), 1);
    for (knows, error) in [
        (false, GroupError::IllegalGeneration),
        (true, GroupError::GroupIdNotFound),
    ] {
        request.knows_group_id_not_found = knows;
        let ticket = f.send(Request::OffsetCommit(request.clone()));
        assert_eq!(f.committed(ticket), Err(error));
    }
    assert_eq!(f.commit("g", None, 1), Ok(()));
}

#[test]
fn a_group_with_members_takes_commits_from_them_alone() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    assert_eq!(f.commit("g", None, 1), Err(GroupError::UnknownMemberId));
    let stranger = JoinAnswer {
        member_id: "x".into(),
        ..members[0].clone()
    };
    assert_eq!(
        f.commit("g", Some(&stranger), 1),
        Err(GroupError::UnknownMemberId)
    );
    let old = JoinAnswer {
        generation_id: 0,
        ..members[0].clone()
    };
    assert_eq!(
        f.commit("g", Some(&old), 1),
        Err(GroupError::IllegalGeneration)
    );
    assert_eq!(f.commit("g", Some(&members[0]), 1), Ok(()));
    let again = f.join("g", &members[0].member_id);
    let joined = f.joined(again);
    assert_eq!(
        f.commit("g", Some(&joined), 2),
        Err(GroupError::RebalanceInProgress)
    );
}

#[test]
fn an_offset_of_a_topic_that_was_made_anew_is_not_shown() {
    let mut f = Fixture::new();
    let mut request = Fixture::commit_request("g", None, 9);
    request.topics[0].topic.id = Uuid::from_parts(1, 1);
    f.send(Request::OffsetCommit(request));
    f.crash();
    for (id, offset) in [
        (Uuid::ZERO, 9),
        (Uuid::from_parts(1, 1), 9),
        (Uuid::from_parts(2, 2), -1),
    ] {
        let request = OffsetFetch {
            group_id: "g".into(),
            topics: Some(alloc::vec![(
                TopicName {
                    name: "t".into(),
                    id
                },
                alloc::vec![0]
            )]),
            require_stable: false,
        };
        let Response::OffsetFetch(Ok(topics)) = f.ask(Request::OffsetFetch(request)) else {
            panic!()
        };
        assert_eq!(topics[0].partitions[0].offset, offset);
    }
}

#[test]
fn offsets_of_a_topic_deleted_while_nobody_coordinated_are_gone_once_loaded() {
    let mut f = Fixture::new();
    for (topic, id) in [("old", 1), ("new", 2), ("unknown", 0)] {
        let mut request = Fixture::commit_request("g", None, 9);
        request.topics[0].topic = TopicName {
            name: topic.into(),
            id: Uuid::from_parts(0, id),
        };
        f.send(Request::OffsetCommit(request));
    }
    f.shard = GroupShard::new(f.config.clone());
    let known = BTreeSet::from([Uuid::from_parts(0, 2)]);
    f.step(Input::KnownTopics(known.into()));
    f.load_log();
    for _ in 0..2 {
        let topics: Vec<_> = f.shard.groups["g"].offsets.keys().cloned().collect();
        assert_eq!(topics, ["new", "unknown"]);
        f.crash();
    }
}

#[test]
fn a_deleted_topic_takes_its_offsets_along_even_those_under_way() {
    let mut f = Fixture::new();
    f.commit("g", None, 1).unwrap();
    f.is_durable_at_once = false;
    f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 2)));
    f.send(Request::OffsetCommit(Fixture::commit_request("h", None, 2)));
    f.step(Input::TopicsDeleted(alloc::vec![(
        "t".into(),
        Uuid::from_parts(1, 1)
    )]));
    f.commit_all();
    assert_eq!((f.state("g"), f.state("h")), (None, None));
    f.crash();
    assert_eq!((f.state("g"), f.state("h")), (None, None));
}

#[test]
fn a_topic_deleted_while_the_log_is_read_loses_its_offsets_too() {
    let mut f = Fixture::new();
    f.commit("g", None, 1).unwrap();
    f.shard = GroupShard::new(f.config.clone());
    for (offset, record) in f.log.clone() {
        f.step(Input::Loaded {
            record,
            offset,
            producer_id: None,
        });
    }
    f.step(Input::TopicsDeleted(alloc::vec![("t".into(), Uuid::ZERO)]));
    f.step(Input::LoadDone);
    assert_eq!(f.fetch("g"), -1);
}

fn delete(f: &mut Fixture, group: &str, topic: &str) -> Result<Option<GroupError>, GroupError> {
    let request = OffsetDelete {
        group_id: group.into(),
        topics: alloc::vec![(topic.into(), alloc::vec![0])],
    };
    match f.ask(Request::OffsetDelete(request)) {
        Response::OffsetDelete(result) => result.map(|topics| topics[0].partitions[0].1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_of_topics_that_the_group_consumes_cannot_be_deleted() {
    let mut f = Fixture::new();
    assert_eq!(delete(&mut f, "g", "t"), Err(GroupError::GroupIdNotFound));
    let members = f.stable("g", 1);
    f.commit("g", Some(&members[0]), 1).unwrap();
    assert_eq!(
        delete(&mut f, "g", "t"),
        Ok(Some(GroupError::GroupSubscribedToTopic))
    );
    assert_eq!(delete(&mut f, "g", "other"), Ok(None));
    f.leave("g", &members[0].member_id).unwrap();
    assert_eq!(delete(&mut f, "g", "t"), Ok(None));
    assert_eq!(f.fetch("g"), -1);
    f.crash();
    assert_eq!(f.fetch("g"), -1);
}

#[test]
fn what_a_group_of_another_type_uses_cannot_be_deleted() {
    let mut f = Fixture::new();
    let request = JoinGroup {
        protocol_type: "connect".into(),
        ..f.join_request("g", "")
    };
    let ticket = f.send(Request::Join(request));
    f.pass(DELAY);
    f.sync_all("g", &[ticket]);
    assert_eq!(delete(&mut f, "g", "t"), Err(GroupError::NonEmptyGroup));
}

#[test]
fn an_offset_under_way_is_deleted_as_well() {
    let mut f = Fixture::new();
    f.is_durable_at_once = false;
    f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 1)));
    f.send(Request::OffsetDelete(OffsetDelete {
        group_id: "g".into(),
        topics: alloc::vec![("t".into(), alloc::vec![0])],
    }));
    f.commit_all();
    assert_eq!(f.fetch("g"), -1);
}

#[test]
fn offsets_of_a_group_without_members_expire_after_their_commit() {
    let mut f = Fixture::new();
    f.pass(Duration::from_millis(1));
    f.commit("g", None, 1).unwrap();
    f.pass(WEEK);
    assert_eq!(f.fetch("g"), 1);
    f.pass(TEN_MINUTES);
    assert_eq!((f.fetch("g"), f.state("g")), (-1, None));
    f.crash();
    assert_eq!(f.state("g"), None);
}

#[test]
fn offsets_of_a_group_expire_after_its_last_member_left_and_the_group_with_them() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    f.commit("g", Some(&members[0]), 1).unwrap();
    // It consumes the topic for two weeks without a commit.
    for _ in 0..2 * 7 * 24 * 450 {
        f.pass(seconds(8));
        assert_eq!(f.heartbeat("g", &members[0]), Ok(()));
    }
    assert_eq!(f.fetch("g"), 1);
    f.leave("g", &members[0].member_id).unwrap();
    f.pass(WEEK - seconds(1));
    assert_eq!(f.fetch("g"), 1);
    f.pass(TEN_MINUTES + seconds(1));
    assert_eq!((f.fetch("g"), f.state("g")), (-1, None));
    f.crash();
    assert_eq!(f.state("g"), None);
}

#[test]
fn a_stable_group_loses_offsets_only_of_topics_that_it_left() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    let mut request = Fixture::commit_request("g", Some(&members[0]), 1);
    let mut other = request.topics[0].clone();
    other.topic.name = "left".into();
    request.topics.push(other);
    f.send(Request::OffsetCommit(request));
    for _ in 0..8 * 24 * 450 {
        f.pass(seconds(8));
        assert_eq!(f.heartbeat("g", &members[0]), Ok(()));
    }
    let topics: Vec<_> = f.shard.groups["g"].offsets.keys().cloned().collect();
    assert_eq!(topics, ["t"]);
}

#[test]
fn offsets_do_not_expire_while_their_group_rebalances() {
    let mut f = Fixture::new();
    let members = f.stable("g", 1);
    let mut request = Fixture::commit_request("g", Some(&members[0]), 1);
    request.topics[0].topic.name = "left".into();
    f.send(Request::OffsetCommit(request));
    f.join("g", "");
    f.set_time(f.now.monotonic.after(WEEK));
    let now = f.now;
    let mut out = Vec::new();
    f.shard.expire_offsets(now, &mut out);
    assert_eq!(out, []);
}

#[test]
fn an_offset_with_an_expiry_of_its_own_goes_by_that() {
    let mut f = Fixture::new();
    let request = OffsetCommit {
        retention_time_ms: 3_600_000,
        ..Fixture::commit_request("g", None, 1)
    };
    f.send(Request::OffsetCommit(request));
    f.crash();
    f.pass(seconds(3_599));
    assert_eq!(f.fetch("g"), 1);
    f.pass(TEN_MINUTES);
    assert_eq!(f.fetch("g"), -1);
}

#[test]
fn an_expiry_never_overtakes_a_commit_under_way() {
    let mut f = Fixture::new();
    f.commit("g", None, 1).unwrap();
    f.set_time(f.now.monotonic.after(WEEK + TEN_MINUTES));
    f.is_durable_at_once = false;
    f.send(Request::OffsetCommit(Fixture::commit_request("g", None, 2)));
    f.step(Input::Timer);
    f.commit_all();
    assert_eq!(f.fetch("g"), 2);
}
