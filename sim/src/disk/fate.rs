//! What a power loss leaves of what was not synced.
//!
//! The kernel writes dirty pages back when it likes, a device reorders what it is given and finishes
//! sectors of 512 bytes one by one, and a file's length is metadata of its own. So each unsynced
//! operation is kept, lost or torn by itself, within a mood that the power loss has as a whole:
//! uniformly random fates would hardly ever lose all, keep all, or keep a prefix, and those are the
//! cases in which recovery is wrong most often.

use std::collections::BTreeMap;

use super::state::{Change, DiskState, FileImages, Inode, ROOT, put, usize_of};
use crate::random::SimRandom;

const SECTOR: u64 = 512;

/// How many unsynced operations a power loss kept, lost and tore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// They had reached the device.
    pub kept: u32,
    /// They had not.
    pub lost: u32,
    /// Some of their sectors had.
    pub torn: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Nothing was written back.
    AllLost,
    /// Everything was, just in time.
    AllKept,
    /// Each file was written back in order, up to a point.
    Prefix,
    /// Anything.
    Mixed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

impl DiskState {
    /// Makes one of the possible durable images the only one.
    pub(super) fn power_lost(&mut self) -> Losses {
        let mut random = self.random.clone();
        let mood = match random.within(0..=9) {
            0 | 1 => Mood::AllLost,
            2 => Mood::AllKept,
            3..=5 => Mood::Prefix,
            _ => Mood::Mixed,
        };
        let mut losses = Losses::default();
        for inode in self.inodes.values_mut() {
            if let Inode::File(file) = inode {
                settle_file(file, mood, &mut random, &mut losses);
            }
        }
        let names = std::mem::take(&mut self.unsynced_names);
        let fates = fates(names.len(), mood, &mut random);
        for ((_, change), fate) in names.iter().zip(fates) {
            // A name is one record of a journal: it is never torn.
            if fate == Fate::Kept || (fate == Fate::Torn && random.chance(1, 2)) {
                losses.kept += 1;
                self.apply_durable(change);
            } else {
                losses.lost += 1;
            }
        }
        self.random = random;
        self.remount();
        losses
    }

    /// Reads the disk as a node does that starts on it: the durable image is all there is.
    fn remount(&mut self) {
        let mut found = BTreeMap::new();
        let mut left = vec![ROOT];
        self.used = 0;
        while let Some(number) = left.pop() {
            // Two names of one file can come of a rename whose first half is older than it looks;
            // both show the file.
            let Some(mut inode) = self.inodes.remove(&number) else {
                continue;
            };
            match &mut inode {
                Inode::File(file) => {
                    file.cached = file.durable.clone();
                    file.cold_from = Some(0);
                    file.named = true;
                    file.opens = 0;
                    self.used += file.cached.len() as u64;
                }
                Inode::Directory(directory) => {
                    directory.cached = directory.durable.clone();
                    left.extend(directory.durable.values());
                }
            }
            found.insert(number, inode);
        }
        self.inodes = found;
        for inode in self.inodes.values_mut() {
            inode.forget_names_of_the_lost();
        }
        self.unused.clear();
        self.locks.clear();
    }
}

impl Inode {
    fn forget_names_of_the_lost(&mut self) {
        if let Self::Directory(directory) = self {
            directory.durable = directory.cached.clone();
        }
    }
}

fn fates(count: usize, mood: Mood, random: &mut SimRandom) -> Vec<Fate> {
    let end = random.index(count + 1);
    (0..count)
        .map(|index| match mood {
            Mood::AllLost => Fate::Lost,
            Mood::AllKept => Fate::Kept,
            Mood::Prefix if index < end => Fate::Kept,
            Mood::Prefix if index == end => Fate::Torn,
            Mood::Prefix => Fate::Lost,
            Mood::Mixed => {
                random.pick(&[Fate::Kept, Fate::Kept, Fate::Lost, Fate::Lost, Fate::Torn])
            }
        })
        .collect()
}

fn settle_file(file: &mut FileImages, mood: Mood, random: &mut SimRandom, losses: &mut Losses) {
    if file.unsynced.is_empty() {
        return;
    }
    let unsynced = std::mem::take(&mut file.unsynced);
    let mut lengths = vec![file.durable.len() as u64];
    let fates = fates(unsynced.len(), mood, random);
    for ((_, change), fate) in unsynced.iter().zip(fates) {
        let before = lengths[lengths.len() - 1];
        lengths.push(match change {
            Change::Write { at, bytes } => before.max(at + bytes.len() as u64),
            Change::Truncate { len } => *len,
        });
        match (fate, change) {
            (Fate::Kept | Fate::Torn, Change::Write { at, bytes })
                if (fate == Fate::Torn || mood == Mood::Mixed)
                    && splits_its_head(*at, bytes)
                    && random.chance(3, 4) =>
            {
                losses.torn += 1;
                keep_sectors(&mut file.durable, *at, bytes, |index| index > 0);
            }
            (Fate::Kept, _) => {
                losses.kept += 1;
                change.apply(&mut file.durable);
            }
            (Fate::Torn, Change::Write { at, bytes }) => {
                losses.torn += 1;
                tear(&mut file.durable, *at, bytes, random);
            }
            (Fate::Torn | Fate::Lost, _) => losses.lost += 1,
        }
    }
    // The length is written apart from the bytes: it may be any that the file has had, the lost
    // bytes within it reading as zeros.
    if mood == Mood::Mixed && random.chance(1, 3) {
        let len = lengths[random.index(lengths.len())];
        file.durable.resize(usize_of(len), 0);
    }
}

/// Whether a sector ends within the first bytes of a write, where formats keep what no checksum covers:
/// rare as writes go, and the one place where a piece that is lost may pass for another value.
fn splits_its_head(at: u64, bytes: &[u8]) -> bool {
    const HEAD: u64 = 24;
    let first = SECTOR - at % SECTOR;
    first < HEAD && first < bytes.len() as u64
}

/// Keeps some sectors of a write: a run at its beginning, all but the first, or any.
fn tear(image: &mut Vec<u8>, at: u64, bytes: &[u8], random: &mut SimRandom) {
    let count = (at + bytes.len() as u64 - 1) / SECTOR - at / SECTOR + 1;
    let run = random.chance(1, 2).then(|| random.within(0..=count));
    let all_but_first = run.is_none() && random.chance(1, 2);
    keep_sectors(image, at, bytes, |index| match run {
        Some(run) => index < run,
        None if all_but_first => index > 0,
        None => random.chance(1, 2),
    });
}

/// Writes those sectors of a write that are kept, numbered from the first that it touches.
fn keep_sectors(image: &mut Vec<u8>, at: u64, bytes: &[u8], mut is_kept: impl FnMut(u64) -> bool) {
    let end = at + bytes.len() as u64;
    let sectors = (at / SECTOR)..=((end - 1) / SECTOR);
    for (index, sector) in (0..).zip(sectors) {
        if is_kept(index) {
            let from = (sector * SECTOR).max(at);
            let to = ((sector + 1) * SECTOR).min(end);
            put(image, from, &bytes[usize_of(from - at)..usize_of(to - at)]);
        }
    }
}
