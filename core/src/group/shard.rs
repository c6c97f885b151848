//! The shard: its groups, and what each input does to them.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};

use bytes::Bytes;
use ottla_wire::{Str, Uuid};

use super::{
    Client, Input, Output, Ticket,
    classic::{ClassicGroup, GroupState},
    config::GroupConfig,
    member::Member,
    records::StoredOffset,
    request::{GroupError, JoinAnswer, Request, Response},
    rewrite::{LogSize, Rewrite},
    timer::{TimerKey, TimerReason, Timers},
    writes::{Change, Pending, Then, Write},
};
use crate::{
    limits::GROUP_APPEND_BYTES_MAX,
    time::{Duration, Instant, Now, Timestamp},
};

/// A group with its offsets.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) classic: ClassicGroup,
    /// What is durable, by topic and partition.
    pub(super) offsets: BTreeMap<Str, BTreeMap<i32, StoredOffset>>,
    /// The newest durable record of the membership; `None` for one that was never written.
    pub(super) record: Option<Bytes>,
    /// How many appends that change the offsets are under way.
    pub(super) pending_writes: usize,
}

impl Group {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            classic: ClassicGroup::new(now),
            offsets: BTreeMap::new(),
            record: None,
            pending_writes: 0,
        }
    }

    /// Whether nothing would be lost with it.
    fn is_nothing(&self) -> bool {
        self.classic.is(GroupState::Empty)
            && self.classic.pending_join.is_empty()
            && self.offsets.is_empty()
            && self.record.is_none()
            && self.pending_writes == 0
    }
}

/// Whether the shard may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Unloaded,
}

/// The groups of one partition of `__consumer_offsets`.
///
/// A new shard is loading: give it its log as [`Input::Loaded`] and [`Input::LoadedMarker`], then
/// [`Input::LoadDone`]; until then requests are refused with COORDINATOR_LOAD_IN_PROGRESS. Perform
/// outputs in their order, and report each [`Output::Append`] once and in order. After
/// [`Input::Unload`] all that waited has been answered, and a new shard must be made for a new
/// term.
#[derive(Debug)]
pub struct GroupShard {
    pub(super) config: GroupConfig,
    pub(super) groups: BTreeMap<Str, Group>,
    pub(super) timers: Timers,
    phase: Phase,
    /// Appends in flight, oldest first.
    pub(super) pending: VecDeque<Pending>,
    /// Appends that wait for a rewrite to begin.
    pub(super) held: Vec<Write>,
    pub(super) next_sequence: u64,
    /// How much an append may hold that need not be one batch.
    pub(super) batch_bytes_max: usize,
    /// The offset behind the last record known to be in the log.
    pub(super) next_offset: i64,
    /// Offsets of transactions without an end, by producer, with the offset of their record.
    pub(super) open_transactions: BTreeMap<i64, Vec<super::replay::PendingOffset>>,
    /// The newest records of kinds that the shard does not know, by key: groups of other protocols,
    /// written by a broker of Kafka's.
    pub(super) foreign: BTreeMap<Bytes, Bytes>,
    /// All topics there are, until the log is loaded.
    pub(super) known_topics: Option<Arc<BTreeSet<Uuid>>>,
    /// Topics deleted while the shard was being loaded.
    deleted_early: Vec<(Str, Uuid)>,
    pub(super) size: LogSize,
    pub(super) rewrite: Rewrite,
}

impl GroupShard {
    /// A shard that is about to be loaded.
    #[must_use]
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            phase: Phase::Loading,
            pending: VecDeque::new(),
            held: Vec::new(),
            next_sequence: 0,
            batch_bytes_max: GROUP_APPEND_BYTES_MAX,
            next_offset: 0,
            open_transactions: BTreeMap::new(),
            foreign: BTreeMap::new(),
            known_topics: None,
            deleted_early: Vec::new(),
            size: LogSize::default(),
            rewrite: Rewrite::Idle,
        }
    }

    /// When [`Input::Timer`] is next wanted, and why.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Instant, TimerReason)> {
        self.timers.next()
    }

    /// Takes one input and pushes what must happen.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Request {
                ticket,
                client,
                request,
            } => {
                self.request(now, ticket, &client, request, out);
            }
            Input::Committed { sequence, offset } => self.committed(now, sequence, offset, out),
            Input::AppendFailed { sequence, failure } => {
                self.append_failed(now, sequence, failure, out);
            }
            Input::Loaded {
                record,
                offset,
                producer_id,
            } => {
                if self.phase == Phase::Loading {
                    self.replay(now, &record, offset, producer_id);
                }
            }
            Input::LoadedMarker {
                producer_id,
                committed,
            } => {
                if self.phase == Phase::Loading {
                    self.replay_marker(now, producer_id, committed);
                }
            }
            Input::KnownTopics(topics) => {
                if self.phase == Phase::Loading {
                    self.known_topics = Some(topics);
                }
            }
            Input::LoadDone => {
                if self.phase == Phase::Loading {
                    self.phase = Phase::Active;
                    self.loaded(now, out);
                    let deleted = core::mem::take(&mut self.deleted_early);
                    self.topics_deleted(now, &deleted, out);
                }
            }
            Input::Unload => self.unload(out),
            Input::TopicsDeleted(topics) => self.topics_deleted(now, &topics, out),
            Input::Config(config) => self.config = config,
            Input::BatchBytesMax(bytes) => {
                self.batch_bytes_max = bytes.min(GROUP_APPEND_BYTES_MAX);
            }
            Input::Timer => self.fire(now, out),
        }
        if self.phase == Phase::Active {
            self.maybe_rewrite(now, out);
        }
    }

    fn request(
        &mut self,
        now: Now,
        ticket: Ticket,
        client: &Client,
        request: Request,
        out: &mut Vec<Output>,
    ) {
        let refusal = match self.phase {
            Phase::Active => request.check().err(),
            Phase::Loading => Some(GroupError::CoordinatorLoadInProgress),
            Phase::Unloaded => Some(GroupError::NotCoordinator),
        };
        if let Some(error) = refusal {
            out.push(Output::Reply {
                ticket,
                response: request.refused(error),
            });
            return;
        }
        let response = match request {
            Request::Join(request) => return self.join(now, ticket, client, &request, out),
            Request::Sync(request) => return self.sync(now, ticket, &request, out),
            Request::Leave(request) => Response::Leave(self.leave(now, &request, out)),
            Request::Heartbeat(request) => Response::Heartbeat(self.heartbeat(now, &request)),
            Request::OffsetCommit(request) => {
                return self.offset_commit(now, ticket, &request, out);
            }
            Request::OffsetFetch(request) => match self.await_writes(ticket, request) {
                Some(request) => Response::OffsetFetch(Ok(self.offset_fetch(&request))),
                None => return,
            },
            Request::OffsetDelete(request) => {
                return self.offset_delete(now, ticket, &request, out);
            }
            Request::Describe(group) => Response::Describe(self.describe(&group)),
            Request::List(filter) => Response::List(Ok(self.list(&filter))),
            Request::Delete(group) => return self.delete(now, ticket, &group, out),
        };
        out.push(Output::Reply { ticket, response });
    }

    /// Drops a group of which nothing is known and nothing written, nor on its way to the log: a
    /// record that became durable later would bring it back with its generation lost.
    pub(super) fn forget_if_nothing(&mut self, id: &Str) {
        if self.groups.get(id).is_some_and(Group::is_nothing)
            && !self.changes_under_way().any(|c| c.group() == id)
        {
            self.groups.remove(id);
            self.timers.cancel(&TimerKey::Join(id.clone()));
            self.timers.cancel(&TimerKey::PendingSync(id.clone()));
        }
    }

    fn unload(&mut self, out: &mut Vec<Output>) {
        self.phase = Phase::Unloaded;
        let error = GroupError::NotCoordinator;
        let pending = core::mem::take(&mut self.pending);
        let held = core::mem::take(&mut self.held);
        for write in pending.into_iter().map(|p| p.write).chain(held) {
            for (ticket, _) in write.readers {
                out.push(Output::Reply {
                    ticket,
                    response: Response::OffsetFetch(Err(error)),
                });
            }
            match write.then {
                Then::Reply(ticket, response) => {
                    out.push(Output::Reply {
                        ticket,
                        response: failed(&response, error),
                    });
                }
                Then::Deleted {
                    ticket: Some(ticket),
                    ..
                } => {
                    out.push(Output::Reply {
                        ticket,
                        response: Response::Delete(Err(error)),
                    });
                }
                // Those who wait for these are members, below.
                _ => {}
            }
        }
        for group in core::mem::take(&mut self.groups).values() {
            for member in group.classic.members() {
                release(member, error, out);
            }
        }
        self.open_transactions.clear();
        self.foreign.clear();
        self.timers.clear();
        self.rewrite = Rewrite::Idle;
    }

    fn fire(&mut self, now: Now, out: &mut Vec<Output>) {
        let mark = self.timers.mark();
        while let Some((key, reason)) = self.timers.pop(now.monotonic, mark) {
            match (key, reason) {
                (TimerKey::Session(group, member), _) => {
                    self.session_expired(now, &group, &member, out);
                }
                (TimerKey::Join(group), TimerReason::InitialDelay) => {
                    self.initial_delay_over(now, &group, out);
                }
                (TimerKey::Join(group), _) => self.complete_join(now, &group, out),
                (TimerKey::PendingSync(group), _) => self.pending_sync_expired(now, &group, out),
                (TimerKey::OffsetExpiry, _) => self.expire_offsets(now, out),
            }
        }
    }

    pub(super) fn set_timer(
        &mut self,
        now: Now,
        key: TimerKey,
        reason: TimerReason,
        after: Duration,
    ) {
        self.timers.set(key, reason, now.monotonic.after(after));
    }

    /// Gives a member its session time-out anew.
    pub(super) fn heard_of(&mut self, now: Now, group: &Str, member: &Str) {
        let Some(timeout) = self
            .groups
            .get(group)
            .and_then(|g| g.classic.member(member))
            .map(|m| m.session_timeout_ms)
        else {
            return;
        };
        self.set_timer(
            now,
            TimerKey::Session(group.clone(), member.clone()),
            TimerReason::Session,
            millis(timeout),
        );
    }

    /// The groups of a topic that is gone lose their offsets of it, those under way included.
    fn topics_deleted(&mut self, now: Now, topics: &[(Str, Uuid)], out: &mut Vec<Output>) {
        match self.phase {
            Phase::Active => {}
            Phase::Loading => return self.deleted_early.extend_from_slice(topics),
            Phase::Unloaded => return,
        }
        let gone = |topic: &Str, stored: &StoredOffset| {
            topics
                .iter()
                .any(|(name, id)| name == topic && stored.fits(*id))
        };
        let mut changes: BTreeMap<(Str, Str, i32), ()> = BTreeMap::new();
        for (id, group) in &self.groups {
            for (topic, partitions) in &group.offsets {
                for (partition, stored) in partitions {
                    if gone(topic, stored) {
                        changes.insert((id.clone(), topic.clone(), *partition), ());
                    }
                }
            }
        }
        for change in self.changes_under_way() {
            if let Change::Offset {
                group,
                topic,
                partition,
                stored: Some(stored),
            } = change
                && gone(topic, stored)
            {
                changes.insert((group.clone(), topic.clone(), *partition), ());
            }
        }
        if changes.is_empty() {
            return;
        }
        let changes = changes
            .into_keys()
            .map(|(group, topic, partition)| Change::Offset {
                group,
                topic,
                partition,
                stored: None,
            })
            .collect();
        self.append_in_parts(now, changes, Then::Nothing, out);
    }
}

/// Answers what a member waits for.
pub(super) fn release(member: &Member, error: GroupError, out: &mut Vec<Output>) {
    if let Some(ticket) = member.awaiting_join {
        let answer = JoinAnswer::refused(member.id.clone(), error);
        out.push(Output::Reply {
            ticket,
            response: Response::Join(answer),
        });
    }
    if let Some(ticket) = member.awaiting_sync {
        out.push(Output::Reply {
            ticket,
            response: Response::Sync(Err(error)),
        });
    }
}

/// Milliseconds as clients send them: a negative number is none.
pub(super) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The refusal in place of an answer.
pub(super) fn failed(answer: &Response, error: GroupError) -> Response {
    match answer {
        Response::OffsetDelete(_) => Response::OffsetDelete(Err(error)),
        Response::Delete(_) => Response::Delete(Err(error)),
        _ => Response::OffsetCommit(Err(error)),
    }
}
