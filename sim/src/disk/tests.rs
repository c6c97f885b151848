//! What survives what, and that every possible image is met.

use std::{collections::BTreeSet, io::ErrorKind, path::Path};

use bytes::Bytes;
use madsim::runtime::Runtime;
use ottla_io::{Disk, File, OpenMode};

use super::{DiskDevice, DiskFaults, SimDisk};
use crate::{
    clock::SimClock,
    event::{NodeId, Recorder},
    process::Process,
    random::SimRandom,
};

const MIB: u64 = 1024 * 1024;

pub(super) fn run<F: Future>(test: impl FnOnce(Bench) -> F) -> F::Output {
    seeded(1, test)
}

pub(super) fn seeded<F: Future>(seed: u64, test: impl FnOnce(Bench) -> F) -> F::Output {
    Runtime::with_seed_and_config(seed, madsim::Config::default()).block_on(async {
        let recorder = Recorder::new(SimClock::current(), false);
        let random = SimRandom::new(seed, "disk");
        let device = DiskDevice::new(NodeId(1), MIB, random, recorder);
        test(Bench { device, lives: 0 }).await
    })
}

/// One node's disk and its processes.
pub(super) struct Bench {
    pub(super) device: DiskDevice,
    lives: u32,
}

impl Bench {
    pub(super) fn start(&mut self) -> (SimDisk, Process) {
        self.lives += 1;
        let process = Process::new(NodeId(1), self.lives);
        (self.device.mount(process.clone()), process)
    }

    fn kill(&mut self, process: &Process) -> SimDisk {
        process.end();
        self.device.process_ended();
        self.start().0
    }

    pub(super) fn lose_power(&mut self, process: &Process) -> SimDisk {
        process.end();
        self.device.power_lost();
        self.start().0
    }
}

pub(super) async fn put(disk: &SimDisk, path: &str, contents: &'static [u8]) {
    let file = disk.open(Path::new(path), OpenMode::Create).await.unwrap();
    file.write_at(0, vec![Bytes::from_static(contents)])
        .await
        .unwrap();
}

#[test]
fn a_killed_process_leaves_its_unsynced_writes_and_loses_its_lock() {
    run(|mut bench| async move {
        let (disk, process) = bench.start();
        put(&disk, "/log", b"unsynced").await;
        let _lock = disk.lock(Path::new("/.lock")).await.unwrap();
        let again = disk.lock(Path::new("/.lock")).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::WouldBlock);
        let disk = bench.kill(&process);
        assert_eq!(disk.read(Path::new("/log")).await.unwrap(), "unsynced");
        disk.lock(Path::new("/.lock")).await.unwrap();
    });
}

#[test]
fn a_dead_process_touches_the_disk_no_more() {
    run(|mut bench| async move {
        let (disk, process) = bench.start();
        put(&disk, "/log", b"old").await;
        let new = bench.kill(&process);
        let late = async { put(&disk, "/log", b"new").await };
        let clock = SimClock::current();
        futures_util::future::select(
            std::pin::pin!(late),
            clock.sleep(std::time::Duration::from_secs(60)),
        )
        .await;
        assert_eq!(new.read(Path::new("/log")).await.unwrap(), "old");
    });
}

#[test]
fn what_was_synced_with_its_name_survives_every_power_loss() {
    for seed in 0..200 {
        seeded(seed, |mut bench| async move {
            let (disk, process) = bench.start();
            disk.create_dir_all(Path::new("/a/b")).await.unwrap();
            disk.sync_dir(Path::new("/")).await.unwrap();
            disk.sync_dir(Path::new("/a")).await.unwrap();
            let file = disk
                .open(Path::new("/a/b/f"), OpenMode::CreateNew)
                .await
                .unwrap();
            file.write_at(0, vec![Bytes::from_static(b"durable")])
                .await
                .unwrap();
            file.sync_data().await.unwrap();
            disk.sync_dir(Path::new("/a/b")).await.unwrap();
            file.write_at(7, vec![Bytes::from_static(b" and not")])
                .await
                .unwrap();
            let disk = bench.lose_power(&process);
            let found = disk.read(Path::new("/a/b/f")).await.unwrap();
            assert!(found.starts_with(b"durable"), "seed {seed}: {found:?}");
        });
    }
}

#[test]
fn a_power_loss_keeps_loses_and_tears_unsynced_writes_lengths_and_truncations() {
    let mut images = BTreeSet::new();
    for seed in 0..400 {
        images.insert(seeded(seed, |mut bench| async move {
            let (disk, process) = bench.start();
            let file = disk.open(Path::new("/f"), OpenMode::Create).await.unwrap();
            file.write_at(0, vec![Bytes::from(vec![1; 600])])
                .await
                .unwrap();
            file.sync_data().await.unwrap();
            disk.sync_dir(Path::new("/")).await.unwrap();
            file.write_at(600, vec![Bytes::from(vec![2; 1000])])
                .await
                .unwrap();
            file.truncate(500).await.unwrap();
            let disk = bench.lose_power(&process);
            disk.read(Path::new("/f")).await.unwrap().to_vec()
        }));
    }
    let lens: BTreeSet<usize> = images.iter().map(Vec::len).collect();
    for expected in [500, 600, 1024, 1600] {
        assert!(
            lens.contains(&expected),
            "no image of {expected} bytes: {lens:?}"
        );
    }
    // A sector in the middle of the write was lost, the ones about it were kept.
    assert!(
        images
            .iter()
            .any(|image| image.len() == 1600 && image[1200] == 0 && image[1590] == 2)
    );
    // The length came without the bytes.
    assert!(
        images
            .iter()
            .any(|image| image.len() == 1600 && image[600..].iter().all(|b| *b == 0))
    );
}

#[test]
fn a_write_may_lose_the_few_bytes_that_it_has_in_its_first_sector_and_nothing_else() {
    let images: BTreeSet<Vec<u8>> = (0..40)
        .map(|seed| {
            seeded(seed, |mut bench| async move {
                let (disk, process) = bench.start();
                let path = Path::new("/f");
                let file = disk.open(path, OpenMode::Create).await.unwrap();
                let before = Bytes::from(vec![1; 504]);
                file.write_at(0, vec![before]).await.unwrap();
                file.sync_data().await.unwrap();
                disk.sync_dir(Path::new("/")).await.unwrap();
                let write = Bytes::from(vec![2; 1000]);
                file.write_at(504, vec![write]).await.unwrap();
                let disk = bench.lose_power(&process);
                disk.read(path).await.unwrap().to_vec()
            })
        })
        .collect();
    let torn = [vec![1; 504], vec![0; 8], vec![2; 992]].concat();
    assert!(images.contains(&torn));
}

#[test]
fn a_byte_is_read_from_the_device_once_after_a_loss_of_power() {
    run(|mut bench| async move {
        let (disk, process) = bench.start();
        put(&disk, "/f", &[7; 1000]).await;
        let path = Path::new("/f");
        let file = disk.open(path, OpenMode::ReadWrite).await.unwrap();
        file.sync_data().await.unwrap();
        disk.sync_dir(Path::new("/")).await.unwrap();
        let disk = bench.lose_power(&process);
        let file = disk.open(path, OpenMode::Read).await.unwrap();
        let clock = SimClock::current();
        let mut took = Vec::new();
        for (at, len) in [(0, 400), (0, 400), (300, 200), (500, 900), (0, 1000)] {
            let begun = clock.now();
            file.read_at(at, len).await.unwrap();
            took.push(clock.now() - begun >= 100_000);
        }
        assert_eq!(took, [true, false, true, true, false]);
    });
}

#[test]
fn a_failed_sync_may_lose_a_cut_for_good_unless_the_length_is_changed_again() {
    let lens = |again: bool| -> BTreeSet<usize> {
        let lens = (0..40).map(|seed| {
            seeded(seed, |mut bench| async move {
                let (disk, process) = bench.start();
                put(&disk, "/f", &[7; 1000]).await;
                let path = Path::new("/f");
                let file = disk.open(path, OpenMode::ReadWrite).await.unwrap();
                file.sync_data().await.unwrap();
                disk.sync_dir(Path::new("/")).await.unwrap();
                file.truncate(400).await.unwrap();
                bench.device.set_faults(DiskFaults {
                    sync_errors: 10_000,
                    ..DiskFaults::default()
                });
                file.sync_data().await.unwrap_err();
                bench.device.set_faults(DiskFaults::default());
                if again {
                    file.truncate(401).await.unwrap();
                    file.truncate(400).await.unwrap();
                }
                file.sync_data().await.unwrap();
                let disk = bench.lose_power(&process);
                disk.read(path).await.unwrap().len()
            })
        });
        lens.collect()
    };
    assert_eq!(lens(false), BTreeSet::from([400, 1000]));
    assert_eq!(lens(true), BTreeSet::from([400]));
}

#[test]
fn unsynced_names_are_kept_or_lost_and_a_rename_is_one() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        outcomes.insert(seeded(seed, |mut bench| async move {
            let (disk, process) = bench.start();
            for (name, contents) in [("/old", &b"1"[..]), ("/gone", b"2")] {
                put(&disk, name, contents).await;
                let file = disk
                    .open(Path::new(name), OpenMode::ReadWrite)
                    .await
                    .unwrap();
                file.sync_data().await.unwrap();
            }
            disk.sync_dir(Path::new("/")).await.unwrap();
            disk.rename(Path::new("/old"), Path::new("/new"))
                .await
                .unwrap();
            disk.remove_file(Path::new("/gone")).await.unwrap();
            disk.open(Path::new("/made"), OpenMode::Create)
                .await
                .unwrap();
            let disk = bench.lose_power(&process);
            let names = disk.list(Path::new("/")).await.unwrap();
            let names: Vec<String> = names.into_iter().map(|entry| entry.name).collect();
            let has = |name: &str| names.contains(&name.to_owned());
            assert!(has("old") ^ has("new"), "seed {seed}: {names:?}");
            if has("gone") {
                assert_eq!(disk.read(Path::new("/gone")).await.unwrap(), "2");
            }
            (has("new"), has("gone"), has("made"))
        }));
    }
    assert_eq!(outcomes.len(), 8, "{outcomes:?}");
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next_one() {
    let mut lost = 0;
    for seed in 0..40 {
        lost += seeded(seed, |mut bench| async move {
            let (disk, process) = bench.start();
            let file = disk.open(Path::new("/f"), OpenMode::Create).await.unwrap();
            disk.sync_dir(Path::new("/")).await.unwrap();
            file.write_at(0, vec![Bytes::from_static(b"x")])
                .await
                .unwrap();
            bench.device.set_faults(DiskFaults {
                sync_errors: 10_000,
                ..DiskFaults::default()
            });
            file.sync_data().await.unwrap_err();
            bench.device.set_faults(DiskFaults::default());
            file.sync_data().await.unwrap();
            let disk = bench.lose_power(&process);
            u32::from(disk.read(Path::new("/f")).await.unwrap().is_empty())
        });
    }
    assert!((1..40).contains(&lost), "{lost} of 40");
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    run(|mut bench| async move {
        let (disk, _process) = bench.start();
        put(&disk, "/f", b"first").await;
        let full = DiskFaults {
            limit_bytes: Some(bench.device.used_bytes() + 3),
            ..DiskFaults::default()
        };
        bench.device.set_faults(full);
        let file = disk
            .open(Path::new("/f"), OpenMode::ReadWrite)
            .await
            .unwrap();
        let refused = file.write_at(5, vec![Bytes::from_static(b"second")]).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(file.len().await.unwrap() <= 8);
        assert!(disk.free_space(Path::new("/")).await.unwrap() <= 3);
        file.write_at(0, vec![Bytes::from_static(b"FIRST")])
            .await
            .unwrap();
        bench.device.set_faults(DiskFaults::default());
        file.write_at(5, vec![Bytes::from_static(b"second")])
            .await
            .unwrap();
        assert_eq!(disk.read(Path::new("/f")).await.unwrap(), "FIRSTsecond");
    });
}

#[test]
fn a_removed_file_stays_readable_while_open_and_gives_its_space_back_after() {
    run(|mut bench| async move {
        let (disk, _process) = bench.start();
        put(&disk, "/f", b"bytes").await;
        let file = disk.open(Path::new("/f"), OpenMode::Read).await.unwrap();
        let before = disk.free_space(Path::new("/")).await.unwrap();
        disk.remove_file(Path::new("/f")).await.unwrap();
        assert_eq!(file.read_at(0, 10).await.unwrap(), "bytes");
        assert_eq!(disk.free_space(Path::new("/")).await.unwrap(), before);
        drop(file);
        assert_eq!(disk.free_space(Path::new("/")).await.unwrap(), before + 5);
    });
}
