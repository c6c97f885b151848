//! Damage to what is durable: bits that rot at rest, writes that go astray, a disk that is replaced.
//!
//! Nothing of this can be asked of a broker that has one copy only to survive; what can be asked is
//! that it does not pass damage off as data.

use super::state::{Change, DirectoryImages, DiskState, FileImages, Inode, ROOT, put, usize_of};

const SECTOR: usize = 512;

/// A write that is to go astray.
#[derive(Clone, Debug)]
pub(super) struct Misdirection {
    files: String,
}

impl Misdirection {
    pub(super) fn new(files: &str) -> Self {
        Self {
            files: files.to_owned(),
        }
    }
}

impl FileImages {
    /// How many bytes from the start no unsynced change touches.
    fn at_rest(&self) -> usize {
        let touched = self.unsynced.iter().map(|(_, change)| match change {
            Change::Write { at, .. } => usize_of(*at),
            Change::Truncate { len } => usize_of(*len),
        });
        let untouched = touched.min().unwrap_or(usize::MAX);
        self.durable.len().min(self.cached.len()).min(untouched)
    }
}

impl DiskState {
    /// The files whose durable path contains `wanted`, in the order of their paths.
    fn durable_files(&self, wanted: &str) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        let mut left = vec![(String::new(), ROOT)];
        while let Some((path, number)) = left.pop() {
            match self.inodes.get(&number) {
                Some(Inode::Directory(directory)) => {
                    let children = directory.durable.iter().rev();
                    left.extend(children.map(|(name, child)| (format!("{path}/{name}"), *child)));
                }
                Some(Inode::File(file)) if file.named && path.contains(wanted) => {
                    files.push((path, number));
                }
                _ => {}
            }
        }
        files
    }

    pub(super) fn rot(&mut self, wanted: &str, bits: u32) -> Vec<(String, u64)> {
        let mut flipped = Vec::new();
        for _ in 0..bits {
            let files = self.durable_files(wanted);
            let sizes: Vec<u64> = files
                .iter()
                .map(|(_, inode)| self.file(*inode).map_or(0, |file| file.at_rest() as u64))
                .collect();
            let total: u64 = sizes.iter().sum();
            if total == 0 {
                break;
            }
            let mut at = self.random.within(0..=total - 1);
            let bit = self.random.within(0..=7);
            for ((path, inode), size) in files.into_iter().zip(sizes) {
                if at >= size {
                    at -= size;
                    continue;
                }
                if let Some(file) = self.file(inode) {
                    file.durable[usize_of(at)] ^= 1 << bit;
                    file.cached[usize_of(at)] ^= 1 << bit;
                }
                flipped.push((path, at * 8 + bit));
                break;
            }
        }
        flipped
    }

    /// Takes a write to another place, if one is to go astray and there is something that it can hit.
    pub(super) fn misdirect(&mut self, inode: u64, at: u64, bytes: &[u8]) -> bool {
        let Some(misdirection) = self.misdirection.clone() else {
            return false;
        };
        let files = self.durable_files(&misdirection.files);
        if !files.iter().any(|(_, number)| *number == inode) {
            return false;
        }
        let mut places = Vec::new();
        for (_, victim) in files {
            if let Some(file) = self.file(victim)
                && file.at_rest() >= bytes.len()
            {
                places.push((victim, (file.at_rest() - bytes.len()) / SECTOR));
            }
        }
        if places.is_empty() {
            return false;
        }
        let (victim, last) = places[self.random.index(places.len())];
        let sector = usize_of(self.random.within(0..=last as u64));
        if let Some(file) = self.file(victim) {
            let there = (sector * SECTOR) as u64;
            put(&mut file.durable, there, bytes);
            put(&mut file.cached, there, bytes);
        }
        // The page cache shows what was meant; the device never gets it there.
        let before = self.len(inode);
        if let Some(file) = self.file(inode) {
            put(&mut file.cached, at, bytes);
        }
        self.used = (self.used + self.len(inode)).saturating_sub(before);
        self.misdirection = None;
        true
    }

    pub(super) fn wipe(&mut self) {
        self.inodes.clear();
        self.inodes
            .insert(ROOT, Inode::Directory(DirectoryImages::default()));
        self.unsynced_names.clear();
        self.unused.clear();
        self.locks.clear();
        self.used = 0;
    }
}
