use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::*;

const IDLE: Duration = Duration::from_secs(120);

fn at(seconds: u64) -> Instant {
    Instant(0).after(Duration::from_secs(seconds))
}

fn wanted(fetch_offset: i64) -> Wanted {
    Wanted {
        fetch_offset,
        max_bytes: 1000,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
    }
}

fn quiet(high_watermark: i64) -> Told {
    Told {
        record_bytes: 0,
        high_watermark,
        log_start: 0,
        notable: false,
        error: false,
    }
}

fn request(session_id: i32, epoch: i32, partitions: &[u32]) -> Request<u32> {
    Request {
        session_id,
        epoch,
        uses_topic_ids: true,
        privileged: false,
        partitions: partitions.iter().map(|&p| (p, wanted(0))).collect(),
        forgotten: vec![],
    }
}

fn open(sessions: &mut Sessions<u32>, now: Instant, request: Request<u32>, id: u32) -> i32 {
    let context = sessions.begin(now, request).unwrap();
    let told: Vec<_> = context.partitions.iter().map(|_| quiet(5)).collect();
    sessions
        .finish(now, &context, &told, id)
        .unwrap()
        .session_id
}

fn keys(context: &Context<u32>) -> Vec<u32> {
    context.partitions.iter().map(|(key, _)| *key).collect()
}

#[test]
fn a_full_request_gets_a_session_and_everything() {
    let mut sessions = Sessions::new(2, IDLE);
    let context = sessions
        .begin(at(0), request(0, INITIAL_EPOCH, &[1, 2]))
        .unwrap();
    assert!(!context.is_incremental());
    let answer = sessions
        .finish(at(0), &context, &[quiet(0), quiet(0)], 77)
        .unwrap();
    assert_eq!(
        answer,
        Answer {
            session_id: 77,
            sent: vec![true, true]
        }
    );
    assert_eq!((sessions.len(), sessions.partitions()), (1, 2));
}

#[test]
fn an_incremental_answer_holds_only_news() {
    let mut sessions = Sessions::new(2, IDLE);
    let id = open(
        &mut sessions,
        at(0),
        request(0, INITIAL_EPOCH, &[1, 2, 3, 4, 5]),
        7,
    );
    let context = sessions.begin(at(1), request(id, 1, &[])).unwrap();
    assert_eq!(keys(&context), [1, 2, 3, 4, 5]);
    let told = [
        quiet(5),
        Told {
            record_bytes: 9,
            ..quiet(5)
        },
        quiet(6),
        Told {
            log_start: 1,
            ..quiet(5)
        },
        Told {
            notable: true,
            ..quiet(5)
        },
    ];
    let answer = sessions.finish(at(1), &context, &told, 0).unwrap();
    assert_eq!(answer.sent, [false, true, true, true, true]);
    // The one that gave records is served last; what was told is no news any more.
    let context = sessions.begin(at(2), request(id, 2, &[])).unwrap();
    assert_eq!(keys(&context), [1, 3, 4, 5, 2]);
    let told = [
        quiet(5),
        quiet(6),
        Told {
            log_start: 1,
            ..quiet(5)
        },
        quiet(5),
        quiet(5),
    ];
    assert_eq!(
        sessions.finish(at(2), &context, &told, 0).unwrap().sent,
        [false; 5]
    );
}

#[test]
fn after_an_error_a_partition_is_sent_again() {
    let mut sessions = Sessions::new(2, IDLE);
    let id = open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1]), 7);
    let context = sessions.begin(at(1), request(id, 1, &[])).unwrap();
    let failed = Told {
        error: true,
        ..quiet(-1)
    };
    assert_eq!(
        sessions.finish(at(1), &context, &[failed], 0).unwrap().sent,
        [true]
    );
    let context = sessions.begin(at(1), request(id, 2, &[])).unwrap();
    assert_eq!(
        sessions
            .finish(at(1), &context, &[quiet(5)], 0)
            .unwrap()
            .sent,
        [true]
    );
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let mut sessions = Sessions::new(2, IDLE);
    let id = open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1, 2]), 7);
    let mut next = request(id, 1, &[]);
    next.partitions = vec![(2, wanted(50)), (3, wanted(0))];
    next.forgotten = vec![1];
    let context = sessions.begin(at(1), next).unwrap();
    assert_eq!(context.partitions, [(2, wanted(50)), (3, wanted(0))]);
    // A new one is sent even if nothing happened there.
    let answer = sessions
        .finish(at(1), &context, &[quiet(5), quiet(0)], 0)
        .unwrap();
    assert_eq!(answer.sent, [false, true]);
}

#[test]
fn a_session_without_partitions_ends() {
    let mut sessions = Sessions::new(2, IDLE);
    let id = open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1]), 7);
    let context = sessions
        .begin(
            at(1),
            Request {
                forgotten: vec![1],
                ..request(id, 1, &[])
            },
        )
        .unwrap();
    assert_eq!(
        sessions.finish(at(1), &context, &[], 0).unwrap().session_id,
        INVALID_SESSION_ID
    );
    assert!(sessions.is_empty());
}

#[test]
fn a_full_request_that_names_a_session_ends_it_and_the_final_epoch_begins_none() {
    let mut sessions = Sessions::new(2, IDLE);
    let id = open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1]), 7);
    let other = open(&mut sessions, at(1), request(id, INITIAL_EPOCH, &[1]), 8);
    assert_eq!((other, sessions.len()), (8, 1));
    assert_eq!(
        open(&mut sessions, at(1), request(other, FINAL_EPOCH, &[1]), 9),
        INVALID_SESSION_ID
    );
    assert!(sessions.is_empty());
}

#[test]
fn wrong_ids_epochs_and_ways_of_naming_are_refused() {
    let mut sessions = Sessions::new(2, IDLE);
    let id = open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1]), 7);
    assert_eq!(
        sessions.begin(at(1), request(9, 1, &[])).unwrap_err(),
        SessionError::NotFound { id: 9 }
    );
    assert_eq!(
        sessions.begin(at(1), request(id, 2, &[])).unwrap_err(),
        SessionError::InvalidEpoch {
            expected: 1,
            got: 2
        }
    );
    assert_eq!(
        sessions
            .begin(
                at(1),
                Request {
                    uses_topic_ids: false,
                    ..request(id, 1, &[])
                }
            )
            .unwrap_err(),
        SessionError::TopicIds {
            session: true,
            request: false
        }
    );
}

#[test]
fn a_request_overtaken_by_the_next_is_refused_at_its_end() {
    let mut sessions = Sessions::new(2, IDLE);
    let id = open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1]), 7);
    let first = sessions.begin(at(1), request(id, 1, &[])).unwrap();
    let _second = sessions.begin(at(1), request(id, 2, &[])).unwrap();
    assert_eq!(
        sessions.finish(at(1), &first, &[quiet(5)], 0).unwrap_err(),
        SessionError::InvalidEpoch {
            expected: 3,
            got: 2
        }
    );
}

#[test]
fn in_a_full_cache_the_young_stay_the_idle_yield_and_replicas_come_first() {
    let mut sessions = Sessions::new(2, IDLE);
    assert_eq!(
        open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1, 2]), 1),
        1
    );
    assert_eq!(
        open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1]), 2),
        2
    );
    assert_eq!(
        open(
            &mut sessions,
            at(1),
            request(0, INITIAL_EPOCH, &[1, 2, 3]),
            3
        ),
        0
    );
    // A replica pushes out the smallest reader.
    let replica = Request {
        privileged: true,
        ..request(0, INITIAL_EPOCH, &[1])
    };
    assert_eq!(open(&mut sessions, at(1), replica, 4), 4);
    assert!(sessions.begin(at(1), request(2, 1, &[])).is_err());
    // An idle one yields to anyone.
    assert_eq!(
        open(&mut sessions, at(121), request(0, INITIAL_EPOCH, &[1]), 5),
        5
    );
    assert!(sessions.begin(at(121), request(1, 1, &[])).is_err());
    assert_eq!(sessions.evictions(), 2);
}

#[test]
fn in_a_full_cache_the_larger_pushes_out_the_smaller_that_is_not_young() {
    let mut sessions = Sessions::new(1, IDLE);
    assert_eq!(
        open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1, 2]), 1),
        1
    );
    sessions.begin(at(121), request(1, 1, &[])).unwrap();
    assert_eq!(
        open(&mut sessions, at(122), request(0, INITIAL_EPOCH, &[1]), 2),
        0
    );
    assert_eq!(
        open(
            &mut sessions,
            at(122),
            request(0, INITIAL_EPOCH, &[1, 2, 3]),
            3
        ),
        3
    );
}

#[test]
fn without_slots_there_are_no_sessions() {
    let mut sessions = Sessions::new(0, IDLE);
    assert_eq!(
        open(&mut sessions, at(0), request(0, INITIAL_EPOCH, &[1]), 1),
        INVALID_SESSION_ID
    );
}

#[test]
fn a_reader_of_more_partitions_than_a_session_may_hold_gets_none() {
    let mut sessions = Sessions::new(2, IDLE);
    let most = u32::try_from(FETCH_SESSION_PARTITIONS_MAX).unwrap();
    let too_many: Vec<u32> = (0..=most).collect();
    let full = request(0, INITIAL_EPOCH, &too_many);
    assert_eq!(open(&mut sessions, at(0), full, 7), INVALID_SESSION_ID);
    let full = request(0, INITIAL_EPOCH, &too_many[1..]);
    assert_eq!(open(&mut sessions, at(0), full, 7), 7);
    // One more ends it: all are answered once more.
    let context = sessions.begin(at(1), request(7, 1, &[0])).unwrap();
    assert!(!context.is_incremental());
    assert_eq!(context.partitions.len(), too_many.len());
    assert!(sessions.is_empty());
}

#[test]
fn sessions_hold_a_bounded_number_of_partitions_together() {
    let fit = FETCH_SESSIONS_PARTITIONS_MAX / FETCH_SESSION_PARTITIONS_MAX;
    let mut sessions = Sessions::new(1000, IDLE);
    let most = u32::try_from(FETCH_SESSION_PARTITIONS_MAX).unwrap();
    let all: Vec<u32> = (0..most).collect();
    for id in 1..=u32::try_from(fit).unwrap() {
        let full = request(0, INITIAL_EPOCH, &all);
        assert_eq!(open(&mut sessions, at(0), full, id), id.cast_signed());
    }
    let another = request(0, INITIAL_EPOCH, &[1]);
    assert_eq!(
        open(&mut sessions, at(0), another.clone(), 99),
        INVALID_SESSION_ID
    );
    // One that was idle makes way.
    assert_eq!(open(&mut sessions, at(121), another, 99), 99);
    assert_eq!(sessions.len(), fit);
}
