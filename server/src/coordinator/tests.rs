//! A shard and its task over a partition of the real storage.

use std::{future::Future, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use ottla_core::{
    batch::BatchError,
    group::{
        AppendFailure, Client, GroupConfig, GroupError, ListGroups, OFFSETS_TOPIC, Request,
        Response,
        request::{
            CommitPartition, CommitTopic, JoinGroup, OffsetCommit, OffsetFetch, Protocol, TopicName,
        },
    },
    log,
};
use ottla_io::real::RealIo;
use ottla_wire::{
    Uuid,
    records::{BatchBuilder, batches},
};

use super::{
    GroupSettings,
    shard::{Shard, judge},
};
use crate::storage::{
    Acks, AppendError, Isolation, Origin, PartitionConfig, PartitionHandle, Storage,
    StorageSettings, TopicPartition,
};

const EPOCH: i32 = 3;

fn run<F: Future>(test: impl FnOnce(RealIo, PathBuf) -> F) -> F::Output {
    let folder = tempfile::tempdir().unwrap();
    ottla_io::real::run(|io| test(io, folder.path().to_owned())).unwrap()
}

async fn opened(
    io: &RealIo,
    folder: &std::path::Path,
) -> (Storage<RealIo>, PartitionHandle<RealIo>) {
    opened_with(io, folder, PartitionConfig::default()).await
}

async fn opened_with(
    io: &RealIo,
    folder: &std::path::Path,
    config: PartitionConfig,
) -> (Storage<RealIo>, PartitionHandle<RealIo>) {
    let settings = StorageSettings::new(1, vec![folder.join("data")]);
    let storage = Storage::open(io.clone(), settings).await.unwrap();
    let name = TopicPartition::new(OFFSETS_TOPIC, 0);
    let id = Uuid::from_parts(7, 7);
    let handle = storage.create(name, id, config, EPOCH).await.unwrap();
    (storage, handle)
}

fn started(io: &RealIo, handle: &PartitionHandle<RealIo>, epoch: i32) -> Shard<RealIo> {
    with(io, handle, epoch, GroupSettings::new(1))
}

fn with(
    io: &RealIo,
    handle: &PartitionHandle<RealIo>,
    epoch: i32,
    settings: GroupSettings,
) -> Shard<RealIo> {
    Shard::start(io.clone(), handle.clone(), epoch, settings, Arc::default())
}

/// Asks until the shard has been loaded.
async fn ask(shard: &Shard<RealIo>, request: Request) -> Response {
    loop {
        let answer = shard.ask(Client::default(), request.clone()).await;
        if answer != request.refused(GroupError::CoordinatorLoadInProgress) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

fn commit(group: &str, offset: i64) -> Request {
    let partition = CommitPartition {
        partition: 0,
        offset,
        ..CommitPartition::default()
    };
    Request::OffsetCommit(OffsetCommit {
        group_id: group.into(),
        generation_id: -1,
        retention_time_ms: -1,
        topics: vec![CommitTopic {
            topic: TopicName {
                name: "t".into(),
                id: Uuid::ZERO,
            },
            partitions: vec![partition],
        }],
        ..OffsetCommit::default()
    })
}

async fn committed(shard: &Shard<RealIo>, group: &str) -> i64 {
    let request = OffsetFetch {
        group_id: group.into(),
        topics: Some(vec![(
            TopicName {
                name: "t".into(),
                id: Uuid::ZERO,
            },
            vec![0],
        )]),
        require_stable: false,
    };
    match ask(shard, Request::OffsetFetch(request)).await {
        Response::OffsetFetch(Ok(topics)) => topics[0].partitions[0].offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_committed_is_there_after_the_partition_is_loaded_again() {
    run(|io, folder| async move {
        let (_storage, handle) = opened(&io, &folder).await;
        let shard = started(&io, &handle, EPOCH);
        for offset in 0..20 {
            let answer = ask(&shard, commit(&format!("g{}", offset % 4), offset)).await;
            assert!(
                matches!(answer, Response::OffsetCommit(Ok(_))),
                "{answer:?}"
            );
        }
        assert_eq!(handle.high_watermark(), 20);
        shard.stop();
        // However little is read at a time: with one byte it is a batch.
        for load_read_bytes in [GroupSettings::new(1).load_read_bytes, 1] {
            let settings = GroupSettings {
                load_read_bytes,
                ..GroupSettings::new(1)
            };
            let again = with(&io, &handle, EPOCH, settings);
            for group in 0..4 {
                assert_eq!(committed(&again, &format!("g{group}")).await, 16 + group);
            }
            again.stop();
        }
    });
}

#[test]
fn commits_that_come_together_share_batches() {
    run(|io, folder| async move {
        let (_storage, handle) = opened(&io, &folder).await;
        let shard = started(&io, &handle, EPOCH);
        assert_eq!(committed(&shard, "g0").await, -1);
        let groups: Vec<String> = (0..200).map(|n| format!("g{n}")).collect();
        let all = groups.iter().map(|group| ask(&shard, commit(group, 5)));
        for answer in join_all(all).await {
            assert!(
                matches!(answer, Response::OffsetCommit(Ok(_))),
                "{answer:?}"
            );
        }
        let bytes = handle
            .read_from(0, 1 << 20, Isolation::LogEnd)
            .await
            .unwrap();
        let batches = batches(bytes).count();
        assert!(batches < 100, "{batches} batches for 200 commits");
        assert_eq!(handle.log_end(), 200);
    });
}

#[test]
fn a_shard_of_another_leader_epoch_answers_nothing_that_is_not_in_the_log() {
    run(|io, folder| async move {
        let (_storage, handle) = opened(&io, &folder).await;
        let shard = started(&io, &handle, EPOCH - 1);
        let answer = ask(&shard, commit("g", 5)).await;
        assert_eq!(
            answer,
            Response::OffsetCommit(Err(GroupError::NotCoordinator))
        );
        assert_eq!(handle.log_end(), 0);
    });
}

#[test]
fn a_commit_larger_than_a_batch_may_be_fails_alone() {
    run(|io, folder| async move {
        let mut config = PartitionConfig::default();
        config.log.max_message_bytes = 1_000;
        let (_storage, handle) = opened_with(&io, &folder, config).await;
        let shard = started(&io, &handle, EPOCH);
        assert_eq!(committed(&shard, "g0").await, -1);
        let Request::OffsetCommit(mut large) = commit("large", 5) else {
            unreachable!()
        };
        large.topics[0].partitions[0].metadata = Some("n".repeat(2_000).into());
        // Each fits a batch; all of them together do not.
        let names: Vec<String> = (0..40).map(|n| format!("g{n}")).collect();
        let mut requests: Vec<Request> = names.iter().map(|group| commit(group, 5)).collect();
        requests.insert(20, Request::OffsetCommit(large));
        let answers = join_all(requests.into_iter().map(|r| ask(&shard, r))).await;
        for (n, answer) in answers.into_iter().enumerate() {
            match answer {
                Response::OffsetCommit(Err(error)) if n == 20 => {
                    assert_eq!(error, GroupError::UnknownServerError);
                }
                Response::OffsetCommit(Ok(_)) if n != 20 => {}
                other => panic!("{n}: {other:?}"),
            }
        }
        assert_eq!(handle.log_end(), 40);
        // The shard is the one it was: nothing is being loaded.
        let again = commit("g0", 6);
        let answer = shard.ask(Client::default(), again).await;
        assert!(
            matches!(answer, Response::OffsetCommit(Ok(_))),
            "{answer:?}"
        );
    });
}

#[test]
fn only_an_append_whose_fate_is_not_known_costs_the_groups_their_place() {
    let too_large = BatchError::TooLarge { got: 2, max: 1 };
    let no_segment = log::AppendError::TooLarge { got: 2, max: 1 };
    for (error, expected) in [
        (AppendError::Full, (AppendFailure::Full, false)),
        (too_large.into(), (AppendFailure::TooLarge, false)),
        (no_segment.into(), (AppendFailure::TooLarge, false)),
        (AppendError::Storage, (AppendFailure::NotLeader, true)),
        (AppendError::Closed, (AppendFailure::NotLeader, true)),
    ] {
        assert_eq!(judge(&error), expected, "{error}");
    }
}

#[test]
fn a_commit_that_is_not_durable_in_time_is_put_off_and_written_all_the_same() {
    run(|io, folder| async move {
        let (_storage, handle) = opened(&io, &folder).await;
        let settings = GroupSettings {
            commit_timeout: std::time::Duration::ZERO,
            ..GroupSettings::new(1)
        };
        let shard = with(&io, &handle, EPOCH, settings);
        assert_eq!(committed(&shard, "g").await, -1);
        // A disk that syncs at once may be in time even for a time-out of nothing.
        let late = Response::OffsetCommit(Err(GroupError::CoordinatorNotAvailable));
        let mut commits = 1;
        while ask(&shard, commit("g", commits)).await != late {
            commits += 1;
        }
        handle
            .wait_beyond(commits - 1, Isolation::ReadUncommitted)
            .await
            .unwrap();
        assert_eq!(handle.log_end(), commits);
    });
}

#[test]
fn a_shard_that_panicked_is_loaded_again() {
    run(|io, folder| async move {
        let (_storage, handle) = opened(&io, &folder).await;
        let shard = started(&io, &handle, EPOCH);
        ask(&shard, commit("g", 5)).await;
        shard.break_down();
        // Until its task has seen it nobody coordinates these groups; then they are being loaded.
        let list = Request::List(ListGroups::default());
        let nobody = list.refused(GroupError::NotCoordinator);
        while ask(&shard, list.clone()).await == nobody {
            tokio::task::yield_now().await;
        }
        assert_eq!(committed(&shard, "g").await, 5);
    });
}

#[test]
fn a_shard_that_stops_answers_who_waits_and_refuses_who_comes() {
    run(|io, folder| async move {
        let (_storage, handle) = opened(&io, &folder).await;
        let shard = Arc::new(started(&io, &handle, EPOCH));
        assert_eq!(committed(&shard, "g").await, -1);
        let join = JoinGroup {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol {
                name: "range".into(),
                metadata: Bytes::new(),
            }],
            ..JoinGroup::default()
        };
        let stop = async { shard.stop() };
        let joining = ask(&shard, Request::Join(join));
        let (answer, ()) = futures_util::future::join(joining, stop).await;
        let Response::Join(answer) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(answer.error, Some(GroupError::NotCoordinator));
        let answer = ask(&shard, commit("g", 1)).await;
        assert_eq!(
            answer,
            Response::OffsetCommit(Err(GroupError::NotCoordinator))
        );
    });
}

#[test]
fn timers_fire_without_any_request() {
    run(|io, folder| async move {
        let (_storage, handle) = opened(&io, &folder).await;
        let config = GroupConfig {
            initial_rebalance_delay: std::time::Duration::from_millis(20),
            ..GroupConfig::default()
        };
        let settings = GroupSettings {
            groups: config,
            ..GroupSettings::new(1)
        };
        let shard = with(&io, &handle, EPOCH, settings);
        let join = JoinGroup {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol {
                name: "range".into(),
                metadata: Bytes::new(),
            }],
            ..JoinGroup::default()
        };
        let Response::Join(answer) = ask(&shard, Request::Join(join)).await else {
            panic!()
        };
        assert_eq!((answer.error, answer.generation_id), (None, 1));
    });
}

#[test]
fn records_that_say_nothing_do_not_keep_a_partition_from_being_loaded() {
    run(|io, folder| async move {
        let (_storage, handle) = opened(&io, &folder).await;
        // One without a key, and one of an unknown kind.
        let mut batch = BatchBuilder::new();
        batch.push(1, None, Some(b"nothing")).unwrap();
        batch.push(1, Some(b"\0\x63strange"), None).unwrap();
        let appended = handle
            .append(batch.build(), Acks::All, Origin::Coordinator)
            .await;
        assert_eq!(appended.unwrap().last_offset, 1);
        let shard = started(&io, &handle, EPOCH);
        assert_eq!(committed(&shard, "g").await, -1);
    });
}
