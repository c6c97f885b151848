//! What opening a directory does with each kind of damage.

use alloc::{format, string::ToString as _, vec, vec::Vec};

use bytes::Bytes;

use super::{
    TestBatch,
    fixture::{Fixture, header, small_config},
};
use crate::{
    batch::Origin,
    log::{
        Cut, FileName, LogConfig, Mark, Recovered, RecoveryError, Request,
        read::{Damage, trim},
    },
};

/// A log of plain and idempotent batches in several segments, all of it written and synced.
fn filled(batches: i32) -> Fixture {
    let mut fixture = Fixture::new(LogConfig {
        snapshot_interval_bytes: u64::MAX,
        ..small_config()
    });
    append(&mut fixture, batches);
    fixture.sync();
    fixture
}

fn append(fixture: &mut Fixture, batches: i32) {
    for _ in 0..batches {
        fixture.now.0 += 10;
        let sequence = fixture.log.producers().get(5);
        let sequence = sequence.map_or(0, |entry| entry.last_sequence() + 1);
        let batch = TestBatch {
            count: 2,
            filler: 45,
            timestamp: fixture.now.0,
            producer: (5, 0, sequence),
            ..TestBatch::default()
        };
        fixture.append(batch, 0, Origin::Client).unwrap();
        fixture.write();
    }
}

/// Opens after a crash, and makes the model agree with the end it gives.
fn reopen(fixture: &mut Fixture, recovery_point: i64, clean: bool) -> Opened {
    let start = fixture.log.log_start();
    let recovered = fixture.recover(recovery_point, start, clean).unwrap();
    let end = recovered.log.log_end();
    fixture
        .model
        .retain(|batch| header(batch).last_offset() < end);
    let Recovered {
        log,
        cut,
        indexes_rebuilt,
        ..
    } = recovered;
    fixture.log = log;
    fixture.check();
    Opened {
        cut,
        indexes_rebuilt,
    }
}

/// What opening reported.
struct Opened {
    cut: Option<Cut>,
    indexes_rebuilt: usize,
}

fn active_name(fixture: &Fixture) -> alloc::string::String {
    fixture.log.active_file().to_string()
}

#[test]
fn damage_below_the_recovery_point_refuses_the_partition_wherever_it_lies() {
    let whole = filled(11);
    let (name, end) = (active_name(&whole), whole.log.log_end());
    let (segment, len) = (whole.log.active().base, whole.disk.bytes(&name).len());
    assert!(len > 300, "several batches are in the segment");
    for at in [0, 3, 4, 6, 8, 16, 17, 30, 100, len / 2, len - 1] {
        let mut fixture = filled(11);
        fixture.disk.bytes_mut(&name)[at] ^= 0x40;
        let before = fixture.disk.bytes(&name).to_vec();
        let Err(RecoveryError::Damaged {
            damaged,
            recovery_point,
        }) = fixture.recover(end, 0, false)
        else {
            panic!("byte {at} was flipped, nothing was noticed");
        };
        assert_eq!((damaged.segment, recovery_point), (segment, end));
        // No checksum covers a base offset: that shows at the next batch.
        assert!(damaged.position <= at as u64 + 190);
        assert_eq!(fixture.disk.bytes(&name), before, "nothing was cut");
    }
    let mut fixture = filled(11);
    fixture.disk.bytes_mut(&name).truncate(len - 20);
    let error = fixture.recover(end, 0, false).unwrap_err();
    assert!(matches!(
        error,
        RecoveryError::Damaged { damaged, .. } if matches!(damaged.reason, Damage::Torn { .. })
    ));
}

#[test]
fn a_last_offset_that_rotted_beyond_its_segment_is_damage_to_a_reader_and_no_silence() {
    for active in [true, false] {
        let mut fixture = filled(11);
        let base = match active {
            true => fixture.log.active().base,
            false => 0,
        };
        let end = fixture.log.log_end();
        let plan = fixture
            .log
            .plan_read(base, end, 4096, true)
            .unwrap()
            .unwrap();
        let name = FileName::Log(base).to_string();
        // The first of the four bytes of the last offset's distance to the first one.
        fixture.disk.bytes_mut(&name)[23] ^= 0x40;
        let bytes = Bytes::copy_from_slice(fixture.disk.bytes(&name));
        let damaged = trim(&bytes, 0, &plan).unwrap_err();
        assert!(matches!(damaged.reason, Damage::Last { .. }), "{damaged}");
    }
}

#[test]
fn a_log_cut_between_batches_or_without_its_last_segment_below_the_recovery_point_is_refused() {
    for clean in [true, false] {
        for segment_lost in [true, false] {
            let mut fixture = filled(11);
            fixture.log.close(&mut fixture.pending);
            fixture.write();
            let (name, end) = (active_name(&fixture), fixture.log.log_end());
            let base = fixture.log.active().base;
            let last = fixture.model.last().unwrap().len();
            let len = fixture.disk.bytes(&name).len();
            let ends = if segment_lost {
                fixture.disk.remove(&name);
                base
            } else {
                fixture.disk.bytes_mut(&name).truncate(len - last);
                end - 2
            };
            let Err(RecoveryError::EndsBelow {
                log_end,
                recovery_point,
            }) = fixture.recover(end, 0, clean)
            else {
                panic!("clean {clean}, segment lost {segment_lost}: nothing was noticed");
            };
            assert_eq!((log_end, recovery_point), (ends, end));
            // What is left is untouched, and is served when it is asked for as it is.
            let recovered = fixture.recover(ends, 0, false).unwrap();
            assert_eq!(recovered.log.log_end(), ends);
        }
    }
}

#[test]
fn a_log_that_ends_below_its_start_begins_anew_there_and_says_so() {
    let mut fixture = filled(11);
    let end = fixture.log.log_end();
    let recovered = fixture.recover(end, end + 100, false).unwrap();
    assert_eq!(recovered.discarded, Some(end));
    let (start, now) = (recovered.log.log_start(), recovered.log.log_end());
    assert_eq!((start, now), (end + 100, end + 100));
}

#[test]
fn a_torn_tail_is_cut_once_with_one_report() {
    for torn in [1, 12, 30, 60, 61, 100] {
        let mut fixture = filled(9);
        let durable = fixture.log.log_end();
        append(&mut fixture, 1);
        let name = active_name(&fixture);
        let (file, len) = (fixture.log.active_file(), fixture.disk.bytes(&name).len());
        let position = len - fixture.model.last().unwrap().len();
        fixture.disk.bytes_mut(&name).truncate(position + torn);
        let cut = reopen(&mut fixture, durable, false).cut.unwrap();
        assert_eq!(
            (cut.file, cut.position, cut.offset, cut.bytes),
            (file, position as u64, durable, torn as u64)
        );
        assert!(matches!(cut.reason, Damage::Torn { left, .. } if left == torn as u64));
        assert_eq!(fixture.disk.bytes(&name).len(), position);
        assert_eq!(reopen(&mut fixture, durable, false).cut, None);
        append(&mut fixture, 3);
        fixture.check();
    }
}

#[test]
fn what_a_failed_sync_left_in_the_page_cache_alone_is_durable_once_it_is_recovered() {
    for batches in [1, 3, 9] {
        let mut fixture = filled(5);
        let durable = fixture.log.log_end();
        append(&mut fixture, batches);
        let end = fixture.log.log_end();
        fixture.disk.fail_syncs();
        assert!(reopen(&mut fixture, durable, false).cut.is_none());
        assert_eq!(fixture.log.log_end(), end);
        fixture.disk.lose_power(|_| 0);
        assert!(reopen(&mut fixture, end, false).cut.is_none());
        assert_eq!(fixture.log.log_end(), end);
    }
}

#[test]
fn a_batch_above_the_recovery_point_of_which_only_the_base_offset_is_torn_is_cut() {
    let mut fixture = filled(9);
    let durable = fixture.log.log_end();
    append(&mut fixture, 1);
    let name = active_name(&fixture);
    let position = fixture.disk.bytes(&name).len() - fixture.model.last().unwrap().len();
    assert!(durable > 0 && position > 0);
    fixture.disk.bytes_mut(&name)[position..position + 8].fill(0);
    let cut = reopen(&mut fixture, durable, false).cut.unwrap();
    assert_eq!((cut.position, cut.offset), (position as u64, durable));
    let (expected, got) = (durable, 0);
    assert_eq!(cut.reason, Damage::Offset { expected, got });
}

#[test]
fn a_flipped_bit_above_the_recovery_point_cuts_there_and_takes_later_segments() {
    let mut fixture = filled(2);
    let durable = fixture.log.log_end();
    append(&mut fixture, 12);
    let (first, size) = (
        FileName::Log(0),
        fixture.disk.bytes(&FileName::Log(0).to_string()).len(),
    );
    let position = fixture.model[0].len() * 2;
    fixture.disk.bytes_mut(&first.to_string())[position + 70] ^= 1;
    let all = fixture.log.size();
    let cut = reopen(&mut fixture, durable, false).cut.unwrap();
    assert_eq!(
        (cut.file, cut.position, cut.offset),
        (first, position as u64, durable)
    );
    assert_eq!(
        (cut.reason, cut.bytes),
        (Damage::Crc, all - position as u64)
    );
    assert!(size > position && fixture.log.segments().len() == 1);
    let logs = fixture.disk.list();
    assert_eq!(
        logs.iter()
            .filter(|file| file.name.ends_with(".log"))
            .count(),
        1
    );
}

/// Breaks an index file: what it is called, how, and whether that can be seen on a clean open.
type Break = (&'static str, fn(&mut Vec<u8>));

const BREAKS: [Break; 3] = [
    ("odd length", |file| file.push(7)),
    ("a preallocated tail of zeros", |file| file.resize(1200, 0)),
    ("only zeros", |file| {
        file.clear();
        file.resize(1200, 0);
    }),
];

#[test]
fn an_unsound_index_of_any_segment_is_rebuilt_after_a_crash_and_after_a_clean_stop() {
    for clean in [true, false] {
        for (what, spoil) in BREAKS {
            for at in 0..3 {
                for kind in [FileName::OffsetIndex, FileName::TimeIndex] {
                    let mut fixture = filled(11);
                    assert_eq!(fixture.log.segments().len(), 3);
                    fixture.log.close(&mut fixture.pending);
                    fixture.write();
                    let base = fixture.log.segments().nth(at).unwrap().base;
                    let name = kind(base).to_string();
                    let sound = fixture.disk.bytes(&name).to_vec();
                    assert!(!sound.is_empty(), "{name}");
                    spoil(fixture.disk.bytes_mut(&name));
                    let end = fixture.log.log_end();
                    let recovered = reopen(&mut fixture, end, clean);
                    assert_eq!(fixture.log.log_end(), end);
                    assert_eq!(
                        fixture.disk.bytes(&name),
                        sound,
                        "{what} in {name}, {clean}"
                    );
                    assert!(recovered.indexes_rebuilt >= 1 && recovered.cut.is_none());
                }
            }
        }
    }
}

#[test]
fn a_missing_index_of_any_segment_is_rebuilt() {
    for clean in [true, false] {
        for at in 0..3 {
            for kind in [FileName::OffsetIndex, FileName::TimeIndex] {
                let mut fixture = filled(11);
                fixture.log.close(&mut fixture.pending);
                fixture.write();
                let base = fixture.log.segments().nth(at).unwrap().base;
                let name = kind(base).to_string();
                let sound = fixture.disk.bytes(&name).to_vec();
                fixture.disk.remove(&name);
                let end = fixture.log.log_end();
                reopen(&mut fixture, end, clean);
                assert_eq!(fixture.disk.bytes(&name), sound, "{name} {clean}");
            }
        }
    }
}

#[test]
fn a_truncated_offset_index_of_the_active_segment_is_whole_after_a_crash() {
    let mut fixture = filled(11);
    let end = fixture.log.log_end();
    let name = FileName::OffsetIndex(fixture.log.active().base).to_string();
    let sound = fixture.disk.bytes(&name).to_vec();
    assert!(sound.len() >= 8);
    fixture.disk.bytes_mut(&name).truncate(sound.len() - 8);
    reopen(&mut fixture, end, false);
    assert_eq!(fixture.disk.bytes(&name), sound);
}

#[test]
fn a_bad_index_over_a_damaged_segment_below_the_recovery_point_is_an_error() {
    let mut fixture = filled(11);
    fixture.disk.remove(&FileName::OffsetIndex(0).to_string());
    fixture.disk.bytes_mut(&FileName::Log(0).to_string())[100] ^= 1;
    let end = fixture.log.log_end();
    for clean in [true, false] {
        let error = fixture.recover(end, 0, clean).unwrap_err();
        assert!(matches!(error, RecoveryError::Damaged { .. }), "{error}");
    }
}

#[test]
fn corrupt_and_missing_producer_snapshots_fall_back_to_older_ones_and_to_the_log() {
    for clean in [true, false] {
        for spoiled in 0..4 {
            for remove in [true, false] {
                let mut fixture = filled(11);
                fixture.log.close(&mut fixture.pending);
                fixture.write();
                let names = fixture.disk.list().into_iter().map(|file| file.name);
                let snapshots: Vec<_> = names.filter(|name| name.ends_with(".snapshot")).collect();
                assert_eq!(snapshots.len(), 3, "{snapshots:?}");
                for name in snapshots.iter().rev().take(spoiled) {
                    if remove {
                        fixture.disk.remove(name);
                    } else {
                        fixture.disk.bytes_mut(name)[20] ^= 1;
                    }
                }
                let end = fixture.log.log_end();
                reopen(&mut fixture, end, clean);
                assert_eq!(fixture.log.producers().get(5).unwrap().last_sequence(), 21);
                append(&mut fixture, 1);
            }
        }
    }
}

#[test]
fn deleted_and_cleaned_files_and_indexes_without_a_log_are_removed() {
    let mut fixture = filled(11);
    let junk = [
        FileName::Log(0).marked(Mark::Deleted),
        FileName::OffsetIndex(4).marked(Mark::Deleted),
        FileName::ProducerSnapshot(4).marked(Mark::Deleted),
        FileName::Log(0).marked(Mark::Cleaned),
        FileName::TimeIndex(0).marked(Mark::Cleaned),
        FileName::OffsetIndex(777).to_string(),
        FileName::TxnIndex(777).to_string(),
    ];
    for name in &junk {
        *fixture.disk.bytes_mut(name) = vec![1, 2, 3];
    }
    *fixture.disk.bytes_mut("somebody.else") = vec![9];
    let end = fixture.log.log_end();
    reopen(&mut fixture, end, false);
    let left: Vec<_> = fixture
        .disk
        .list()
        .into_iter()
        .map(|file| file.name)
        .collect();
    assert!(junk.iter().all(|name| !left.contains(name)), "{left:?}");
    assert!(left.iter().any(|name| name == "somebody.else"));
}

/// Copies a segment's files under a mark.
fn mark_copy(fixture: &mut Fixture, base: i64, mark: Mark) -> Vec<alloc::string::String> {
    let files = [
        FileName::Log(base),
        FileName::OffsetIndex(base),
        FileName::TimeIndex(base),
    ];
    files
        .into_iter()
        .map(|file| {
            let contents = fixture.disk.bytes(&file.to_string()).to_vec();
            *fixture.disk.bytes_mut(&file.marked(mark)) = contents;
            file.marked(mark)
        })
        .collect()
}

#[test]
fn swap_files_take_the_place_of_the_segments_they_span() {
    let mut fixture = filled(11);
    let bases: Vec<_> = fixture.log.segments().map(|segment| segment.base).collect();
    // A cleaning joined the first two segments into one, and stopped before any was renamed.
    let second = fixture
        .disk
        .bytes(&FileName::Log(bases[1]).to_string())
        .to_vec();
    let swaps = mark_copy(&mut fixture, 0, Mark::Swap);
    fixture.disk.bytes_mut(&swaps[0]).extend(second);
    // Its indexes did not make it: they are built anew.
    fixture.disk.remove(&swaps[1]);
    fixture.disk.remove(&swaps[2]);
    let end = fixture.log.log_end();
    reopen(&mut fixture, end, true);
    let now: Vec<_> = fixture.log.segments().map(|segment| segment.base).collect();
    assert_eq!(now, [bases[0], bases[2]]);
    let left: Vec<_> = fixture
        .disk
        .list()
        .into_iter()
        .map(|file| file.name)
        .collect();
    assert!(!left.iter().any(|name| name.ends_with(".swap")), "{left:?}");
    assert!(!left.contains(&FileName::OffsetIndex(bases[1]).to_string()));
}

#[test]
fn swap_files_above_a_cleaned_file_are_not_complete_and_are_removed() {
    let mut fixture = filled(11);
    mark_copy(&mut fixture, 0, Mark::Cleaned);
    let swaps = mark_copy(&mut fixture, 0, Mark::Swap);
    fixture.disk.bytes_mut(&swaps[0]).truncate(10);
    let end = fixture.log.log_end();
    reopen(&mut fixture, end, true);
    assert_eq!(fixture.log.segments().len(), 3);
    let left: Vec<_> = fixture
        .disk
        .list()
        .into_iter()
        .map(|file| file.name)
        .collect();
    let marked =
        |name: &&alloc::string::String| name.ends_with(".swap") || name.ends_with(".cleaned");
    assert_eq!(left.iter().filter(marked).count(), 0, "{left:?}");
}

#[test]
fn a_damaged_swap_file_refuses_the_partition_and_changes_nothing() {
    let mut fixture = filled(11);
    let swaps = mark_copy(&mut fixture, 0, Mark::Swap);
    fixture.disk.bytes_mut(&swaps[0])[90] ^= 1;
    let before = fixture.disk.clone();
    let end = fixture.log.log_end();
    assert!(fixture.recover(end, 0, true).is_err());
    assert!(fixture.disk == before);
}

/// One large segment with a snapshot of the producers every thousand bytes.
fn large(batches: i32) -> Fixture {
    let mut fixture = Fixture::new(LogConfig {
        segment_bytes: 1 << 20,
        segment_index_bytes: 1 << 16,
        snapshot_interval_bytes: 1000,
        ..small_config()
    });
    append(&mut fixture, batches);
    fixture.sync();
    fixture
}

fn bytes_of_log_read(fixture: &Fixture) -> usize {
    let log = |request: &&Request| matches!(request.file, FileName::Log(_));
    fixture
        .reads
        .iter()
        .filter(log)
        .map(|request| request.len)
        .sum()
}

#[test]
fn after_a_crash_what_is_read_of_the_log_lies_above_the_last_snapshot_below_the_recovery_point() {
    for unsynced in [0, 1, 20] {
        let mut fixture = large(300);
        let (durable, size) = (fixture.log.log_end(), fixture.log.size());
        append(&mut fixture, unsynced);
        let above = (fixture.log.size() - size) as usize;
        let sound = fixture
            .disk
            .bytes(&FileName::OffsetIndex(0).to_string())
            .to_vec();
        // The indexes are not synced with the log: above the snapshot anything may be in them.
        fixture
            .disk
            .bytes_mut(&FileName::OffsetIndex(0).to_string())
            .truncate(sound.len() - 16);
        let opened = reopen(&mut fixture, durable, false);
        assert_eq!(opened.cut, None);
        let (read, batch) = (bytes_of_log_read(&fixture), 190);
        // A header, and the stretch between two index entries, once more to look up a time entry.
        assert!(
            size > 40_000 && read <= 2 * (above + 1000) + 61 + 4 * batch,
            "{read} of {size}"
        );
        assert_eq!(
            fixture.disk.bytes(&FileName::OffsetIndex(0).to_string()),
            sound
        );
    }
}

#[test]
fn damage_above_the_snapshot_and_below_the_recovery_point_is_still_an_error() {
    let mut fixture = large(300);
    let (name, end) = (active_name(&fixture), fixture.log.log_end());
    let len = fixture.disk.bytes(&name).len();
    fixture.disk.bytes_mut(&name)[len - 30] ^= 1;
    let error = fixture.recover(end, 0, false).unwrap_err();
    assert!(matches!(error, RecoveryError::Damaged { .. }), "{error}");
}

#[test]
fn an_index_that_cannot_be_relied_on_below_the_snapshot_is_rebuilt_from_the_whole_segment() {
    let spoil: [fn(&mut Vec<u8>); 4] = [
        |file| file[80..88].fill(0),
        |file| file.resize(4096, 0),
        |file| file.truncate(41),
        // The entry at which the scan would begin names another batch.
        |file| {
            file.as_chunks_mut::<8>()
                .0
                .iter_mut()
                .for_each(|entry| entry[3] ^= 1)
        },
    ];
    for spoil in spoil {
        let mut fixture = large(300);
        let end = fixture.log.log_end();
        let name = FileName::OffsetIndex(0).to_string();
        let sound = fixture.disk.bytes(&name).to_vec();
        spoil(fixture.disk.bytes_mut(&name));
        reopen(&mut fixture, end, false);
        assert_eq!(fixture.disk.bytes(&name), sound);
        assert!(bytes_of_log_read(&fixture) as u64 >= fixture.log.size());
    }
}

#[test]
fn a_corrupt_snapshot_within_the_segment_costs_a_whole_read_and_nothing_else() {
    let mut fixture = large(300);
    let end = fixture.log.log_end();
    let names = fixture.disk.list().into_iter().map(|file| file.name);
    let newest = names
        .filter(|name| name.ends_with(".snapshot"))
        .max()
        .unwrap();
    fixture.disk.bytes_mut(&newest)[12] ^= 1;
    reopen(&mut fixture, end, false);
    assert_eq!(fixture.log.producers().get(5).unwrap().last_sequence(), 599);
}

#[test]
fn after_a_clean_stop_nothing_of_sealed_segments_logs_is_read() {
    let mut fixture = filled(11);
    fixture.log.close(&mut fixture.pending);
    fixture.write();
    let (end, active) = (fixture.log.log_end(), fixture.log.active().base);
    reopen(&mut fixture, end, true);
    let logs = fixture
        .reads
        .iter()
        .filter(|request| matches!(request.file, FileName::Log(_)));
    assert!(
        logs.clone()
            .all(|request| request.file == FileName::Log(active))
    );
    assert!(bytes_of_log_read(&fixture) <= 61 + 4 * 190);
}

#[test]
fn a_log_start_within_a_batch_survives_reads_and_restarts() {
    let mut fixture = filled(11);
    for clean in [true, false] {
        let start = fixture.log.log_start() + 5;
        assert_eq!(start % 2, 1, "batches have two records");
        let end = fixture.log.log_end();
        fixture
            .log
            .advance_log_start(start, end, &mut fixture.pending)
            .unwrap();
        fixture.write();
        assert_eq!(fixture.log.log_start(), start);
        let got = fixture.read(start, end, 1);
        assert_eq!(header(&got).base_offset, start - 1);
        reopen(&mut fixture, end, clean);
        assert_eq!(fixture.log.log_start(), start);
        fixture.check_reads(start, 1000);
        assert!(fixture.log.plan_read(start - 1, end, 100, true).is_err());
        // The next round begins at an even offset.
        fixture
            .log
            .advance_log_start(start + 1, end, &mut fixture.pending)
            .unwrap();
        fixture.write();
    }
    assert_eq!(
        format!("{}", fixture.log.active_file()),
        active_name(&fixture)
    );
}
