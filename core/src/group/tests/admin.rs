//! Describing, listing and deleting groups.

use super::*;

fn describe(f: &mut Fixture, group: &str) -> Result<GroupDescription, GroupError> {
    match f.ask(Request::Describe(group.into())) {
        Response::Describe(result) => result,
        other => panic!("{other:?}"),
    }
}

fn delete(f: &mut Fixture, group: &str) -> Result<(), GroupError> {
    match f.ask(Request::Delete(group.into())) {
        Response::Delete(result) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stable_group_is_described_in_full_and_a_rebalancing_one_without_its_metadata() {
    let mut f = Fixture::new();
    assert_eq!(describe(&mut f, "g"), Err(GroupError::GroupIdNotFound));
    f.stable("g", 2);
    let it = describe(&mut f, "g").unwrap();
    assert_eq!(
        (it.state, &*it.protocol_type, &*it.protocol),
        ("Stable", "consumer", "range")
    );
    assert!(
        it.members
            .iter()
            .all(|m| m.client_id == "client" && m.client_host == "/127.0.0.1")
    );
    assert!(
        it.members
            .iter()
            .all(|m| !m.metadata.is_empty() && !m.assignment.is_empty())
    );
    f.join("g", "");
    let it = describe(&mut f, "g").unwrap();
    assert_eq!(
        (it.state, &*it.protocol, it.members.len()),
        ("PreparingRebalance", "", 3)
    );
    assert!(it.members.iter().all(|m| m.metadata.is_empty()));
    // What they were assigned is theirs until they are assigned anew.
    let assigned = it.members.iter().filter(|m| !m.assignment.is_empty());
    assert_eq!(assigned.count(), 2);
}

#[test]
fn groups_are_listed_by_state_and_type_whatever_the_case() {
    let mut f = Fixture::new();
    f.stable("stable", 1);
    f.commit("simple", None, 1).unwrap();
    let mut list = |states: &[&str], types: &[&str]| {
        let filter = ListGroups {
            states: states.iter().map(|s| Str::from(*s)).collect(),
            types: types.iter().map(|s| Str::from(*s)).collect(),
        };
        let Response::List(Ok(groups)) = f.ask(Request::List(filter)) else {
            panic!()
        };
        groups
            .into_iter()
            .map(|g| String::from(g.group_id))
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&[], &[]), ["simple", "stable"]);
    assert_eq!(list(&["STABLE"], &["Classic"]), ["stable"]);
    assert_eq!(list(&["empty", "dead"], &[]), ["simple"]);
    assert!(list(&[], &["consumer"]).is_empty());
    assert!(list(&["nonsense"], &[]).is_empty());
}

#[test]
fn only_a_group_without_members_is_deleted_and_then_for_good() {
    let mut f = Fixture::new();
    assert_eq!(delete(&mut f, "g"), Err(GroupError::GroupIdNotFound));
    let members = f.stable("g", 1);
    f.commit("g", Some(&members[0]), 3).unwrap();
    assert_eq!(delete(&mut f, "g"), Err(GroupError::NonEmptyGroup));
    f.leave("g", &members[0].member_id).unwrap();
    assert_eq!(delete(&mut f, "g"), Ok(()));
    assert_eq!((f.state("g"), f.fetch("g")), (None, -1));
    f.crash();
    assert_eq!((f.state("g"), f.fetch("g")), (None, -1));
    // A group of the same name is a new one.
    let members = f.stable("g", 1);
    assert_eq!(members[0].generation_id, 1);
}

#[test]
fn a_group_on_its_way_out_takes_nothing_and_comes_back_if_it_cannot_be_deleted() {
    let mut f = Fixture::new();
    f.commit("g", None, 3).unwrap();
    f.is_durable_at_once = false;
    let deleting = f.send(Request::Delete("g".into()));
    let ticket = f.join("g", "");
    assert_eq!(
        f.joined(ticket).error,
        Some(GroupError::CoordinatorNotAvailable)
    );
    assert_eq!(
        f.commit("g", None, 4),
        Err(GroupError::CoordinatorNotAvailable)
    );
    assert_eq!(delete(&mut f, "g"), Err(GroupError::GroupIdNotFound));
    assert!(f.fail_one(AppendFailure::NotAvailable));
    let expected = Response::Delete(Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(f.answer(deleting), Some(&expected));
    assert_eq!((f.state("g"), f.fetch("g")), (Some(GroupState::Empty), 3));
}

#[test]
fn a_deletion_takes_the_commits_under_way_along() {
    let mut f = Fixture::new();
    f.commit("g", None, 1).unwrap();
    f.is_durable_at_once = false;
    let mut request = Fixture::commit_request("g", None, 2);
    request.topics[0].topic.name = "u".into();
    f.send(Request::OffsetCommit(request));
    f.send(Request::Delete("g".into()));
    f.commit_all();
    f.crash();
    assert_eq!(f.state("g"), None);
    assert_eq!(f.shard.live_records().count(), 0);
}
