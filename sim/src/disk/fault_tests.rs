//! Every fault of a disk, biting.

use std::{io::ErrorKind, path::Path, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use ottla_io::{Disk, File, OpenMode};

use super::{
    DiskFaults, SimFile,
    tests::{Bench, put, run, seeded},
};
use crate::clock::SimClock;

const EIO: i32 = 5;

fn failing(set: fn(&mut DiskFaults)) -> DiskFaults {
    let mut faults = DiskFaults::default();
    set(&mut faults);
    faults
}

async fn synced(bench: &mut Bench, contents: Vec<u8>) -> (super::SimDisk, SimFile) {
    let (disk, _process) = bench.start();
    let file = disk
        .open(Path::new("/f.log"), OpenMode::Create)
        .await
        .unwrap();
    file.write_at(0, vec![Bytes::from(contents)]).await.unwrap();
    file.sync_data().await.unwrap();
    disk.sync_dir(Path::new("/")).await.unwrap();
    (disk, file)
}

#[test]
fn reads_and_maps_fail_while_the_device_fails_them() {
    run(|mut bench| async move {
        let (_disk, file) = synced(&mut bench, vec![7; 10]).await;
        bench
            .device
            .set_faults(failing(|faults| faults.read_errors = 10_000));
        let error = file.read_at(0, 10).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EIO));
        assert_eq!(file.map(10).await.unwrap_err().raw_os_error(), Some(EIO));
        bench.device.set_faults(DiskFaults::default());
        assert_eq!(file.read_at(0, 10).await.unwrap(), vec![7; 10]);
    });
}

#[test]
fn a_failed_write_was_done_not_at_all_or_in_part() {
    let mut lens = std::collections::BTreeSet::new();
    for seed in 0..40 {
        lens.insert(seeded(seed, |mut bench| async move {
            let (_disk, file) = synced(&mut bench, Vec::new()).await;
            bench
                .device
                .set_faults(failing(|faults| faults.write_errors = 10_000));
            let error = file.write_at(0, vec![Bytes::from(vec![1; 100])]).await;
            assert_eq!(error.unwrap_err().raw_os_error(), Some(EIO));
            file.len().await.unwrap()
        }));
    }
    assert!(lens.contains(&0) && lens.len() > 5, "{lens:?}");
}

#[test]
fn errors_come_at_about_their_rate() {
    run(|mut bench| async move {
        let (_disk, file) = synced(&mut bench, vec![7; 10]).await;
        bench
            .device
            .set_faults(failing(|faults| faults.read_errors = 2_500));
        let mut failed = 0;
        for _ in 0..400 {
            failed += u32::from(file.read_at(0, 10).await.is_err());
        }
        assert!((60..140).contains(&failed), "{failed} of 400");
    });
}

#[test]
fn a_stalled_device_answers_nothing_until_it_goes_on_while_the_cache_takes_writes() {
    run(|mut bench| async move {
        let (_disk, file) = synced(&mut bench, vec![7; 10]).await;
        bench
            .device
            .set_faults(failing(|faults| faults.stalled = true));
        file.write_at(10, vec![Bytes::from_static(b"cached")])
            .await
            .unwrap();
        let clock = SimClock::current();
        let sync = Box::pin(file.sync_data());
        let Either::Right(((), sync)) = select(sync, clock.sleep(Duration::from_secs(60))).await
        else {
            panic!("the sync came back from a stalled device");
        };
        bench.device.set_faults(DiskFaults::default());
        let Either::Left((result, _)) = select(sync, clock.sleep(Duration::from_secs(1))).await
        else {
            panic!("the sync did not come back");
        };
        result.unwrap();
    });
}

#[test]
fn a_slow_device_takes_many_times_as_long() {
    run(|mut bench| async move {
        let (_disk, file) = synced(&mut bench, vec![7; 10]).await;
        let clock = SimClock::current();
        bench
            .device
            .set_faults(failing(|faults| faults.slow = 1_000));
        let begun = clock.now();
        file.sync_data().await.unwrap();
        assert!(clock.now() - begun >= 100_000_000);
    });
}

#[test]
fn bits_rot_in_what_is_durable_and_at_rest_and_nowhere_else() {
    for seed in 0..50 {
        seeded(seed, |mut bench| async move {
            let (disk, file) = synced(&mut bench, vec![0; 64]).await;
            put(&disk, "/unsynced.log", b"never").await;
            put(&disk, "/other", b"never").await;
            file.write_at(60, vec![Bytes::from(vec![0; 10])])
                .await
                .unwrap();
            let rotten = bench.device.rot(".log", 1);
            let [(path, bit)] = &rotten[..] else {
                panic!("{rotten:?}");
            };
            assert_eq!(path, "/f.log");
            assert!(*bit < 60 * 8, "{bit}");
            let read = file.read_at(0, 100).await.unwrap();
            let ones: Vec<usize> = (0..read.len() * 8)
                .filter(|bit| read[bit / 8] >> (bit % 8) & 1 == 1)
                .collect();
            assert_eq!(ones, [usize::try_from(*bit).unwrap()]);
        });
    }
}

#[test]
fn a_misdirected_write_hits_another_place_and_is_missing_in_its_own_after_a_power_loss() {
    run(|mut bench| async move {
        let (disk, process) = bench.start();
        for name in ["/a.log", "/b.log"] {
            let file = disk.open(Path::new(name), OpenMode::Create).await.unwrap();
            file.write_at(0, vec![Bytes::from(vec![1; 2_000])])
                .await
                .unwrap();
            file.sync_data().await.unwrap();
        }
        disk.sync_dir(Path::new("/")).await.unwrap();
        bench.device.misdirect_next(".log");
        let file = disk
            .open(Path::new("/a.log"), OpenMode::ReadWrite)
            .await
            .unwrap();
        file.write_at(2_000, vec![Bytes::from(vec![9; 100])])
            .await
            .unwrap();
        assert_eq!(file.read_at(2_000, 100).await.unwrap(), vec![9; 100]);
        file.sync_data().await.unwrap();
        let disk = bench.lose_power(&process);
        let (a, b) = (
            disk.read(Path::new("/a.log")),
            disk.read(Path::new("/b.log")),
        );
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        assert_eq!((a.len(), b.len()), (2_000, 2_000));
        let strayed = a.iter().chain(b.iter()).filter(|byte| **byte == 9).count();
        assert_eq!(strayed, 100);
    });
}

#[test]
fn a_replaced_disk_is_empty_and_takes_writes() {
    run(|mut bench| async move {
        let (_disk, file) = synced(&mut bench, vec![7; 10]).await;
        drop(file);
        bench.device.process_ended();
        bench.device.wipe();
        let (disk, _process) = bench.start();
        let gone = disk.read(Path::new("/f.log")).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        assert_eq!(bench.device.used_bytes(), 0);
        put(&disk, "/f.log", b"new").await;
        assert_eq!(disk.read(Path::new("/f.log")).await.unwrap(), "new");
    });
}

#[test]
fn overlapping_faults_of_a_disk_are_joined() {
    let slow = failing(|faults| faults.slow = 7);
    let full = failing(|faults| faults.limit_bytes = Some(5));
    let stalled = failing(|faults| (faults.stalled, faults.read_errors) = (true, 9_000));
    let all = slow.joined(full).joined(stalled).joined(stalled);
    let expected = DiskFaults {
        slow: 7,
        limit_bytes: Some(5),
        stalled: true,
        read_errors: 10_000,
        ..DiskFaults::default()
    };
    assert_eq!(all, expected);
}
