//! The files of a directory as recovery found them, and the leftovers among them.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::ToString,
    vec::Vec,
};

use bytes::Bytes;

use super::Listed;
use crate::log::{
    Effect, FileName, Mark,
    read::Damaged,
    scan::{Request, Scan, Scanned},
};

/// The files of a directory.
#[derive(Debug)]
pub(super) struct Directory {
    files: BTreeMap<FileName, u64>,
    swaps: BTreeMap<FileName, u64>,
    leftovers: Vec<(FileName, Mark)>,
    replaced: Vec<FileName>,
    /// The log's end, once it is known.
    pub(super) log_end: Option<i64>,
}

impl Directory {
    pub(super) fn new(listed: Vec<Listed>) -> Self {
        let (mut files, mut swaps, mut leftovers) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for Listed { name, len } in listed {
            match FileName::parse(&name) {
                Some((file, None)) => _ = files.insert(file, len),
                Some((file, Some(Mark::Swap))) => _ = swaps.insert(file, len),
                Some((file, Some(mark))) => leftovers.push((file, mark)),
                // Not a log's: another component's, or Kafka's for a feature we do not have.
                None => {}
            }
        }
        // A cleaning that split a segment was cut short: its swap files are not complete (KAFKA-6264).
        let cleaned = leftovers.iter().filter(|(_, mark)| *mark == Mark::Cleaned);
        if let Some(first) = cleaned.filter_map(|(file, _)| file.base_offset()).min() {
            let incomplete = |file: &FileName| file.base_offset().is_some_and(|base| base >= first);
            leftovers.extend(
                swaps
                    .keys()
                    .copied()
                    .filter(incomplete)
                    .map(|file| (file, Mark::Swap)),
            );
            swaps.retain(|file, _| !incomplete(file));
        }
        Self {
            files,
            swaps,
            leftovers,
            replaced: Vec::new(),
            log_end: None,
        }
    }

    pub(super) fn len(&self, file: FileName) -> Option<u64> {
        self.files.get(&file).copied()
    }

    /// Base offsets of the log files, rising.
    pub(super) fn logs(&self) -> impl Iterator<Item = i64> + '_ {
        self.files.keys().filter_map(|file| {
            if let FileName::Log(base) = file {
                Some(*base)
            } else {
                None
            }
        })
    }

    pub(super) fn has_indexes(&self, base: i64) -> bool {
        self.files.contains_key(&FileName::OffsetIndex(base))
            && self.files.contains_key(&FileName::TimeIndex(base))
    }

    pub(super) fn snapshots(&self) -> BTreeSet<i64> {
        let offset = |file: &FileName| {
            if let FileName::ProducerSnapshot(offset) = file {
                Some(*offset)
            } else {
                None
            }
        };
        self.files.keys().filter_map(offset).collect()
    }

    /// The newest snapshot at or below an offset.
    pub(super) fn newest_snapshot(&self, below: i64) -> Option<(i64, u64)> {
        let offset = self.snapshots().range(..=below).next_back().copied()?;
        Some((offset, self.len(FileName::ProducerSnapshot(offset))?))
    }

    pub(super) fn remove(&mut self, file: FileName, out: &mut Vec<Effect>) {
        self.files.remove(&file);
        out.push(Effect::Remove(alloc::vec![file.to_string()]));
    }

    /// A scan of all `.swap` logs, which gives the offsets they span.
    pub(super) fn swap_scan(&self) -> SwapScan {
        let logs = self.swaps.iter().filter_map(|(file, len)| match file {
            FileName::Log(base) => Some((*base, *len)),
            _ => None,
        });
        SwapScan {
            logs: logs.collect(),
            at: 0,
            scan: None,
            end: i64::MIN,
        }
    }

    /// The segments of these offsets were replaced by the `.swap` files.
    pub(super) fn replace_span(&mut self, (from, upto): (i64, i64)) {
        let is_segment = |file: &FileName| !matches!(file, FileName::ProducerSnapshot(_));
        let inside = |file: &FileName| {
            file.base_offset()
                .is_some_and(|base| (from..upto).contains(&base))
        };
        self.replaced.extend(
            self.files
                .keys()
                .copied()
                .filter(|file| is_segment(file) && inside(file)),
        );
        self.files
            .retain(|file, _| !(is_segment(file) && inside(file)));
    }

    /// Puts `.swap` files in place, removes leftovers and indexes without a log.
    pub(super) fn finish(&mut self, out: &mut Vec<Effect>) {
        let first = out.len();
        let mut gone: Vec<_> = self
            .leftovers
            .drain(..)
            .map(|(file, mark)| file.marked(mark))
            .collect();
        gone.extend(self.replaced.drain(..).map(|file| file.to_string()));
        for (file, len) in core::mem::take(&mut self.swaps) {
            self.files.insert(file, len);
            out.push(Effect::Unmark {
                file,
                mark: Mark::Swap,
            });
            gone.retain(|name| *name != file.to_string());
        }
        let logs: BTreeSet<i64> = self.logs().collect();
        let orphan = |file: &FileName| match file {
            FileName::OffsetIndex(base) | FileName::TimeIndex(base) | FileName::TxnIndex(base) => {
                !logs.contains(base)
            }
            _ => false,
        };
        gone.extend(
            self.files
                .keys()
                .filter(|file| orphan(file))
                .map(ToString::to_string),
        );
        self.files.retain(|file, _| !orphan(file));
        if !gone.is_empty() {
            out.insert(first, Effect::Remove(gone));
        }
        if out.len() > first {
            out.push(Effect::SyncDir);
        }
    }
}

/// Reads all `.swap` logs to find where they end.
#[derive(Debug)]
pub(super) struct SwapScan {
    logs: Vec<(i64, u64)>,
    at: usize,
    scan: Option<Scan>,
    end: i64,
}

impl SwapScan {
    /// Goes on; asks for bytes, or is finished.
    pub(super) fn step(&mut self, read: Option<Bytes>) -> Result<Option<Request>, Damaged> {
        if let (Some(bytes), Some(scan)) = (read, &mut self.scan) {
            scan.supply(bytes);
        }
        while let Some(&(base, len)) = self.logs.get(self.at) {
            let scan = self
                .scan
                .get_or_insert_with(|| Scan::new(base, Some(Mark::Swap), 0, len, base));
            match scan.next() {
                Scanned::Need(request) => return Ok(Some(request)),
                Scanned::Batch { .. } => {}
                Scanned::End => {
                    self.end = self.end.max(scan.next_offset);
                    self.scan = None;
                    self.at += 1;
                }
                // A swap file was complete and synced before it got its name.
                Scanned::Damaged { position, reason } => {
                    return Err(Damaged {
                        segment: base,
                        position,
                        reason,
                    });
                }
            }
        }
        Ok(None)
    }

    /// The offsets that the `.swap` files replace.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        let (first, _) = self.logs.first()?;
        Some((*first, self.end.max(*first)))
    }
}
