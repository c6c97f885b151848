//! What a loss of power left of the unsynced writes, for whoever draws a picture of it.
//!
//! It is read off the disk before and after, so that it cannot differ from what the broker finds.

use bytes::Bytes;

use super::state::{Change, DiskState, Inode, usize_of};
use crate::event::{Left, Survival};

/// The pieces that a device finishes one by one.
const SECTOR: usize = 512;

impl DiskState {
    /// Every write that no sync has covered: file, place, bytes.
    pub(super) fn unsynced_writes(&self) -> Vec<(u64, u64, Bytes)> {
        let mut writes = Vec::new();
        for (inode, contents) in &self.inodes {
            let Inode::File(file) = contents else {
                continue;
            };
            for (_, change) in &file.unsynced {
                if let Change::Write { at, bytes } = change {
                    writes.push((*inode, *at, bytes.clone()));
                }
            }
        }
        writes
    }

    /// What is there now of those writes.
    pub(super) fn survival(&self, writes: &[(u64, u64, Bytes)]) -> Vec<Survival> {
        let of = |(inode, at, bytes): &(u64, u64, Bytes)| {
            let image = match self.inodes.get(inode) {
                Some(Inode::File(file)) => &file.cached[..],
                _ => &[],
            };
            let left = left(image, usize_of(*at), bytes);
            Survival {
                inode: *inode,
                at: *at,
                left,
            }
        };
        writes.iter().map(of).collect()
    }
}

fn left(image: &[u8], at: usize, bytes: &[u8]) -> Left {
    let (mut there, mut gone) = (false, false);
    let mut from = 0;
    while from < bytes.len() {
        // Sectors are counted from the beginning of the file.
        let to = bytes.len().min(from + SECTOR - (at + from) % SECTOR);
        let found = image.get(at + from..at + to);
        match found == Some(&bytes[from..to]) {
            true => there = true,
            false => gone = true,
        }
        from = to;
    }
    match (there, gone) {
        (true, true) => Left::Some,
        (false, true) => Left::Nothing,
        _ => Left::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_there_whole_in_some_of_its_sectors_or_not() {
        let bytes = vec![7; 1_000];
        let mut image = vec![0; 300];
        image.extend(&bytes);
        assert_eq!(left(&image, 300, &bytes), Left::All);
        image.truncate(600);
        assert_eq!(left(&image, 300, &bytes), Left::Some);
        image.truncate(500);
        assert_eq!(left(&image, 300, &bytes), Left::Nothing);
        assert_eq!(left(&[], 0, &bytes), Left::Nothing);
    }
}
