//! A directory in memory, with what of it would survive a power loss.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use bytes::Bytes;

use crate::log::{Effect, Listed, Request};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Inode {
    data: Vec<u8>,
    synced: Vec<u8>,
    /// Bytes that a failed sync has left in the page cache alone, marked as clean.
    lost: BTreeSet<usize>,
}

/// The directory. Names and bytes each have a durable and a current state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
}

impl Disk {
    fn inode(&mut self, name: &str) -> &mut Inode {
        let next = self.inodes.len();
        let at = *self.names.entry(name.into()).or_insert(next);
        if at == next {
            self.inodes.push(Inode::default());
        }
        &mut self.inodes[at]
    }

    pub(super) fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Create(file) => {
                let inode = self.inode(&file.to_string());
                inode.data.clear();
                inode.lost.clear();
            }
            Effect::Write { file, at, pieces } => {
                let data = &mut self.inode(&file.to_string()).data;
                let bytes = pieces.concat();
                assert!(
                    data.len() as u64 >= *at,
                    "{file} has {} bytes, a write is to {at}",
                    data.len()
                );
                let end = *at as usize + bytes.len();
                data.resize(data.len().max(end), 0);
                data[*at as usize..end].copy_from_slice(&bytes);
                let lost = &mut self.inode(&file.to_string()).lost;
                lost.retain(|byte| !(*at as usize..end).contains(byte));
            }
            Effect::Sync(file) => {
                if let Some(&at) = self.names.get(&file.to_string()) {
                    let inode = &mut self.inodes[at];
                    inode.synced = inode.data.clone();
                    let len = inode.synced.len();
                    for byte in inode.lost.range(..len) {
                        inode.synced[*byte] = 0;
                    }
                }
            }
            Effect::SyncDir => self.durable = self.names.clone(),
            Effect::Truncate { file, len } | Effect::Recut { file, len } => {
                if let Some(&at) = self.names.get(&file.to_string()) {
                    self.inodes[at].data.truncate(*len as usize);
                }
            }
            Effect::Replace { file, contents } => {
                let name = file.to_string();
                self.inodes.push(Inode {
                    data: contents.to_vec(),
                    synced: contents.to_vec(),
                    lost: BTreeSet::new(),
                });
                self.names.insert(name.clone(), self.inodes.len() - 1);
                self.durable.insert(name, self.inodes.len() - 1);
            }
            Effect::Delete(files) => files
                .iter()
                .for_each(|file| _ = self.names.remove(&file.to_string())),
            Effect::Remove(names) => names.iter().for_each(|name| _ = self.names.remove(name)),
            Effect::Unmark { file, mark } => {
                if let Some(inode) = self.names.remove(&file.marked(*mark)) {
                    self.names.insert(file.to_string(), inode);
                }
            }
        }
    }

    /// Syncs of everything fail: what was not durable is taken for clean, and no later sync writes it.
    pub(super) fn fail_syncs(&mut self) {
        for inode in &mut self.inodes {
            inode.lost.extend(inode.synced.len()..inode.data.len());
        }
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let listed = |(name, at): (&String, &usize)| Listed {
            name: name.clone(),
            len: self.inodes[*at].data.len() as u64,
        };
        self.names.iter().map(listed).collect()
    }

    pub(super) fn bytes(&self, name: &str) -> &[u8] {
        self.names
            .get(name)
            .map_or(&[], |&at| &self.inodes[at].data)
    }

    pub(super) fn bytes_mut(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.inode(name).data
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }

    pub(super) fn read(&self, request: &Request) -> Bytes {
        let name = request.mark.map_or_else(
            || request.file.to_string(),
            |mark| request.file.marked(mark),
        );
        let data = self.bytes(&name);
        let from = (request.at as usize).min(data.len());
        Bytes::copy_from_slice(&data[from..data.len().min(from + request.len)])
    }

    /// All power is lost: what was not synced is lost or torn as `chance` (a number below its argument)
    /// has it, each name and each file by itself.
    pub(super) fn lose_power(&mut self, mut chance: impl FnMut(usize) -> usize) {
        let mut names: Vec<_> = self
            .names
            .keys()
            .chain(self.durable.keys())
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            if chance(2) == 0 {
                match self.durable.get(&name) {
                    Some(&inode) => _ = self.names.insert(name, inode),
                    None => _ = self.names.remove(&name),
                }
            }
        }
        for inode in &mut self.inodes {
            let Inode { data, synced, .. } = inode;
            if data == synced {
                continue;
            }
            let common = data
                .iter()
                .zip(synced.iter())
                .take_while(|(a, b)| a == b)
                .count();
            let kept = common + chance(data.len() - common + 1);
            *data = match chance(4) {
                0 => synced.clone(),
                1 => data.clone(),
                // The length made it, not all of the bytes.
                2 => [&data[..kept], &vec![0; data.len() - kept]].concat(),
                _ if kept >= synced.len() => data[..kept].to_vec(),
                _ => [&data[..kept], &synced[kept..]].concat(),
            };
            synced.clone_from(data);
        }
        self.durable = self.names.clone();
    }
}
