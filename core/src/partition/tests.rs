//! One partition on a disk that crashes, fills up and fails, driven as the storage drives it.
//!
//! Invariants, looked at after every step:
//! * `DurableHighWatermark`: what is below the high watermark is on the disk, not only in its cache;
//! * `AcknowledgedStays`: what was acknowledged with acks=all is in the log, at its offset, for ever;
//!   with acks=1, or under Kafka's policy, until power is lost or a sync fails;
//! * `AnsweredOnce`: no ticket is answered twice, and in the end each is, unless a crash took it.

use alloc::{boxed::Box, vec, vec::Vec};

use ottla_wire::records::BatchBuilder;
use proptest::prelude::*;

use self::world::{Action, World, action};
use super::*;
use crate::log::FileName;

mod world;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_synced_partition_keeps_what_it_acknowledged(
        actions in proptest::collection::vec(action(), 1..150),
    ) {
        let mut world = World::new(FlushPolicy::Synced);
        for action in actions {
            world.act(action);
            world.check();
        }
        world.run_until_idle();
        world.check();
        world.run_until_idle();
        let end = world.partition.offsets().high_watermark;
        prop_assert_eq!(end, world.partition.log().log_end());
        let from = world.ticket();
        world.step(Input::Close { from });
        world.run_until_idle();
        prop_assert!(world.partition.is_closed());
        prop_assert!(world.open.is_empty(), "not answered: {:?}", world.open);
    }

    #[test]
    fn under_kafkas_policy_only_a_loss_of_power_takes_what_was_acknowledged(
        actions in proptest::collection::vec(action(), 1..150),
        messages in prop_oneof![Just(None), (2..20_i64).prop_map(Some)],
    ) {
        let mut world = World::new(FlushPolicy::Written { messages, interval: None });
        for action in actions {
            match action {
                // Whether the page cache still has it is then anyone's guess.
                Action::SyncFails => continue,
                action => world.act(action),
            }
            world.check();
        }
        world.run_until_idle();
        world.check();
    }
}

#[test]
fn one_sync_serves_all_that_was_written_while_the_last_one_ran() {
    let mut world = World::new(FlushPolicy::Synced);
    world.config.log.segment_bytes = 1 << 20;
    world.step(Input::Configure(Box::new(world.config.clone())));
    world.append(Acks::All);
    world.change(None);
    world.change(None);
    world.change(None);
    world.begin_sync_if_any();
    assert!(world.syncing.is_some());
    world.config.unwritten_bytes_max = 1 << 20;
    world.step(Input::Configure(Box::new(world.config.clone())));
    for _ in 0..3 {
        world.append(Acks::All);
    }
    while matches!(world.queue.front(), Some((_, Effect::Write { .. }))) {
        world.change(None);
    }
    assert!(world.acknowledged.is_empty());
    world.end_sync(true);
    assert_eq!(world.acknowledged.len(), 1);
    let syncs = world
        .queue
        .iter()
        .filter(|(_, effect)| matches!(effect, Effect::Sync(_)));
    assert_eq!(syncs.count(), 1);
    world.run_until_idle();
    assert_eq!(world.acknowledged.len(), 4);
}

#[test]
fn on_a_full_disk_writes_fail_reads_go_on_and_writes_work_again_when_there_is_room() {
    let mut world = World::new(FlushPolicy::Synced);
    world.append(Acks::All);
    world.run_until_idle();
    assert_eq!(world.acknowledged.len(), 1);
    world.append(Acks::All);
    world.append(Acks::Leader);
    world.change(Some(true));
    assert!(world.open.is_empty(), "all are answered");
    assert_eq!(world.acknowledged.len(), 1);
    assert!(world.partition.is_online());
    let query = FetchQuery {
        offset: 0,
        max_bytes: 100,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    };
    assert!(world.partition.fetch(&query).unwrap().plan.is_some());
    world.run_until_idle();
    world.append(Acks::All);
    world.run_until_idle();
    world.check();
    assert_eq!(
        world.acknowledged.keys().copied().collect::<Vec<_>>(),
        [0, 1]
    );
}

/// The deletions that are queued.
fn deletions(world: &World) -> Vec<Vec<FileName>> {
    let queued = world.queue.iter();
    queued
        .filter_map(|(_, effect)| match effect {
            Effect::Delete(files) => Some(files.clone()),
            _ => None,
        })
        .collect()
}

/// Has retention look for what to delete.
fn run_retention(world: &mut World, bytes: u64) {
    world.config.log.retention_bytes = Some(bytes);
    world.step(Input::Configure(Box::new(world.config.clone())));
    world.now.monotonic = Instant(u64::MAX / 2);
    world.step(Input::Timer);
}

#[test]
fn what_retention_deletes_is_deleted_although_a_full_disk_failed_a_write_before_it() {
    let mut world = World::new(FlushPolicy::Synced);
    for _ in 0..20 {
        world.append(Acks::All);
        world.run_until_idle();
    }
    let segments = world.partition.log().segments().len();
    assert!(segments > 3);
    world.append(Acks::All);
    run_retention(&mut world, 300);
    let wanted = deletions(&world);
    assert!(!wanted.is_empty());
    while !matches!(world.queue.front(), Some((_, Effect::Write { .. }))) {
        world.change(None);
        world.end_sync(true);
    }
    world.change(Some(true));
    assert!(world.partition.is_online());
    assert_eq!(deletions(&world)[..wanted.len()], wanted);
    let (_, first) = world.queue.front().unwrap();
    assert!(matches!(first, Effect::Delete(_)), "space is freed first");
    assert!(world.queue.iter().any(|(_, e)| *e == Effect::SyncDir));
    world.run_until_idle();
    world.append(Acks::All);
    world.run_until_idle();
    assert_eq!(world.acknowledged.len(), 21);
}

#[test]
fn the_name_of_a_new_segment_is_synced_although_a_full_disk_failed_a_write_before_that() {
    let mut world = World::new(FlushPolicy::Written {
        messages: None,
        interval: None,
    });
    let rolled = |world: &World| {
        world
            .queue
            .iter()
            .any(|(_, e)| matches!(e, Effect::Create(_)))
    };
    while !rolled(&world) {
        world.run_until_idle();
        world.append(Acks::Leader);
    }
    let from = world.ticket();
    let before = world.partition.log().written_end();
    // Up to the write into the new segment; the sync of its name waits behind a running one.
    while world.partition.log().written_end() == before {
        match world.queue.front() {
            Some((_, Effect::SyncDir)) => _ = world.queue.pop_front(),
            _ => world.change(None),
        }
        world.end_sync(true);
    }
    world.open.remove(&from);
    world.append(Acks::Leader);
    world.change(Some(true));
    assert!(world.partition.is_online());
    assert!(world.queue.iter().any(|(_, e)| *e == Effect::SyncDir));
}

#[test]
fn a_log_of_which_nothing_is_retained_survives_a_full_disk_and_goes_when_there_is_room() {
    let mut world = World::new(FlushPolicy::Synced);
    world.append(Acks::All);
    world.run_until_idle();
    for full in [true, false] {
        run_retention(&mut world, 0);
        assert!(
            world
                .queue
                .iter()
                .any(|(_, e)| matches!(e, Effect::Create(_)))
        );
        if full {
            while !matches!(world.queue.front(), Some((_, Effect::Create(_)))) {
                world.change(None);
                world.end_sync(true);
            }
            world.change(Some(true));
            world.run_until_idle();
            assert!(world.partition.is_online());
            world.check();
            assert_eq!(world.partition.log().log_start(), 0);
            world.append(Acks::All);
            world.run_until_idle();
            world.now.monotonic = Instant(0);
        }
    }
    world.run_until_idle();
    let offsets = world.partition.offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (2, 2));
    assert_eq!(world.partition.log().size(), 0);
}

#[test]
fn nothing_is_retained_or_deleted_before_the_configuration_is_known() {
    let mut world = World::new(FlushPolicy::Synced);
    world.append(Acks::All);
    world.run_until_idle();
    assert_eq!(world.partition.next_timer(), None);
    world.now.monotonic = Instant(u64::MAX / 2);
    world.step(Input::Timer);
    assert!(world.queue.is_empty());
    world.step(Input::Configure(Box::new(world.config.clone())));
    assert!(matches!(
        world.partition.next_timer(),
        Some((_, TimerReason::Retention))
    ));
}

#[test]
fn under_kafkas_policy_a_sealed_segment_raises_the_recovery_point() {
    let mut world = World::new(FlushPolicy::Written {
        messages: None,
        interval: None,
    });
    for _ in 0..10 {
        world.append(Acks::Leader);
        world.run_until_idle();
    }
    let active = world.partition.log().active_base();
    assert!(active > 0);
    assert_eq!(world.partition.recovery_point(), active);
}

#[test]
fn a_failed_write_takes_nothing_that_was_written_before_it() {
    let mut world = World::new(FlushPolicy::Synced);
    world.append(Acks::Leader);
    while matches!(
        world.queue.front(),
        Some((_, Effect::Write { .. } | Effect::Replace { .. }))
    ) {
        world.change(None);
    }
    assert_eq!(world.written.len(), 1);
    world.append(Acks::Leader);
    world.queue.retain(|(_, e)| !matches!(e, Effect::Sync(_)));
    world.change(Some(false));
    assert_eq!(world.reopen, Some(1));
    world.check();
}

#[test]
fn a_close_whose_last_words_meet_a_full_disk_is_not_clean() {
    let mut world = World::new(FlushPolicy::Synced);
    world.append(Acks::All);
    world.run_until_idle();
    let from = world.ticket();
    world.step(Input::Close { from });
    while !matches!(world.queue.front(), Some((_, Effect::Create(_)))) {
        world.change(None);
        world.end_sync(true);
    }
    let (_, failed) = world.queue.pop_front().unwrap();
    assert!(matches!(
        failed,
        Effect::Create(FileName::ProducerSnapshot(_))
    ));
    let mut out = Vec::new();
    let input = Input::ChangeFailed { full: true };
    world.partition.step(world.now, input, &mut out);
    let closed = |output: &Output| match output {
        Output::Reply { to, answer } if *to == from => Some(answer.clone()),
        _ => None,
    };
    assert_eq!(
        out.iter().find_map(closed),
        Some(Answer::Closed { clean: false })
    );
}

#[test]
fn with_kafkas_policy_a_write_counts_at_once_and_is_synced_after_so_many() {
    let mut world = World::new(FlushPolicy::Written {
        messages: Some(3),
        interval: None,
    });
    world.config.log.segment_bytes = 1 << 20;
    world.step(Input::Configure(Box::new(world.config.clone())));
    let no_sync = |world: &World| {
        !world
            .queue
            .iter()
            .any(|(_, e)| matches!(e, Effect::Sync(_)))
    };
    for count in 1..=2 {
        world.append(Acks::All);
        while matches!(
            world.queue.front(),
            Some((_, Effect::Write { .. } | Effect::Replace { .. }))
        ) {
            world.change(None);
        }
        assert_eq!(world.acknowledged.len(), count);
        assert!(no_sync(&world));
    }
    world.append(Acks::All);
    while matches!(world.queue.front(), Some((_, Effect::Write { .. }))) {
        world.change(None);
    }
    assert!(!no_sync(&world));
    world.run_until_idle();
    assert_eq!(world.partition.recovery_point(), 3);
}

#[test]
fn appends_are_fenced_by_role_epoch_and_replicas_in_sync() {
    let mut world = World::new(FlushPolicy::Synced);
    let ask = |world: &mut World, options: AppendOptions| {
        let from = world.ticket();
        let mut builder = BatchBuilder::new();
        builder.push(1, None, None).unwrap();
        let mut out = Vec::new();
        let input = Input::Append {
            from,
            records: builder.build(),
            options,
        };
        world.partition.step(Now::default(), input, &mut out);
        world.open.remove(&from);
        out.into_iter().find_map(|output| match output {
            Output::Reply {
                answer: Answer::Appended(result),
                ..
            } => Some(result),
            _ => None,
        })
    };
    let all = AppendOptions {
        acks: Acks::All,
        origin: Origin::Client,
        expected_leader_epoch: None,
    };
    let other = AppendOptions {
        expected_leader_epoch: Some(5),
        ..all
    };
    let wrong = AppendError::WrongLeaderEpoch {
        expected: 5,
        current: 0,
    };
    assert_eq!(ask(&mut world, other), Some(Err(wrong)));
    let needs_two = PartitionConfig {
        min_insync_replicas: 2,
        ..world.config.clone()
    };
    world.step(Input::Configure(Box::new(needs_two)));
    world.step(Input::Lead {
        epoch: 0,
        members: vec![(1, true), (2, false)],
    });
    let few = AppendError::NotEnoughReplicas {
        in_sync: 1,
        required: 2,
    };
    assert_eq!(ask(&mut world, all), Some(Err(few)));
    world.step(Input::Follow {
        epoch: 1,
        leader: 2,
    });
    assert_eq!(
        ask(&mut world, all),
        Some(Err(AppendError::NotLeader { leader_epoch: 1 }))
    );
}

#[test]
fn a_topic_with_one_replica_asks_for_no_more_of_them_in_sync() {
    let mut world = World::new(FlushPolicy::Synced);
    let needs_two = PartitionConfig {
        min_insync_replicas: 2,
        ..world.config.clone()
    };
    world.step(Input::Configure(Box::new(needs_two)));
    world.append(Acks::All);
    world.run_until_idle();
    assert_eq!(world.acknowledged.len(), 1);
}

#[test]
fn a_close_waits_for_what_is_in_flight_and_answers_it() {
    let mut world = World::new(FlushPolicy::Synced);
    for _ in 0..4 {
        world.append(Acks::All);
    }
    let from = world.ticket();
    world.step(Input::Close { from });
    world.run_until_idle();
    assert!(world.partition.is_closed());
    assert!(world.open.is_empty());
    assert_eq!(world.acknowledged.len(), 4);
}
