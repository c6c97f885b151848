//! What is larger than a record, a batch or a group can hold.

use super::*;

#[test]
fn a_join_with_strings_that_no_record_holds_is_refused_and_leaves_nothing() {
    let mut f = Fixture::new();
    let long = Str::from("é".repeat(16_384));
    let plain = f.join_request("g", "");
    let too_long = [
        JoinGroup {
            group_id: long.clone(),
            ..plain.clone()
        },
        JoinGroup {
            member_id: long.clone(),
            ..plain.clone()
        },
        JoinGroup {
            group_instance_id: Some(long.clone()),
            ..plain.clone()
        },
        JoinGroup {
            protocol_type: long.clone(),
            ..plain.clone()
        },
        JoinGroup {
            protocols: alloc::vec![protocol(&long, &["t"])],
            ..plain.clone()
        },
        JoinGroup {
            protocols: (0..257)
                .map(|n| protocol(&alloc::format!("p{n}"), &["t"]))
                .collect(),
            ..plain
        },
    ];
    for request in too_long {
        let ticket = f.send(Request::Join(request));
        assert_eq!(f.joined(ticket).error, Some(GroupError::InvalidRequest));
    }
    assert!(f.shard.groups.is_empty());
    let request = Fixture::commit_request(&long, None, 1);
    let ticket = f.send(Request::OffsetCommit(request));
    assert_eq!(f.committed(ticket), Err(GroupError::InvalidRequest));
}

#[test]
fn a_member_that_no_record_holds_fails_the_assignment_and_not_the_shard() {
    let mut f = Fixture::new();
    let request = f.join_request("g", "");
    let ticket = f.send_as(&"c".repeat(40_000), Request::Join(request));
    f.pass(DELAY);
    let joined = f.joined(ticket);
    let ticket = f.sync("g", &joined, &[(&joined.member_id, "p")]);
    assert_eq!(f.synced(ticket), Err(GroupError::UnknownServerError));
    assert_eq!(f.state("g"), Some(GroupState::PreparingRebalance));
    assert!(f.log.is_empty());
    assert_eq!(f.commit("other", None, 1), Ok(()));
}

#[test]
fn of_protocols_with_one_name_the_first_counts() {
    let mut f = Fixture::new();
    let request = JoinGroup {
        protocols: alloc::vec![
            protocol("a", &["first"]),
            protocol("b", &["t"]),
            protocol("a", &["second"]),
        ],
        ..f.join_request("g", "")
    };
    let ticket = f.send(Request::Join(request));
    f.pass(DELAY);
    let joined = f.joined(ticket);
    assert_eq!(
        joined.members[0].metadata,
        protocol("a", &["first"]).metadata
    );
}
