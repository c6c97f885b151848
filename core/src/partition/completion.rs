//! What the driver reports, and what follows from it.

use alloc::vec::Vec;

use super::{Answer, AppendError, Condition, EffectId, FlushPolicy, Output, Partition, QueryError};
use crate::{
    log::Effect,
    marks,
    time::{Instant, Now},
};

impl Partition {
    pub(super) fn changed(&mut self, now: Now, through: EffectId, out: &mut Vec<Output>) {
        self.last_change[1] = self.last_change[1].max(through);
        if self.condition == Condition::Offline {
            return;
        }
        if self.undoing.is_some_and(|last| last <= through) {
            self.undoing = None;
        }
        while self
            .deleting
            .pop_front_if(|(id, _)| *id <= through)
            .is_some()
        {}
        let mut written = None;
        while let Some(first) = self.unwritten.front().filter(|first| first.last <= through) {
            written = Some(first.log_end);
            self.unwritten_bytes -= first.bytes;
            self.unwritten.pop_front();
        }
        if let Some(end) = written {
            self.log.written(end);
            self.oldest_unsynced.get_or_insert(now.monotonic);
            while let Some((_, to, appended)) = self.on_written.pop_front_if(|(at, ..)| *at <= end)
            {
                out.push(Output::Reply {
                    to,
                    answer: Answer::Appended(Ok(appended)),
                });
            }
            self.note_durable(now, out);
            self.commit(now, out);
            self.wake(out);
            if core::mem::take(&mut self.retaining) && self.is_online() {
                self.retain(now, out);
            }
        }
        self.unpark(now, out);
        self.finish_closing(out);
    }

    /// Takes back what was not written. Reads go on, and so do appends: the next may find room.
    pub(super) fn change_failed(&mut self, full: bool, out: &mut Vec<Output>) {
        if self.condition == Condition::Offline {
            return;
        }
        let last_words = matches!(self.condition, Condition::Closing { last: Some(_), .. });
        if !full || self.undoing.is_some() || last_words {
            // What is written is in the file, whatever became of the rest.
            self.lose(self.log.written_end(), out);
            return;
        }
        marks::WRITE_TAKEN_BACK.reach();
        let names_owed = self.last_dir_sync > self.last_sync[1];
        let epochs_owed = self.epochs_owed || self.last_replace > self.last_change[1];
        // Syncs that had not begun are gone; the next write asks again.
        self.committing = None;
        self.sealing.clear();
        self.retaining = false;
        self.last_sync[1] = self.last_sync[0];
        self.last_change[1] = self.last_change[0];
        self.unwritten.clear();
        self.unwritten_bytes = 0;
        // Not so what frees space, and what others of the folder rely on: that is asked for again.
        let deletions = core::mem::take(&mut self.deleting);
        self.effects
            .extend(deletions.into_iter().map(|(_, effect)| effect));
        self.note_deletions();
        if names_owed || !self.effects.is_empty() {
            self.effects.push(Effect::SyncDir);
        }
        self.log.undo_unwritten(&mut self.effects);
        self.epochs_owed = false;
        self.undoing = self.push_effects(out);
        let written = self.log.written_end();
        let (mut refused, parked) = (Vec::new(), core::mem::take(&mut self.parked));
        for waiting in [&mut self.on_written, &mut self.on_settled] {
            let kept = waiting.partition_point(|(end, ..)| *end <= written);
            refused.extend(waiting.drain(kept..).map(|(_, ticket, _)| ticket));
        }
        refused.extend(parked.into_iter().map(|(ticket, ..)| ticket));
        for to in refused {
            out.push(Output::Reply {
                to,
                answer: Answer::Appended(Err(AppendError::Full)),
            });
        }
        // What was written before and lost its sync.
        self.start_commit(out);
        // They take room: the next append brings them along.
        self.epochs_owed = epochs_owed;
        self.finish_closing(out);
    }

    pub(super) fn synced(&mut self, now: Now, through: EffectId, out: &mut Vec<Output>) {
        self.last_sync[1] = self.last_sync[1].max(through);
        if self.condition == Condition::Offline {
            return;
        }
        let mut synced = self
            .committing
            .take_if(|(id, _)| *id <= through)
            .map(|(_, end)| end);
        while let Some((_, end)) = self.sealing.pop_front_if(|(id, _)| *id <= through) {
            // What is not reported written may yet be taken back.
            synced = synced.max(Some(end.min(self.log.written_end())));
        }
        if let Some(end) = synced {
            if self.on_settled.len() > 1 {
                marks::SYNC_SHARED.reach();
            }
            self.synced_end = self.synced_end.max(end);
            self.oldest_unsynced =
                (self.log.written_end() > self.synced_end).then_some(now.monotonic);
            self.note_durable(now, out);
            self.commit(now, out);
        }
        self.finish_closing(out);
    }

    /// What lies above the last sync may be in the page cache only, and lost there. It was promised to
    /// nobody, unless the page cache is what the policy promises.
    pub(super) fn sync_failed(&mut self, out: &mut Vec<Output>) {
        let promised = self
            .replication
            .high_watermark()
            .min(self.log.written_end());
        self.lose(self.durable_end().max(promised), out);
    }

    /// The files can no longer be trusted from `cut_to` on.
    fn lose(&mut self, cut_to: i64, out: &mut Vec<Output>) {
        let closing = match self.condition {
            Condition::Offline | Condition::Closed => return,
            Condition::Closing { ticket, .. } => Some(ticket),
            Condition::Online => None,
        };
        self.condition = if closing.is_some() {
            Condition::Closed
        } else {
            Condition::Offline
        };
        marks::PARTITION_LOST.reach();
        self.unwritten.clear();
        self.unwritten_bytes = 0;
        self.committing = None;
        self.refuse_all(AppendError::Storage, out);
        self.wake_all(Err(QueryError::Offline), out);
        out.push(match closing {
            Some(to) => Output::Reply {
                to,
                answer: Answer::Closed { clean: false },
            },
            None => Output::Reopen { cut_to },
        });
    }

    /// Up to where this node counts its log as durable.
    pub(super) fn durable_end(&self) -> i64 {
        match self.config.flush {
            FlushPolicy::Synced => self.synced_end,
            FlushPolicy::Written { .. } => self.log.written_end(),
        }
    }

    /// Tells replication what this node has made durable.
    pub(super) fn note_durable(&mut self, now: Now, out: &mut Vec<Output>) {
        let (durable, log_end) = (self.durable_end(), self.log.log_end());
        if self
            .replication
            .made_durable(now.monotonic, self.me, durable, log_end)
            .is_some()
        {
            self.settle(out);
        }
    }

    /// The high watermark may have moved: those that wait for it are answered.
    pub(super) fn settle(&mut self, out: &mut Vec<Output>) {
        let high_watermark = self.replication.high_watermark();
        self.log.on_high_watermark(high_watermark);
        while let Some((_, to, appended)) = self
            .on_settled
            .pop_front_if(|(end, ..)| *end <= high_watermark)
        {
            out.push(Output::Reply {
                to,
                answer: Answer::Appended(Ok(appended)),
            });
        }
        self.wake(out);
    }

    /// Begins a sync if the policy wants one now.
    pub(super) fn commit(&mut self, now: Now, out: &mut Vec<Output>) {
        let unsynced = self.log.written_end() - self.synced_end;
        let due = match self.config.flush {
            FlushPolicy::Synced => unsynced > 0,
            FlushPolicy::Written { messages, .. } => {
                messages.is_some_and(|messages| unsynced >= messages)
                    || self.flush_due().is_some_and(|due| due <= now.monotonic)
            }
        };
        if due {
            self.sync(out);
        }
    }

    /// Begins a sync of all that is written, unless one runs: then its end begins the next.
    pub(super) fn sync(&mut self, out: &mut Vec<Output>) {
        let end = self.log.written_end();
        if self.committing.is_some() || end <= self.synced_end {
            return;
        }
        self.effects.push(Effect::Sync(self.log.active_file()));
        self.push_effects(out);
        self.committing = Some((self.last_sync[0], end));
    }

    /// When what was written must be synced for its age.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        match self.config.flush {
            FlushPolicy::Written {
                interval: Some(interval),
                ..
            } if self.committing.is_none() => Some(self.oldest_unsynced?.after(interval)),
            _ => None,
        }
    }

    /// After a failed write: syncs what had been written before it.
    fn start_commit(&mut self, out: &mut Vec<Output>) {
        if self.config.flush == FlushPolicy::Synced {
            self.sync(out);
        }
    }

    /// Takes the steps of a close as far as the effects are done: first all that is in flight, then
    /// the log's own last words, then the answer.
    pub(super) fn finish_closing(&mut self, out: &mut Vec<Output>) {
        let Condition::Closing { ticket, last } = self.condition else {
            return;
        };
        let at_rest = self.parked.is_empty()
            && self.last_change[0] == self.last_change[1]
            && self.last_sync[0] == self.last_sync[1];
        if !at_rest {
            return;
        }
        match last {
            None => {
                self.log.close(&mut self.effects);
                self.effects.push(Effect::Sync(self.log.active_file()));
                self.effects.push(Effect::SyncDir);
                self.push_effects(out);
                self.committing = Some((self.last_sync[0], self.log.written_end()));
                self.condition = Condition::Closing {
                    ticket,
                    last: Some(self.last_sync[0]),
                };
            }
            Some(_) => {
                self.condition = Condition::Closed;
                self.refuse_all(AppendError::Closed, out);
                self.wake_all(Err(QueryError::Offline), out);
                out.push(Output::Reply {
                    to: ticket,
                    answer: Answer::Closed { clean: true },
                });
            }
        }
    }
}
