//! What disks do: writes, syncs and cuts of logs in the lanes of their partitions, all else in the
//! lane of the node.

use std::sync::Arc;

use super::{
    super::{Kind, Meaning, files::segment},
    Told, Trace,
};
use crate::event::{Aside, Event, What};

/// Whether a path names nothing any more after an operation.
fn takes_away(operation: &str) -> bool {
    ["remove_file", "remove_dir_all", "rename from"].contains(&operation)
}

impl Trace<'_> {
    pub(super) fn disk(&mut self, index: usize, event: &Event, beside: Option<&Aside>) {
        let node = event.node;
        match &event.what {
            What::DiskWrite { inode, at, len, .. } => {
                if let Some((partition, name)) = self.files.place(node, *inode) {
                    self.log_write(index, event, &partition, (&name, *at, *len), beside);
                    return;
                }
            }
            What::DiskSync { inode, len } => {
                if let Some((partition, name)) = self.files.place(node, *inode) {
                    let text = format!("{partition}: {name} synced to byte {len}");
                    let synced = self.files.synced(node, *inode, *len);
                    let text = match self.offsets(&synced) {
                        Some(offsets) => format!("{text}, {offsets} now durable"),
                        None => text,
                    };
                    let told = Told::new(Kind::Synced, text);
                    let mark = self.on_replica(index, event, &partition, told);
                    self.batch_steps(&synced, mark, Meaning::Synced);
                    return;
                }
            }
            What::DiskTruncate { inode, len } => {
                if let Some((partition, name)) = self.files.place(node, *inode) {
                    let text = format!("{partition}: {name} cut to byte {len}");
                    let cut = self.files.truncated(node, *inode, *len);
                    self.cut(index, event, &partition, text, (&cut, Meaning::Cut));
                    return;
                }
            }
            What::DiskName { operation, path } if takes_away(operation) => {
                self.removed(index, event, operation, path);
                return;
            }
            What::DiskRead { .. } if !self.all => return,
            _ => {}
        }
        let kind = match &event.what {
            // A file that is not there is looked for, and found not to be: nothing failed.
            What::DiskError { error, .. } if !error.contains("not found") => Kind::DiskError,
            _ => Kind::Disk,
        };
        self.on_node(index, event, Told::new(kind, event.what.to_string()));
    }

    fn log_write(
        &mut self,
        index: usize,
        event: &Event,
        partition: &Arc<str>,
        (name, at, len): (&str, u64, u64),
        beside: Option<&Aside>,
    ) {
        let batches = match beside {
            Some(Aside::Written { inode, at, bytes }) => {
                self.files.written(event.node, *inode, *at, bytes)
            }
            _ => Vec::new(),
        };
        let what = self.offsets(&batches);
        let what = what.unwrap_or_else(|| "no whole batch".to_owned());
        let text = format!("{partition}: {what} written to {name} at byte {at} ({len} bytes)");
        let told = Told::new(Kind::Written, text);
        let mark = self.on_replica(index, event, partition, told);
        self.batch_steps(&batches, mark, Meaning::Written);
        for number in batches {
            let batch = self.files.batch(number);
            for (offset, record) in &batch.records {
                self.lives.is_at(partition, *offset, *record);
            }
            let epoch = batch.epoch;
            self.wrote_with(event.at, event.node, partition, epoch);
        }
    }

    fn removed(&mut self, index: usize, event: &Event, operation: &str, path: &str) {
        let removed = self.files.removed(event.node, path);
        let Some(first) = removed.first() else {
            self.on_node(index, event, Told::new(Kind::Disk, event.what.to_string()));
            return;
        };
        let partition = Arc::clone(&self.files.batch(*first).partition);
        let how = match operation {
            "rename from" => "set aside",
            _ => "removed",
        };
        let name = segment(path);
        let text = format!("{partition}: {name} {how}");
        self.cut(index, event, &partition, text, (&removed, Meaning::Removed));
    }

    fn cut(
        &mut self,
        index: usize,
        event: &Event,
        partition: &Arc<str>,
        text: String,
        (gone, meaning): (&[usize], Meaning),
    ) {
        let (kind, text) = match self.offsets(gone) {
            Some(offsets) => (Kind::Cut, format!("{text}: {offsets} gone")),
            None => (Kind::Disk, text),
        };
        let mark = self.on_replica(index, event, partition, Told::new(kind, text));
        self.batch_steps(gone, mark, meaning);
    }

    /// A mark in the lane of a partition on the event's node.
    fn on_replica(
        &mut self,
        index: usize,
        event: &Event,
        partition: &Arc<str>,
        told: Told,
    ) -> usize {
        let lane = self.replica_lane(partition, event.node);
        self.mark(index, event, vec![lane], told)
    }

    /// The offsets of some batches in words; `None` for no batch.
    fn offsets(&self, batches: &[usize]) -> Option<String> {
        let all = || batches.iter().map(|number| self.files.batch(*number));
        let first = all().map(|batch| batch.base).min()?;
        let last = all().map(|batch| batch.last).max()?;
        Some(match first == last {
            true => format!("offset {first}"),
            false => format!("offsets {first} to {last}"),
        })
    }
}
