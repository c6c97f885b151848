//! What a shard writes: in which order, in how large parts, and what follows when it is durable or
//! has failed.

use alloc::{collections::BTreeMap, vec::Vec};

use bytes::Bytes;
use ottla_wire::{EncodeError, Str};

use super::{
    AppendFailure, Output, Record, Ticket,
    classic::{ClassicGroup, GroupState},
    records::{StoredOffset, group_record, offset_record},
    request::{GroupError, OffsetFetch, Response},
    shard::{GroupShard, failed},
};
use crate::time::{Now, Timestamp};

/// What an append changes once it is durable.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Offset {
        group: Str,
        topic: Str,
        partition: i32,
        stored: Option<StoredOffset>,
    },
    Group {
        group: Str,
        value: Option<Bytes>,
    },
}

impl Change {
    pub(super) fn record(&self) -> Result<Record, EncodeError> {
        match self {
            Self::Offset {
                group,
                topic,
                partition,
                stored,
            } => offset_record(group, topic, *partition, stored.as_ref()),
            Self::Group { group, value } => group_record(group, value.clone()),
        }
    }

    pub(super) fn group(&self) -> &Str {
        match self {
            Self::Offset { group, .. } | Self::Group { group, .. } => group,
        }
    }
}

/// What follows when an append is durable, or has failed.
#[derive(Clone, Debug)]
pub(super) enum Then {
    Nothing,
    /// Answer with this.
    Reply(Ticket, Response),
    /// Answer, and bring the group back to life if the append failed.
    Deleted {
        ticket: Option<Ticket>,
        group: Str,
        since: Option<Timestamp>,
    },
    /// Hand out the assignment of a generation.
    Assigned {
        group: Str,
        generation: i32,
        assignment: BTreeMap<Str, Bytes>,
    },
    /// Answer a static member that took its old place, or give the place back.
    Replaced(super::join::Replacement),
    /// A part of the log's rewrite.
    Rewritten {
        first: bool,
        last: bool,
    },
}

/// What is to be written, and what depends on it.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) changes: Vec<Change>,
    pub(super) then: Then,
    /// Fetches of offsets that this changes, or an earlier one: answered when its fate is known, so
    /// that a client which commits and asks sees what it committed.
    pub(super) readers: Vec<(Ticket, OffsetFetch)>,
}

/// An append under way.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    sequence: u64,
    pub(super) write: Write,
    records: i64,
    bytes: usize,
}

impl GroupShard {
    /// Writes changes as one batch, behind all earlier ones.
    pub(super) fn append(
        &mut self,
        now: Now,
        changes: Vec<Change>,
        then: Then,
        out: &mut Vec<Output>,
    ) {
        let write = Write {
            changes,
            then,
            readers: Vec::new(),
        };
        if let Some(write) = self.hold_if_waiting(write) {
            self.write(now, write, out);
        }
    }

    pub(super) fn write(&mut self, now: Now, write: Write, out: &mut Vec<Output>) {
        let records: Result<Vec<_>, _> = write.changes.iter().map(Change::record).collect();
        match records {
            Ok(records) => self.emit(records, write, out),
            // What no record holds, the log would refuse: it fails alone, and at once.
            Err(_) => self.undo(now, write, AppendFailure::TooLarge, out),
        }
    }

    /// As [`Self::append`] for changes that need not be one batch: in as many as they take.
    pub(super) fn append_in_parts(
        &mut self,
        now: Now,
        changes: Vec<Change>,
        then: Then,
        out: &mut Vec<Output>,
    ) {
        let mut part = Vec::new();
        let mut bytes = 0;
        for change in changes {
            let size = change.record().map_or(0, |record| record.size());
            if bytes + size > self.batch_bytes_max && !part.is_empty() {
                self.count_writes(&part, 1);
                self.append(now, core::mem::take(&mut part), Then::Nothing, out);
                bytes = 0;
            }
            bytes += size;
            part.push(change);
        }
        self.count_writes(&part, 1);
        self.append(now, part, then, out);
    }

    /// Counts an append among those that change the offsets of its groups.
    pub(super) fn count_writes(&mut self, changes: &[Change], by: isize) {
        let mut last: Option<&Str> = None;
        for change in changes
            .iter()
            .filter(|c| matches!(c, Change::Offset { .. }))
        {
            if last == Some(change.group()) {
                continue;
            }
            last = Some(change.group());
            if let Some(group) = self.groups.get_mut(change.group()) {
                group.pending_writes = group.pending_writes.saturating_add_signed(by);
            }
        }
    }

    pub(super) fn emit(&mut self, records: Vec<Record>, write: Write, out: &mut Vec<Output>) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.pending.push_back(Pending {
            sequence,
            write,
            records: i64::try_from(records.len()).unwrap_or(i64::MAX),
            bytes: records.iter().map(Record::size).sum(),
        });
        out.push(Output::Append { sequence, records });
    }

    fn take_pending(&mut self, sequence: u64) -> Option<Pending> {
        // An append from before an unload is nobody's any more.
        if self.pending.front()?.sequence == sequence {
            self.pending.pop_front()
        } else {
            None
        }
    }

    pub(super) fn committed(
        &mut self,
        now: Now,
        sequence: u64,
        offset: i64,
        out: &mut Vec<Output>,
    ) {
        let Some(pending) = self.take_pending(sequence) else {
            return;
        };
        self.size.log = self.size.log.saturating_add(pending.bytes);
        self.size.since_rewrite = self.size.since_rewrite.saturating_add(pending.bytes);
        self.next_offset = offset.saturating_add(pending.records);
        let Write {
            changes,
            then,
            readers,
        } = pending.write;
        self.count_writes(&changes, -1);
        let mut touched: Vec<Str> = Vec::new();
        for change in changes {
            if touched.last() != Some(change.group()) {
                touched.push(change.group().clone());
            }
            if !self.foreign.is_empty()
                && let Ok(record) = change.record()
            {
                self.forget_foreign(&record.key);
            }
            self.apply(now, change);
        }
        match then {
            Then::Nothing => {}
            Then::Reply(ticket, response) => out.push(Output::Reply { ticket, response }),
            Then::Deleted { ticket, group, .. } => {
                // The tombstones took the offsets; what is left is the group itself.
                if let Some(group) = self.groups.get_mut(&group)
                    && group.classic.is(GroupState::Dead)
                {
                    group.classic = ClassicGroup::new(now.wall);
                }
                if let Some(ticket) = ticket {
                    out.push(Output::Reply {
                        ticket,
                        response: Response::Delete(Ok(())),
                    });
                }
            }
            Then::Assigned {
                group,
                generation,
                assignment,
            } => {
                self.assigned(now, &group, generation, assignment, out);
            }
            Then::Replaced(replacement) => self.replaced(now, replacement, None, out),
            Then::Rewritten { first, last } => self.rewritten(first, last, offset, out),
        }
        self.answer_readers(readers, out);
        for group in touched {
            self.forget_if_nothing(&group);
        }
    }

    pub(super) fn append_failed(
        &mut self,
        now: Now,
        sequence: u64,
        failure: AppendFailure,
        out: &mut Vec<Output>,
    ) {
        let Some(pending) = self.take_pending(sequence) else {
            return;
        };
        self.undo(now, pending.write, failure, out);
    }

    /// What was to be written is not, nor will it be: everything is as if it had not been asked for.
    pub(super) fn undo(
        &mut self,
        now: Now,
        write: Write,
        failure: AppendFailure,
        out: &mut Vec<Output>,
    ) {
        let Write {
            changes,
            then,
            readers,
        } = write;
        let error = GroupError::from(failure);
        self.count_writes(&changes, -1);
        match then {
            Then::Nothing => {}
            Then::Rewritten { .. } => self.rewrite_failed(),
            Then::Reply(ticket, response) => {
                out.push(Output::Reply {
                    ticket,
                    response: failed(&response, error),
                });
            }
            Then::Deleted {
                ticket,
                group,
                since,
            } => {
                if let Some(group) = self.groups.get_mut(&group)
                    && group.classic.is(GroupState::Dead)
                {
                    group.classic.revive(since);
                }
                if let Some(ticket) = ticket {
                    out.push(Output::Reply {
                        ticket,
                        response: Response::Delete(Err(error)),
                    });
                }
            }
            Then::Assigned {
                group, generation, ..
            } => {
                self.assignment_failed(now, &group, generation, error, out);
            }
            Then::Replaced(replacement) => self.replaced(now, replacement, Some(error), out),
        }
        self.answer_readers(readers, out);
        for change in &changes {
            self.forget_if_nothing(change.group());
        }
    }

    /// The writes that are not durable yet, newest first.
    pub(super) fn newest_writes(&mut self) -> impl Iterator<Item = &mut Write> {
        let pending = self.pending.iter_mut().map(|p| &mut p.write);
        pending.chain(&mut self.held).rev()
    }

    /// The changes that are not durable yet, oldest first.
    pub(super) fn changes_under_way(&self) -> impl Iterator<Item = &Change> {
        self.pending
            .iter()
            .map(|p| &p.write)
            .chain(&self.held)
            .flat_map(|write| &write.changes)
    }
}
