//! One partition: a log, a role in its replication, and the readers and writers that wait on it.
//!
//! [`Partition`] decides when an append is taken, when it is answered, what readers may see, and what
//! becomes of all of them when a disk fails. It performs nothing: it pushes [`Output`]s, and the
//! driver (`server::storage`) performs their effects in the order given and reports back.
//!
//! What an answer promises is reported done before the answer is pushed:
//! * acks = 1: the records are in the file (the page cache);
//! * acks = all: they are below the high watermark, which follows what the in-sync replicas have
//!   made durable ([`FlushPolicy`] says what durable means).
//!
//! Group commit: while one sync runs further writes go on; when it ends, the next covers all that
//! was written since.

mod append;
mod completion;
mod config;
mod query;
#[cfg(test)]
mod tests;
mod types;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use bytes::Bytes;

pub use config::{FlushPolicy, PartitionConfig, TopicCompression};
pub use query::{FetchQuery, Fetched};
pub use types::{
    Acks, AppendError, AppendOptions, Appended, EffectId, EpochEnd, Isolation, ListedOffset,
    OffsetSpec, Offsets, ProducerView, Producers, QueryError, Ticket, TopicPartition,
};

pub use crate::batch::Origin;
use crate::{
    log::{Effect, Log},
    replication::{Policy, Replication},
    time::{Duration, Instant, Now},
};

/// What happens to a partition.
#[derive(Debug)]
pub enum Input {
    /// Someone appends whole batches.
    Append {
        /// Who is answered, with [`Answer::Appended`].
        from: Ticket,
        /// The batches.
        records: Bytes,
        /// How.
        options: AppendOptions,
    },
    /// All changes up to this one are made (every effect but syncs).
    Changed {
        /// The last of them.
        through: EffectId,
    },
    /// A change failed, part of it may be made; nothing that was pushed after it is performed and no
    /// sync runs any more.
    ChangeFailed {
        /// Whether for want of space, so that it may work later.
        full: bool,
    },
    /// All syncs up to this one are made.
    Synced {
        /// The last of them.
        through: EffectId,
    },
    /// A sync failed. Nothing that was pushed is performed any more.
    SyncFailed,
    /// Someone waits until there is something to read.
    Await {
        /// Who is answered, with [`Answer::Ready`].
        from: Ticket,
        /// The end that is shown must be above this offset.
        beyond: i64,
        /// Which end.
        isolation: Isolation,
    },
    /// Someone waits no more.
    Cancel {
        /// Who.
        ticket: Ticket,
    },
    /// This node leads from now on, or the set of replicas changed.
    Lead {
        /// The leader's epoch.
        epoch: i32,
        /// All replicas, and whether each is in sync. Without any: this node alone.
        members: Vec<(i32, bool)>,
    },
    /// Another node leads from now on.
    Follow {
        /// The leader's epoch.
        epoch: i32,
        /// Who leads.
        leader: i32,
    },
    /// The configuration changed.
    Configure(Box<PartitionConfig>),
    /// A replica says how much it has made durable.
    ReplicaFetched {
        /// Which.
        replica: i32,
        /// Below it everything is.
        durable_end: i64,
    },
    /// Records below an offset are no longer wanted.
    DeleteRecords {
        /// Who is answered, with [`Answer::RecordsDeleted`].
        from: Ticket,
        /// The new start; -1 is the high watermark.
        before: i64,
    },
    /// The time of [`Partition::next_timer`] has come.
    Timer,
    /// The partition is to be closed in good order.
    Close {
        /// Who is answered, with [`Answer::Closed`].
        from: Ticket,
    },
}

/// What must happen.
#[derive(Debug)]
pub enum Output {
    /// A change to the partition's folder, or a sync. Performed in the order of the ids; a sync may run
    /// beside later writes, but not beside any other later change (a new file among them).
    Effect {
        /// Stands for it.
        id: EffectId,
        /// What.
        effect: Effect,
    },
    /// Someone is answered. At once.
    Reply {
        /// Who.
        to: Ticket,
        /// What.
        answer: Answer,
    },
    /// The files can no longer be trusted: the log is to be opened anew, and to end at `cut_to` if it
    /// is longer. Until then everything is refused.
    Reopen {
        /// What lies from here on is taken for lost, whatever the files show.
        cut_to: i64,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Input::Append`].
    Appended(Result<Appended, AppendError>),
    /// To [`Input::Await`].
    Ready(Result<(), QueryError>),
    /// To [`Input::DeleteRecords`]: the log's new start.
    RecordsDeleted(Result<i64, QueryError>),
    /// To [`Input::Close`]: whether everything is durable and in good order.
    Closed {
        /// Whether it is.
        clean: bool,
    },
}

/// Why a timer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerReason {
    /// When to look for segments to delete and producers to forget.
    Retention,
    /// When to sync what was written a while ago (`log.flush.interval.ms`).
    Flush,
}

/// Whether the partition's files can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Online,
    /// A sync failed, or a failed write could not be undone.
    Offline,
    /// Being closed: answered when all effects up to this one are done.
    Closing {
        ticket: Ticket,
        last: Option<EffectId>,
    },
    Closed,
}

/// A partition.
///
/// Call contract: one input at a time, its outputs carried out before or while the next is given.
/// Effects are reported in order: changes with `Changed`, syncs with `Synced`.
#[derive(Debug)]
pub struct Partition {
    log: Log,
    replication: Replication,
    config: PartitionConfig,
    me: i32,
    condition: Condition,
    next_effect: u64,
    /// Appends whose effects are not all made: last effect, log end after, bytes.
    unwritten: VecDeque<Unwritten>,
    unwritten_bytes: usize,
    /// The effects that take a failed append back, up to this one, are not all made.
    undoing: Option<EffectId>,
    /// The sync that runs for the group, and up to where it makes the log durable.
    committing: Option<(EffectId, i64)>,
    /// Effects in flight: the last change and the last sync asked for, and reported.
    last_change: [EffectId; 2],
    last_sync: [EffectId; 2],
    /// Below it everything is synced.
    synced_end: i64,
    /// Syncs of segments that were sealed and are not reported done, and where those segments end.
    sealing: VecDeque<(EffectId, i64)>,
    /// First offset of the segment that was written to when effects were last pushed.
    active_base: i64,
    /// Deletions of what retention let go, not reported done: they outlive a full disk.
    deleting: VecDeque<(EffectId, Effect)>,
    /// The last effects that were asked for of two kinds that a full disk must not lose either.
    last_dir_sync: EffectId,
    last_replace: EffectId,
    /// The leader epochs could not be written down for want of room.
    epochs_owed: bool,
    /// Retention sealed the active segment, to let go of it when that is done.
    retaining: bool,
    oldest_unsynced: Option<Instant>,
    /// Taken and waiting to be written (acks = 1), by log end.
    on_written: VecDeque<(i64, Ticket, Appended)>,
    /// Taken and waiting for the high watermark (acks = all), by log end.
    on_settled: VecDeque<(i64, Ticket, Appended)>,
    /// Not taken yet, for want of room.
    parked: VecDeque<(Ticket, Bytes, AppendOptions)>,
    readers: BTreeMap<Ticket, (i64, Isolation)>,
    /// None until the configuration is known: what a topic keeps for ever must not be judged by the
    /// broker's defaults.
    retention_due: Option<Instant>,
    /// Effects of the current step.
    effects: Vec<Effect>,
}

#[derive(Clone, Copy, Debug)]
struct Unwritten {
    last: EffectId,
    log_end: i64,
    bytes: usize,
}

impl Partition {
    /// Takes a log that was just created or recovered, everything in which is durable. It has no
    /// leader yet, and retention waits for [`Input::Configure`]. `high_watermark` is the one that was
    /// written down.
    #[must_use]
    pub fn open(me: i32, log: Log, config: PartitionConfig, high_watermark: i64) -> Self {
        let high_watermark = high_watermark.clamp(log.log_start(), log.log_end());
        let policy = Policy::InSyncSet {
            lag_max: Duration::from_secs(30),
        };
        let none = EffectId(0);
        let mut partition = Self {
            me,
            replication: Replication::new(me, policy, -1, high_watermark),
            condition: Condition::Online,
            next_effect: 1,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            undoing: None,
            committing: None,
            last_change: [none; 2],
            last_sync: [none; 2],
            synced_end: log.log_end(),
            sealing: VecDeque::new(),
            active_base: log.active_base(),
            deleting: VecDeque::new(),
            last_dir_sync: none,
            last_replace: none,
            epochs_owed: false,
            retaining: false,
            oldest_unsynced: None,
            on_written: VecDeque::new(),
            on_settled: VecDeque::new(),
            parked: VecDeque::new(),
            readers: BTreeMap::new(),
            retention_due: None,
            effects: Vec::new(),
            log,
            config,
        };
        partition.log.on_high_watermark(high_watermark);
        partition
    }

    /// Takes one input and pushes what must happen.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Append {
                from,
                records,
                options,
            } => self.append(now, from, records, options, out),
            Input::Changed { through } => self.changed(now, through, out),
            Input::ChangeFailed { full } => self.change_failed(full, out),
            Input::Synced { through } => self.synced(now, through, out),
            Input::SyncFailed => self.sync_failed(out),
            Input::Await {
                from,
                beyond,
                isolation,
            } => self.wait(from, beyond, isolation, out),
            Input::Cancel { ticket } => {
                self.readers.remove(&ticket);
            }
            Input::Lead { epoch, members } => self.lead(now, epoch, members, out),
            Input::Follow { epoch, leader } => self.follow(epoch, leader, out),
            Input::Configure(config) => self.configure(now, *config, out),
            Input::ReplicaFetched {
                replica,
                durable_end,
            } => {
                let log_end = self.log.log_end();
                if self
                    .replication
                    .made_durable(now.monotonic, replica, durable_end, log_end)
                    .is_some()
                {
                    self.settle(out);
                }
            }
            Input::DeleteRecords { from, before } => self.delete_records(now, from, before, out),
            Input::Timer => self.timer(now, out),
            Input::Close { from } => self.close(from, out),
        }
    }

    /// When [`Input::Timer`] is next wanted, and why.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Instant, TimerReason)> {
        if self.condition != Condition::Online {
            return None;
        }
        let retention = self.retention_due.map(|at| (at, TimerReason::Retention));
        let flush = self.flush_due().map(|at| (at, TimerReason::Flush));
        [retention, flush]
            .into_iter()
            .flatten()
            .min_by_key(|due| due.0)
    }

    /// Below it everything is synced: where the check after a crash begins.
    #[must_use]
    pub fn recovery_point(&self) -> i64 {
        self.synced_end
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &PartitionConfig {
        &self.config
    }

    /// Its replication.
    #[must_use]
    pub fn replication(&self) -> &Replication {
        &self.replication
    }

    /// Whether its files can be used.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.condition == Condition::Online
    }

    /// Whether it was closed and has nothing left to do.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.condition == Condition::Closed
    }

    fn lead(&mut self, now: Now, epoch: i32, members: Vec<(i32, bool)>, out: &mut Vec<Output>) {
        let was = (self.replication.epoch(), self.replication.is_leader());
        let (durable, log_end) = (self.durable_end(), self.log.log_end());
        if let Err(error) = self
            .replication
            .lead(now.monotonic, epoch, &members, durable, log_end)
        {
            tracing::warn!(%error, "a change of leadership is not followed");
            return;
        }
        if was != (epoch, true) && self.is_online() {
            self.log.assign_epoch(epoch, &mut self.effects);
            self.push_effects(out);
        }
        self.settle(out);
    }

    fn follow(&mut self, epoch: i32, leader: i32, out: &mut Vec<Output>) {
        if let Err(error) = self.replication.follow(epoch, leader) {
            tracing::warn!(%error, "a change of leadership is not followed");
            return;
        }
        self.refuse_all(
            AppendError::NotLeader {
                leader_epoch: epoch,
            },
            out,
        );
        self.wake_all(
            Err(QueryError::NotLeader {
                leader_epoch: epoch,
            }),
            out,
        );
    }

    fn configure(&mut self, now: Now, config: PartitionConfig, out: &mut Vec<Output>) {
        self.log.set_config(config.log.clone());
        let due = now.monotonic.after(config.retention_check_interval);
        self.retention_due = Some(self.retention_due.map_or(due, |known| known.min(due)));
        self.config = config;
        if self.check_online().is_ok() {
            self.note_durable(now, out);
            self.commit(now, out);
        }
    }

    fn delete_records(&mut self, now: Now, from: Ticket, before: i64, out: &mut Vec<Output>) {
        let _ = now;
        let high_watermark = self.replication.high_watermark();
        let start = if before == -1 { high_watermark } else { before };
        let usable = self.check_online().and_then(|()| self.check_readable(None));
        let answer = match usable {
            Err(error) => Err(error),
            Ok(()) if !(0..=high_watermark).contains(&start) => Err(QueryError::OffsetOutOfRange {
                offset: start,
                log_start: self.log.log_start(),
                log_end: high_watermark,
            }),
            Ok(()) => {
                if start > self.log.log_start() {
                    // The range was checked, so this does not fail.
                    let _ = self
                        .log
                        .advance_log_start(start, high_watermark, &mut self.effects);
                    self.push_effects(out);
                }
                Ok(self.log.log_start())
            }
        };
        out.push(Output::Reply {
            to: from,
            answer: Answer::RecordsDeleted(answer),
        });
    }

    fn timer(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.condition != Condition::Online {
            return;
        }
        if self.flush_due().is_some_and(|due| due <= now.monotonic) {
            self.sync(out);
        }
        if self.retention_due.is_some_and(|due| due <= now.monotonic) {
            self.retention_due = Some(now.monotonic.after(self.config.retention_check_interval));
            self.log.expire_producers(now.wall);
            self.retain(now, out);
        }
    }

    /// Lets go of what is past its retention. If that is all there is, the active segment is sealed
    /// first, and goes when that is done: a full disk can take it back like an append.
    fn retain(&mut self, now: Now, out: &mut Vec<Output>) {
        let high_watermark = self.replication.high_watermark();
        let retained = self.log.retain(now.wall, high_watermark, &mut self.effects);
        self.note_deletions();
        let last = self.push_effects(out);
        if let (true, Some(last)) = (retained.rolled, last) {
            self.retaining = true;
            self.unwritten.push_back(Unwritten {
                last,
                log_end: self.log.log_end(),
                bytes: 0,
            });
        }
        self.wake(out);
    }

    /// Remembers the deletions among the effects that are about to be pushed.
    fn note_deletions(&mut self) {
        let numbered = (self.next_effect..).map(EffectId).zip(&self.effects);
        let deletions = numbered.filter(|(_, effect)| matches!(effect, Effect::Delete(_)));
        self.deleting
            .extend(deletions.map(|(id, effect)| (id, effect.clone())));
    }

    fn close(&mut self, from: Ticket, out: &mut Vec<Output>) {
        match self.condition {
            Condition::Online => {}
            _ => {
                let answer = Answer::Closed {
                    clean: self.condition == Condition::Closed,
                };
                out.push(Output::Reply { to: from, answer });
                self.condition = Condition::Closed;
                return;
            }
        }
        self.condition = Condition::Closing {
            ticket: from,
            last: None,
        };
        self.finish_closing(out);
    }

    /// Gives effects their ids. The last of them.
    fn push_effects(&mut self, out: &mut Vec<Output>) -> Option<EffectId> {
        let writes = |effect: &Effect| matches!(effect, Effect::Write { .. });
        if self.epochs_owed && self.effects.iter().any(writes) {
            self.epochs_owed = false;
            self.effects.push(self.log.epochs_effect());
        }
        let mut last = None;
        for effect in self.effects.drain(..) {
            let id = EffectId(self.next_effect);
            self.next_effect += 1;
            match effect {
                Effect::Sync(_) => self.last_sync[0] = id,
                Effect::SyncDir => (self.last_sync[0], self.last_dir_sync) = (id, id),
                _ => {
                    self.last_change[0] = id;
                    last = Some(id);
                }
            }
            if matches!(effect, Effect::Replace { .. }) {
                self.last_replace = id;
            }
            out.push(Output::Effect { id, effect });
        }
        let active = self.log.active_base();
        if active > self.active_base {
            // A segment is synced when it is sealed.
            self.sealing.push_back((self.last_sync[0], active));
        }
        self.active_base = active;
        last
    }
}
