//! One partition on a disk that crashes, fills up and fails, driven as the storage drives it.
//!
//! Invariants, looked at after every step:
//! * `DurableHighWatermark`: what is below the high watermark is on the disk, not only in its cache;
//! * `AcknowledgedStays`: what was acknowledged with acks=all is in the log, at its offset, for ever;
//! * `AnsweredOnce`: no ticket is answered twice, and in the end each is, unless a crash took it.

use alloc::{boxed::Box, vec, vec::Vec};

use ottla_wire::records::BatchBuilder;
use proptest::prelude::*;

use self::world::{World, action};
use super::*;

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
