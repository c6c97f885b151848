//! What a disk holds: files in two images, the unsynced operations between them, and its faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Result},
    time::Duration,
};

use bytes::Bytes;

use super::{Cost, DiskFaults, damage::Misdirection, names::NameChange, of_kind};
use crate::random::SimRandom;

/// The root directory.
pub(super) const ROOT: u64 = 1;

pub(super) struct DiskState {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) unsynced_names: Vec<(u64, NameChange)>,
    pub(super) faults: DiskFaults,
    pub(super) random: SimRandom,
    /// Inodes without a name and without a process that has them open.
    pub(super) unused: BTreeSet<u64>,
    pub(super) locks: BTreeSet<u64>,
    pub(super) used: u64,
    next_inode: u64,
    next_operation: u64,
    capacity: u64,
    /// The next write to one of these files goes astray.
    pub(super) misdirection: Option<Misdirection>,
}

pub(super) enum Inode {
    File(FileImages),
    Directory(DirectoryImages),
}

#[derive(Default)]
pub(super) struct FileImages {
    /// What the page cache shows.
    pub(super) cached: Vec<u8>,
    /// What is on the device for certain.
    pub(super) durable: Vec<u8>,
    /// What may be on the device, in order.
    pub(super) unsynced: Vec<(u64, Change)>,
    pub(super) opens: u32,
    pub(super) named: bool,
    /// The page cache knows nothing from here on: the file was not read there since the power came.
    pub(super) cold_from: Option<u64>,
}

#[derive(Default)]
pub(super) struct DirectoryImages {
    pub(super) cached: BTreeMap<String, u64>,
    pub(super) durable: BTreeMap<String, u64>,
}

/// An unsynced change of a file.
pub(super) enum Change {
    Write { at: u64, bytes: Bytes },
    Truncate { len: u64 },
}

impl Change {
    pub(super) fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(image, *at, bytes),
            Self::Truncate { len } => image.resize(usize_of(*len), 0),
        }
    }
}

/// Writes `bytes` at `at`; a gap before it reads as zeros.
pub(super) fn put(image: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let start = usize_of(at);
    let end = start + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(bytes);
}

pub(super) fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl DiskState {
    pub(super) fn new(capacity: u64, random: SimRandom) -> Self {
        let root = Inode::Directory(DirectoryImages::default());
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            unsynced_names: Vec::new(),
            faults: DiskFaults::default(),
            random,
            unused: BTreeSet::new(),
            locks: BTreeSet::new(),
            used: 0,
            next_inode: ROOT + 1,
            next_operation: 0,
            capacity,
            misdirection: None,
        }
    }

    /// The disk's own size, whatever it is limited to.
    pub(super) fn total(&self) -> u64 {
        self.capacity
    }

    pub(super) fn free(&self) -> u64 {
        let limit = self.faults.limit_bytes.unwrap_or(self.capacity);
        limit.min(self.capacity).saturating_sub(self.used)
    }

    /// Operations from here on are not covered by a sync that begins now.
    pub(super) fn mark(&self) -> u64 {
        self.next_operation
    }

    pub(super) fn operation(&mut self) -> u64 {
        self.next_operation += 1;
        self.next_operation - 1
    }

    pub(super) fn add_inode(&mut self, inode: Inode) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        number
    }

    pub(super) fn file(&mut self, inode: u64) -> Option<&mut FileImages> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn draw_delay(&mut self, cost: Cost) -> Duration {
        let random = &mut self.random;
        let delay = match cost {
            Cost::Memory if random.chance(2, 3) => Duration::ZERO,
            Cost::Memory => random.micros(2..=40),
            // Now and then a device is busy with something of its own.
            Cost::Device if random.chance(1, 50) => random.micros(5_000..=40_000),
            Cost::Device => random.micros(100..=1_500),
        };
        delay * self.faults.slow.max(1)
    }

    /// Whether an operation waits for a device that has stalled: all that goes to it, and reads that
    /// the page cache cannot answer.
    pub(super) fn draw_stalled(&mut self, operation: &'static str, cost: Cost) -> bool {
        self.faults.stalled
            && match cost {
                Cost::Device => true,
                Cost::Memory => matches!(operation, "read" | "open") && self.random.chance(1, 4),
            }
    }

    pub(super) fn draw_effect_first(&mut self) -> bool {
        self.random.chance(1, 2)
    }

    pub(super) fn draw_failure(&mut self, operation: &'static str) -> bool {
        let rate = match operation {
            "read" | "map" => self.faults.read_errors,
            "write" | "truncate" => self.faults.write_errors,
            "sync" | "sync_dir" => self.faults.sync_errors,
            _ => 0,
        };
        rate > 0 && self.random.chance(u64::from(rate), 10_000)
    }

    pub(super) fn len(&mut self, inode: u64) -> u64 {
        self.file(inode).map_or(0, |file| file.cached.len() as u64)
    }

    /// What a read up to `end` costs: after a loss of power, each byte comes from the device once.
    pub(super) fn read_cost(&mut self, inode: u64, end: u64) -> Cost {
        let Some(file) = self.file(inode) else {
            return Cost::Memory;
        };
        let end = end.min(file.cached.len() as u64);
        match &mut file.cold_from {
            Some(from) if end > *from => {
                *from = end;
                Cost::Device
            }
            _ => Cost::Memory,
        }
    }

    pub(super) fn read(&mut self, inode: u64, at: u64, len: usize) -> Bytes {
        let Some(file) = self.file(inode) else {
            return Bytes::new();
        };
        let start = usize_of(at).min(file.cached.len());
        let end = start.saturating_add(len).min(file.cached.len());
        Bytes::copy_from_slice(&file.cached[start..end])
    }

    /// How much was written, and what came of it: a full disk may take a part.
    pub(super) fn write(&mut self, inode: u64, at: u64, bytes: Bytes) -> (usize, Result<()>) {
        let growth = (at + bytes.len() as u64).saturating_sub(self.len(inode));
        let free = self.free();
        let mut bytes = bytes;
        let mut result = Ok(());
        if !bytes.is_empty() && growth > free {
            // What fits may or may not have been written before the disk was found full.
            let fits = (bytes.len() as u64).saturating_sub(growth - free);
            let taken = self.random.within(0..=fits);
            bytes.truncate(usize_of(taken));
            result = of_kind(ErrorKind::StorageFull);
        }
        let written = bytes.len();
        if written > 0 && !self.misdirect(inode, at, &bytes) {
            self.change(inode, Change::Write { at, bytes });
        }
        (written, result)
    }

    /// A write of which some was done before the device failed.
    pub(super) fn fail_write(
        &mut self,
        inode: u64,
        at: u64,
        mut bytes: Bytes,
    ) -> (usize, Result<()>) {
        let taken = match self.random.chance(1, 2) {
            true => self.random.within(0..=bytes.len() as u64),
            false => 0,
        };
        bytes.truncate(usize_of(taken));
        let (written, _) = self.write(inode, at, bytes);
        (written, Err(std::io::Error::from_raw_os_error(5)))
    }

    /// A file that grows gets a hole, which takes no space until something is written into it.
    pub(super) fn truncate(&mut self, inode: u64, len: u64) {
        self.change(inode, Change::Truncate { len });
    }

    pub(super) fn change(&mut self, inode: u64, change: Change) {
        let operation = self.operation();
        let before = self.len(inode);
        if let Some(file) = self.file(inode) {
            change.apply(&mut file.cached);
            file.unsynced.push((operation, change));
        }
        self.used = (self.used + self.len(inode)).saturating_sub(before);
    }

    /// Makes the changes before `mark` durable; gives the durable length.
    pub(super) fn sync(&mut self, inode: u64, mark: u64) -> u64 {
        let Some(file) = self.file(inode) else {
            return 0;
        };
        let covered = file
            .unsynced
            .partition_point(|(operation, _)| *operation < mark);
        for (_, change) in file.unsynced.drain(..covered) {
            change.apply(&mut file.durable);
        }
        file.durable.len() as u64
    }

    /// A sync failed: the kernel takes the pages for clean, so no later sync writes them; some of
    /// them have reached the device. (What PostgreSQL met in 2018 as "fsyncgate".)
    pub(super) fn fail_sync(&mut self, inode: u64, mark: u64) {
        let mut random = self.random.clone();
        if let Some(file) = self.file(inode) {
            let covered = file
                .unsynced
                .partition_point(|(operation, _)| *operation < mark);
            for (_, change) in file.unsynced.drain(..covered) {
                if random.chance(1, 2) {
                    change.apply(&mut file.durable);
                }
            }
        }
        self.random = random;
    }

    pub(super) fn close(&mut self, inode: u64) {
        if let Some(file) = self.file(inode) {
            file.opens = file.opens.saturating_sub(1);
        }
        self.release_if_unused(inode);
    }

    /// Gives back the space of a file that nobody can reach any more. Its durable image stays for as
    /// long as a power loss could bring its name back.
    pub(super) fn release_if_unused(&mut self, inode: u64) {
        if let Some(file) = self.file(inode)
            && !file.named
            && file.opens == 0
        {
            let len = file.cached.len() as u64;
            file.cached = Vec::new();
            self.used = self.used.saturating_sub(len);
            self.unused.insert(inode);
        }
    }

    pub(super) fn process_ended(&mut self) {
        self.locks.clear();
        let opened: Vec<u64> = self
            .inodes
            .iter_mut()
            .filter_map(|(number, inode)| match inode {
                Inode::File(file) if file.opens > 0 => {
                    file.opens = 0;
                    Some(*number)
                }
                _ => None,
            })
            .collect();
        for inode in opened {
            self.release_if_unused(inode);
        }
    }

    /// Forgets the files that no power loss could bring back.
    pub(super) fn forget_unused(&mut self) {
        if self.unused.is_empty() {
            return;
        }
        let mut reachable: BTreeSet<u64> = self
            .unsynced_names
            .iter()
            .flat_map(|(_, change)| change.inode())
            .collect();
        for inode in self.inodes.values() {
            if let Inode::Directory(directory) = inode {
                reachable.extend(directory.durable.values());
            }
        }
        let forgotten: Vec<u64> = self.unused.difference(&reachable).copied().collect();
        for inode in forgotten {
            self.unused.remove(&inode);
            self.inodes.remove(&inode);
        }
    }
}
