use alloc::{vec, vec::Vec};
use core::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: Instant = Instant(0);
const IN_SYNC: Policy = Policy::InSyncSet {
    lag_max: Duration::from_secs(30),
};

#[test]
fn alone_the_high_watermark_is_what_is_durable() {
    let mut log = Replication::new(1, IN_SYNC, -1, 0);
    log.lead(NOW, 0, &[(1, true)], 10, 12).unwrap();
    assert_eq!(log.high_watermark(), 10);
    assert_eq!(log.made_durable(NOW, 1, 12, 12), Some(12));
    assert_eq!(log.made_durable(NOW, 1, 12, 12), None);
}

#[test]
fn in_sync_set_waits_for_its_slowest_and_not_for_those_outside() {
    let mut log = Replication::new(1, IN_SYNC, 4, 0);
    log.lead(NOW, 5, &[(1, true), (2, true), (3, false)], 10, 10)
        .unwrap();
    assert_eq!(log.high_watermark(), 0);
    assert_eq!(log.made_durable(NOW, 2, 7, 10), Some(7));
    log.lead(NOW, 5, &[(1, true), (2, false), (3, false)], 10, 10)
        .unwrap();
    assert_eq!(log.high_watermark(), 10);
}

#[test]
fn majority_counts_half_and_one_and_only_with_a_record_of_its_own_epoch() {
    let mut log = Replication::new(1, Policy::Majority, 4, 3);
    log.lead(NOW, 5, &[(1, true), (2, true), (3, true)], 10, 10)
        .unwrap();
    assert_eq!(
        log.made_durable(NOW, 2, 10, 10),
        None,
        "offset 9 is of an older epoch"
    );
    log.made_durable(NOW, 1, 11, 11);
    assert_eq!(log.made_durable(NOW, 2, 11, 11), Some(11));
    assert_eq!(log.made_durable(NOW, 3, 4, 11), None);
}

#[test]
fn epochs_only_grow_and_have_one_leader() {
    let mut log = Replication::new(1, IN_SYNC, 7, 0);
    assert_eq!(
        log.follow(6, 2),
        Err(TransitionError::OldEpoch { current: 7, got: 6 })
    );
    log.follow(7, 2).unwrap();
    assert_eq!(
        log.follow(7, 3),
        Err(TransitionError::OtherLeader { epoch: 7 })
    );
    assert_eq!(
        log.lead(NOW, 7, &[], 0, 0),
        Err(TransitionError::OtherLeader { epoch: 7 })
    );
    log.lead(NOW, 8, &[], 0, 0).unwrap();
    assert_eq!(
        log.detach(8),
        Err(TransitionError::OtherLeader { epoch: 8 })
    );
    log.detach(9).unwrap();
    assert_eq!((log.role(), log.epoch()), (Role::Unattached, 9));
}

#[test]
fn a_follower_trusts_its_own_disk_first() {
    let mut log = Replication::new(1, IN_SYNC, 7, 0);
    log.follow(7, 2).unwrap();
    assert_eq!(log.leader_settled(20, 15), Some(15));
    log.truncated(12);
    assert_eq!(log.high_watermark(), 12);
}

#[test]
fn the_one_that_lags_is_named() {
    let mut log = Replication::new(1, IN_SYNC, 0, 0);
    log.lead(NOW, 1, &[(1, true), (2, true), (3, true)], 5, 5)
        .unwrap();
    let later = NOW.after(Duration::from_secs(31));
    log.made_durable(later, 2, 5, 5);
    assert_eq!(log.lagging(later).collect::<Vec<_>>(), vec![3]);
}

proptest! {
    #[test]
    fn what_is_settled_is_durable_on_enough_and_never_goes_back(
        majority in any::<bool>(),
        reports in proptest::collection::vec((1..=5_i32, 0..50_i64), 1..60),
    ) {
        let policy = if majority { Policy::Majority } else { IN_SYNC };
        let mut log = Replication::new(1, policy, 0, 0);
        let members: Vec<_> = (1..=5).map(|id| (id, true)).collect();
        log.lead(NOW, 1, &members, 0, 0).unwrap();
        let mut before = 0;
        for (id, end) in reports {
            log.made_durable(NOW, id, end, 50);
            let settled = log.high_watermark();
            prop_assert!(settled >= before);
            before = settled;
            let holding =
                log.replicas().iter().filter(|r| r.durable_end.unwrap_or(0) >= settled).count();
            let needed = if majority { 3 } else { 5 };
            prop_assert!(holding >= needed);
        }
    }
}
