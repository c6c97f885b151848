//! Loading: what a log says, and how it is kept short.

use super::*;
use crate::limits::GROUP_LOG_REWRITE_BYTES_MIN;

fn load(f: &mut Fixture, records: impl IntoIterator<Item = (Record, Option<i64>)>) {
    for (record, producer_id) in records {
        let offset = f.next_offset;
        f.next_offset += 1;
        f.log.push_back((offset, record.clone()));
        f.step(Input::Loaded {
            record,
            offset,
            producer_id,
        });
    }
}

fn offset(group: &str, offset: i64) -> Record {
    let commit = CommitPartition {
        partition: 0,
        offset,
        leader_epoch: -1,
        metadata: None,
    };
    let stored = records::StoredOffset::new(&commit, Uuid::ZERO, Timestamp(1), -1);
    records::offset_record(&group.into(), &"t".into(), 0, Some(&stored)).unwrap()
}

#[test]
fn a_loaded_group_is_stable_with_its_members() {
    let mut f = Fixture::new();
    let members = f.stable("g", 3);
    f.commit("g", Some(&members[2]), 77).unwrap();
    f.crash();
    assert_eq!(f.state("g"), Some(GroupState::Stable));
    for (n, member) in members.iter().enumerate() {
        assert_eq!(f.heartbeat("g", member), Ok(()));
        let ticket = f.sync("g", member, &[]);
        assert_eq!(f.synced(ticket), Ok(alloc::format!("p{n}")));
    }
    assert_eq!(f.fetch("g"), 77);
}

#[test]
fn offsets_of_a_transaction_count_when_it_is_committed() {
    let mut f = Fixture::loading(GroupConfig::default());
    load(
        &mut f,
        [
            (offset("g", 1), None),
            (offset("g", 2), Some(7)),
            (offset("h", 3), Some(8)),
        ],
    );
    f.step(Input::LoadedMarker {
        producer_id: 8,
        committed: false,
    });
    f.step(Input::LoadDone);
    assert_eq!((f.fetch("g"), f.fetch("h")), (1, -1));
    let stable = OffsetFetch {
        group_id: "g".into(),
        topics: Some(alloc::vec![(
            TopicName {
                name: "t".into(),
                id: Uuid::ZERO
            },
            alloc::vec![0]
        )]),
        require_stable: true,
    };
    let Response::OffsetFetch(Ok(topics)) = f.ask(Request::OffsetFetch(stable)) else {
        panic!()
    };
    assert_eq!(
        topics[0].partitions[0].error,
        Some(GroupError::UnstableOffsetCommit)
    );
}

#[test]
fn of_two_commits_of_a_key_the_later_record_wins_whenever_its_transaction_ends() {
    for (first, then) in [(7, 8), (8, 7)] {
        let mut f = Fixture::loading(GroupConfig::default());
        load(
            &mut f,
            [(offset("g", 1), Some(7)), (offset("g", 2), Some(8))],
        );
        f.step(Input::LoadedMarker {
            producer_id: first,
            committed: true,
        });
        f.step(Input::LoadedMarker {
            producer_id: then,
            committed: true,
        });
        load(&mut f, [(offset("h", 1), Some(9)), (offset("h", 2), None)]);
        f.step(Input::LoadedMarker {
            producer_id: 9,
            committed: true,
        });
        f.step(Input::LoadDone);
        assert_eq!((f.fetch("g"), f.fetch("h")), (2, 2));
    }
}

#[test]
fn records_of_unknown_kinds_outlive_a_rewrite_until_they_are_removed() {
    let strange = Record {
        key: Bytes::from_static(b"\0\x63???"),
        value: Some(Bytes::from_static(b"anything")),
    };
    let broken = |group, at| Record {
        value: Some(Bytes::from_static(b"\0\x09")),
        ..offset(group, at)
    };
    let mut f = Fixture::loading(GroupConfig::default());
    let records = [
        strange.clone(),
        broken("g", 1),
        offset("g", 5),
        broken("h", 1),
    ];
    load(&mut f, records.map(|record| (record, None)));
    f.step(Input::LoadDone);
    assert_eq!(f.fetch("g"), 5);
    f.shard.size.log = usize::MAX / 2;
    f.step(Input::Timer);
    let log: Vec<Record> = f.log.iter().map(|(_, record)| record.clone()).collect();
    assert_eq!(log, [offset("g", 5), broken("h", 1), strange.clone()]);
    // A commit takes the place of what could not be read; a tombstone removes.
    f.commit("h", None, 6).unwrap();
    assert_eq!(f.shard.foreign.len(), 1);
    f.shard = GroupShard::new(f.config.clone());
    let removed = Record {
        value: None,
        ..strange
    };
    f.log.push_back((f.next_offset, removed));
    f.next_offset += 1;
    f.load_log();
    assert!(f.shard.foreign.is_empty());
    assert_eq!((f.fetch("g"), f.fetch("h")), (5, 6));
    let live: usize = f.shard.live_records().map(|r| r.unwrap().size()).sum();
    assert!(f.shard.size.live.abs_diff(live) < 64);
}

#[test]
fn the_log_stays_within_a_multiple_of_what_it_says() {
    let mut f = Fixture::new();
    let members = f.stable("g", 2);
    let mut commits = 0;
    let mut longest = 0;
    while commits < 400_000 {
        commits += 1;
        f.commit("g", Some(&members[0]), commits).unwrap();
        longest = longest.max(f.log.len());
    }
    let record = offset("g", 1).size();
    assert!(
        longest * record < 2 * GROUP_LOG_REWRITE_BYTES_MIN,
        "{longest}"
    );
    assert_eq!(f.fetch("g"), commits);
    f.crash();
    assert_eq!(f.fetch("g"), commits);
    assert_eq!(f.heartbeat("g", &members[1]), Ok(()));
}

/// A shard whose next step rewrites its log.
fn about_to_rewrite() -> Fixture {
    let mut f = Fixture::new();
    for n in 0..50 {
        f.commit(&alloc::format!("g{}", n % 5), None, n).unwrap();
    }
    f.shard.size.log = 2 * GROUP_LOG_REWRITE_BYTES_MIN;
    f.is_durable_at_once = false;
    f
}

#[test]
fn a_rewrite_waits_for_appends_in_flight_and_goes_before_later_ones() {
    let mut f = about_to_rewrite();
    // The first is in flight when the rewrite is wanted, the second comes while it waits.
    f.shard.size.log = 0;
    let first = f.send(Request::OffsetCommit(Fixture::commit_request(
        "g0", None, 100,
    )));
    f.shard.size.log = 2 * GROUP_LOG_REWRITE_BYTES_MIN;
    f.step(Input::Timer);
    let second = f.send(Request::OffsetCommit(Fixture::commit_request(
        "g0", None, 101,
    )));
    assert_eq!(f.in_flight.len(), 1);
    f.commit_one();
    assert_eq!((f.committed(first), f.answer(second)), (Ok(()), None));
    assert_eq!(f.in_flight.len(), 2, "the rewrite, and what was held");
    f.commit_all();
    assert_eq!((f.committed(second), f.fetch("g0")), (Ok(()), 101));
    assert_eq!(f.log.len(), 6);
    f.crash();
    assert_eq!(f.fetch("g0"), 101);
}

#[test]
fn a_crash_at_any_moment_of_a_rewrite_loses_nothing() {
    for durable in 0..3 {
        let mut f = about_to_rewrite();
        f.step(Input::Timer);
        let ticket = f.send(Request::OffsetCommit(Fixture::commit_request(
            "g0", None, 500,
        )));
        for _ in 0..durable {
            f.commit_one();
        }
        let acknowledged = f.answer(ticket).is_some();
        f.crash();
        f.is_durable_at_once = true;
        assert_eq!(f.fetch("g0"), if acknowledged { 500 } else { 45 });
        assert_eq!(f.fetch("g4"), 49);
    }
}

#[test]
fn a_rewrite_that_fails_cuts_nothing() {
    let mut f = about_to_rewrite();
    f.step(Input::Timer);
    assert!(f.fail_one(AppendFailure::NotAvailable));
    assert_eq!(f.log.len(), 50);
    f.is_durable_at_once = true;
    f.commit("g0", None, 9).unwrap();
    assert_eq!(f.log.len(), 51, "and it is not tried again at once");
    f.crash();
    assert_eq!((f.fetch("g0"), f.fetch("g1")), (9, 46));
}

#[test]
fn a_rewrite_and_its_like_keep_to_what_a_batch_may_hold() {
    let mut f = about_to_rewrite();
    let record = offset("g0", 1).size() + "note".len();
    f.step(Input::BatchBytesMax(2 * record));
    f.step(Input::Timer);
    let sizes: Vec<usize> = f.in_flight.iter().map(|(_, r)| r.len()).collect();
    assert_eq!(sizes, [2, 2, 1]);
    f.commit_all();
    f.step(Input::TopicsDeleted(alloc::vec![("t".into(), Uuid::ZERO)]));
    assert!(f.in_flight.len() > 1);
    f.commit_all();
    assert!(f.shard.groups.is_empty());
}

#[test]
fn a_log_of_which_nothing_is_alive_is_cut_whole() {
    let mut f = Fixture::new();
    f.commit("g", None, 1).unwrap();
    f.ask(Request::Delete("g".into()));
    f.shard.size.log = 2 * GROUP_LOG_REWRITE_BYTES_MIN;
    f.step(Input::Timer);
    assert_eq!(f.log.len(), 0);
}
