//! Idempotent producers: sequence numbers, epochs, and batches that are sent again.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    TestBatch,
    fixture::{Fixture, header, small_config, view},
};
use crate::{
    batch::{Batches, Origin},
    log::{Append, AppendError, Appended, ProducerError},
};

fn of(epoch: i16, sequence: i32, count: i32) -> TestBatch {
    TestBatch {
        count,
        producer: (7, epoch, sequence),
        ..TestBatch::default()
    }
}

fn send(fixture: &mut Fixture, batch: TestBatch) -> Result<Appended, AppendError> {
    let appended = fixture.append(batch, 0, Origin::Client);
    fixture.write();
    appended
}

fn refused(fixture: &mut Fixture, batch: TestBatch) -> ProducerError {
    match send(fixture, batch) {
        Err(AppendError::Producer(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sequence_numbers_go_round_within_a_batch_and_between_batches() {
    for (first, count, next) in [
        (i32::MAX - 1, 4, 2),
        (i32::MAX - 1, 2, 0),
        (i32::MAX, 1, 0),
        (i32::MAX - 3, 3, i32::MAX),
    ] {
        let mut fixture = Fixture::new(small_config());
        assert_eq!(
            send(&mut fixture, of(0, first, count)).unwrap().base_offset,
            0
        );
        let again = send(&mut fixture, of(0, first, count)).unwrap();
        assert!(again.duplicate && again.last_offset == i64::from(count) - 1);
        let gap = next.wrapping_add(1) & i32::MAX;
        assert!(matches!(
            refused(&mut fixture, of(0, gap, 1)),
            ProducerError::OutOfOrderSequence { got, .. } if got == gap
        ));
        let appended = send(&mut fixture, of(0, next, 2)).unwrap();
        assert_eq!(
            (appended.duplicate, appended.base_offset),
            (false, i64::from(count))
        );
        fixture.check();
    }
}

#[test]
fn each_of_the_last_five_batches_is_answered_again_and_the_sixth_is_out_of_order() {
    let mut fixture = Fixture::new(small_config());
    for at in 0..6 {
        send(&mut fixture, of(0, at * 2, 2)).unwrap();
    }
    let end = fixture.log.log_end();
    for at in 1..6 {
        let again = send(&mut fixture, of(0, at * 2, 2)).unwrap();
        let base = i64::from(at) * 2;
        assert_eq!(
            (again.duplicate, again.base_offset, again.last_offset),
            (true, base, base + 1)
        );
    }
    assert!(matches!(
        refused(&mut fixture, of(0, 0, 2)),
        ProducerError::OutOfOrderSequence {
            last: 11,
            got: 0,
            ..
        }
    ));
    // The same beginning with another end is no repeat.
    assert!(matches!(
        refused(&mut fixture, of(0, 10, 1)),
        ProducerError::OutOfOrderSequence { .. }
    ));
    assert_eq!(fixture.log.log_end(), end);
    fixture.check();
}

#[test]
fn after_a_clean_restart_each_of_the_last_five_batches_is_known_as_a_repeat_and_no_older_one() {
    let mut fixture = Fixture::new(small_config());
    for at in 0..6 {
        send(&mut fixture, of(0, at, 1)).unwrap();
    }
    fixture.log.close(&mut fixture.pending);
    fixture.write();
    fixture.log = fixture.recover(6, 0, true).unwrap().log;
    for at in 1..6 {
        assert!(send(&mut fixture, of(0, at, 1)).unwrap().duplicate, "{at}");
    }
    assert!(matches!(
        refused(&mut fixture, of(0, 0, 1)),
        ProducerError::OutOfOrderSequence { .. }
    ));
    assert!(!send(&mut fixture, of(0, 6, 1)).unwrap().duplicate);
}

#[test]
fn a_new_producer_epoch_begins_at_zero_and_fences_the_old_one() {
    let mut fixture = Fixture::new(small_config());
    send(&mut fixture, of(0, 0, 3)).unwrap();
    assert!(matches!(
        refused(&mut fixture, of(1, 3, 1)),
        ProducerError::OutOfOrderSequence {
            last: 2,
            got: 3,
            ..
        }
    ));
    send(&mut fixture, of(1, 0, 2)).unwrap();
    assert!(matches!(
        refused(&mut fixture, of(0, 3, 1)),
        ProducerError::InvalidProducerEpoch {
            current: 1,
            got: 0,
            ..
        }
    ));
    // A repeat of the old epoch's is fenced too.
    assert!(matches!(
        refused(&mut fixture, of(0, 0, 3)),
        ProducerError::InvalidProducerEpoch { .. }
    ));
    assert!(send(&mut fixture, of(1, 0, 2)).unwrap().duplicate);
    send(&mut fixture, of(1, 2, 1)).unwrap();
    fixture.check();
}

/// What a follower fetched, at these offsets and leader epochs.
fn fetched(list: &[(i64, i32, i32)]) -> (Batches, Vec<Bytes>) {
    let built: Vec<Bytes> = list
        .iter()
        .map(|&(base, count, epoch)| {
            TestBatch {
                base,
                count,
                epoch,
                filler: 60,
                timestamp: base + 1,
                producer: (7, 0, base as i32),
                ..TestBatch::default()
            }
            .build()
        })
        .collect();
    (Batches::from_leader(built.concat().into()).unwrap(), built)
}

#[test]
fn several_batches_in_one_append_of_a_follower_roll_and_bump_epochs_where_they_should() {
    let mut fixture = Fixture::new(small_config());
    let list = [
        (0, 2, 0),
        (2, 3, 0),
        (5, 1, 3),
        (6, 4, 3),
        (12, 1, 3),
        (13, 2, 4),
    ];
    let (batches, built) = fetched(&list);
    let appended = fixture
        .log
        .append(
            fixture.now,
            &batches,
            Append::Follower,
            &mut fixture.pending,
        )
        .unwrap();
    assert_eq!((appended.base_offset, appended.last_offset), (0, 14));
    fixture.model = built;
    fixture.write();
    fixture.check();
    assert!(fixture.log.segments().len() > 1);
    let epochs = fixture.log.epochs().entries().iter();
    let epochs: Vec<_> = epochs
        .map(|entry| (entry.epoch, entry.start_offset))
        .collect();
    assert_eq!(epochs, [(0, 0), (3, 5), (4, 13)]);
    for from in 0..15 {
        fixture.check_reads(from, 500);
    }
    fixture.log = fixture.recover(0, 0, false).unwrap().log;
    fixture.check();
}

#[test]
fn a_followers_append_whose_third_batch_goes_back_changes_nothing() {
    let mut fixture = Fixture::new(small_config());
    let (batches, built) = fetched(&[(0, 2, 0)]);
    let how = Append::Follower;
    fixture
        .log
        .append(fixture.now, &batches, how, &mut fixture.pending)
        .unwrap();
    fixture.model = built;
    fixture.write();
    let before = view(fixture.log.producers());
    let (batches, _) = fetched(&[(2, 2, 1), (4, 2, 1), (3, 1, 1)]);
    let error = fixture
        .log
        .append(fixture.now, &batches, how, &mut fixture.pending);
    assert!(matches!(
        error,
        Err(AppendError::OffsetNotRising { log_end: 6, got: 3 })
    ));
    assert_eq!(
        (fixture.pending.len(), view(fixture.log.producers())),
        (0, before)
    );
    fixture.check();
    assert_eq!(header(&fixture.model[0]).last_offset(), 1);
}
