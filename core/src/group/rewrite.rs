//! Keeping the log bounded.
//!
//! Every commit adds a record, so the log of a busy group outgrows what it says without end. Kafka
//! compacts the topic in the background. Here the shard, which holds the whole live state anyway,
//! writes that state again when the log has grown to several times its size
//! ([`GROUP_LOG_REWRITE_RATIO`]), and then lets the log start there ([`Output::AdvanceLogStart`]):
//! the segments before it go as any do that lie before the log's start.
//!
//! Why this is safe at every moment. The live state is taken when no append is in flight, so every
//! record before the rewrite is either part of it or failed; appends that come meanwhile wait in
//! `held`, for one append's time, and follow the rewrite in the log. The records of the rewrite are
//! ordinary ones, each the newest of its key, so a log that ends in the middle of them replays to
//! the same state. Only when the last is durable does the log's start move to the first; if the
//! broker dies before that is recorded, the log is merely longer. A failed append gives the rewrite
//! up, and nothing is cut.
//!
//! Records of kinds that the shard does not know (groups of other protocols, written by a broker of
//! Kafka's) are kept, the newest of each key, and written again as they are. Offsets of transactions
//! that are open would be lost: while there are any the log stays whole, and grows, as Kafka's cleaner
//! stops there too.
//!
//! The memory is that of the live state once more, for the time of the rewrite.

use alloc::vec::Vec;

use ottla_wire::EncodeError;

use super::{
    Output, Record,
    records::{group_record, offset_record},
    shard::GroupShard,
    writes::{Then, Write},
};
use crate::{
    limits::{GROUP_LOG_REWRITE_BYTES_MIN, GROUP_LOG_REWRITE_RATIO},
    time::Now,
};

/// Where the rewriting of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewrite {
    /// Not wanted.
    Idle,
    /// Wanted, once nothing is in flight.
    Waiting,
    /// On its way; the offset of its first record, once that is known.
    Running(Option<i64>),
}

/// How large the log is, and what of it still counts.
#[derive(Clone, Debug)]
pub(super) struct LogSize {
    /// Bytes from the log's start.
    pub(super) log: usize,
    /// Bytes of the newest record of each key.
    pub(super) live: usize,
    /// Bytes written since the running rewrite began.
    pub(super) since_rewrite: usize,
    /// Before the log is this large, no rewrite is tried: it grows after a failed one.
    pub(super) not_before: usize,
}

impl Default for LogSize {
    fn default() -> Self {
        Self {
            log: 0,
            live: 0,
            since_rewrite: 0,
            not_before: GROUP_LOG_REWRITE_BYTES_MIN,
        }
    }
}

impl LogSize {
    fn is_too_large(&self) -> bool {
        self.log
            > self
                .not_before
                .max(self.live.saturating_mul(GROUP_LOG_REWRITE_RATIO))
    }
}

impl GroupShard {
    /// Begins a rewrite if one is due.
    pub(super) fn maybe_rewrite(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.rewrite == Rewrite::Idle
            && self.size.is_too_large()
            && self.open_transactions.is_empty()
        {
            self.rewrite = Rewrite::Waiting;
        }
        if self.rewrite == Rewrite::Waiting && self.pending.is_empty() {
            self.write_live_state(now, out);
        }
    }

    fn write_live_state(&mut self, now: Now, out: &mut Vec<Output>) {
        self.rewrite = Rewrite::Running(None);
        self.size.since_rewrite = 0;
        let Ok(chunks) = self.live_chunks() else {
            // The log holds what cannot be written again: it stays whole.
            self.rewrite_failed();
            return self.release_held(now, out);
        };
        if chunks.is_empty() {
            // Nothing is alive and nothing in flight: all that is in the log may go.
            out.push(Output::AdvanceLogStart {
                offset: self.next_offset,
            });
            self.size = LogSize::default();
            self.rewrite = Rewrite::Idle;
            self.release_held(now, out);
            return;
        }
        let last = chunks.len() - 1;
        for (at, records) in chunks.into_iter().enumerate() {
            let write = Write {
                changes: Vec::new(),
                then: Then::Rewritten {
                    first: at == 0,
                    last: at == last,
                },
                readers: Vec::new(),
            };
            self.emit(records, write, out);
        }
        self.release_held(now, out);
    }

    /// The newest record of each key, a batch at a time.
    fn live_chunks(&self) -> Result<Vec<Vec<Record>>, EncodeError> {
        let mut chunks: Vec<Vec<Record>> = Vec::new();
        let mut room = 0;
        for record in self.live_records() {
            let record = record?;
            let size = record.size();
            if size > room || chunks.is_empty() {
                chunks.push(Vec::new());
                room = self.batch_bytes_max;
            }
            room = room.saturating_sub(size);
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(record);
            }
        }
        Ok(chunks)
    }

    /// Lets the appends go that waited for the rewrite to be ahead of them.
    pub(super) fn release_held(&mut self, now: Now, out: &mut Vec<Output>) {
        for write in core::mem::take(&mut self.held) {
            self.write(now, write, out);
        }
    }

    /// The newest record of each key.
    pub(super) fn live_records(&self) -> impl Iterator<Item = Result<Record, EncodeError>> {
        let known = self.groups.iter().flat_map(|(id, group)| {
            let offsets = group.offsets.iter().flat_map(move |(topic, partitions)| {
                partitions.iter().map(move |(partition, stored)| {
                    offset_record(id, topic, *partition, Some(stored))
                })
            });
            group
                .record
                .iter()
                .map(move |value| group_record(id, Some(value.clone())))
                .chain(offsets)
        });
        // Last: one of these may be a broken record of a key that the state has an older one of.
        known.chain(self.foreign.iter().map(|(key, value)| {
            Ok(Record {
                key: key.clone(),
                value: Some(value.clone()),
            })
        }))
    }

    /// A part of the rewrite is durable at `offset`.
    pub(super) fn rewritten(
        &mut self,
        first: bool,
        last: bool,
        offset: i64,
        out: &mut Vec<Output>,
    ) {
        let Rewrite::Running(base) = &mut self.rewrite else {
            return;
        };
        if first {
            *base = Some(offset);
        }
        if !last {
            return;
        }
        if let Some(base) = *base {
            out.push(Output::AdvanceLogStart { offset: base });
            self.size.log = self.size.since_rewrite;
            self.size.not_before = GROUP_LOG_REWRITE_BYTES_MIN;
        }
        self.rewrite = Rewrite::Idle;
    }

    /// A part of the rewrite did not become durable: nothing may be cut.
    pub(super) fn rewrite_failed(&mut self) {
        self.rewrite = Rewrite::Idle;
        self.size.not_before = self.size.log.saturating_add(GROUP_LOG_REWRITE_BYTES_MIN);
    }

    /// Puts off an append that came while a rewrite waits for its moment.
    pub(super) fn hold_if_waiting(&mut self, write: Write) -> Option<Write> {
        if self.rewrite == Rewrite::Waiting {
            self.held.push(write);
            None
        } else {
            Some(write)
        }
    }
}
