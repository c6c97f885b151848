//! Incremental fetch sessions (KIP-227): what a reader asked for before, and what it was told.
//!
//! A reader of many partitions names them once. Later requests of the session name only what
//! changed, and answers only hold partitions that have news: records, a moved high watermark or log
//! start, an error. A session has an epoch that each request must continue, so a lost or repeated
//! request is noticed and the reader starts over.
//!
//! The cache is bounded (`max.incremental.fetch.session.cache.slots`). A reader that finds it full
//! simply gets no session, and neither does one that names more partitions than a session may hold.
//! Who may push out whom is Kafka's rule (KIP-227, KAFKA-9401): anyone one that has been idle; a
//! replica any reader; a larger session a smaller one that is not young.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use crate::{
    limits::{FETCH_SESSION_PARTITIONS_MAX, FETCH_SESSIONS_PARTITIONS_MAX},
    marks,
    time::Instant,
};

#[cfg(test)]
mod tests;

/// No session.
pub const INVALID_SESSION_ID: i32 = 0;
/// Asks for a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// Asks for no session, and ends the one that is named.
pub const FINAL_EPOCH: i32 = -1;

/// What a reader wants of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The first offset.
    pub fetch_offset: i64,
    /// About how many bytes at most.
    pub max_bytes: i32,
    /// The leader epoch that the reader knows, or -1.
    pub current_leader_epoch: i32,
    /// The epoch of the last record it has, or -1.
    pub last_fetched_epoch: i32,
    /// Where a replica's own log starts, or -1.
    pub log_start_offset: i64,
}

/// What a partition's answer says, as far as it decides whether the answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How many bytes of records.
    pub record_bytes: usize,
    /// The high watermark.
    pub high_watermark: i64,
    /// The log's start.
    pub log_start: i64,
    /// Whether it must be sent anyway: an error, a diverging epoch, a preferred replica.
    pub notable: bool,
    /// Whether it is an error.
    pub error: bool,
}

/// Why a request cannot continue its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// `FETCH_SESSION_ID_NOT_FOUND`.
    #[error("no fetch session {id}")]
    NotFound {
        /// The one named.
        id: i32,
    },
    /// `INVALID_FETCH_SESSION_EPOCH`.
    #[error("fetch session epoch {got}, expected {expected}")]
    InvalidEpoch {
        /// The one that continues the session.
        expected: i32,
        /// The one given.
        got: i32,
    },
    /// `FETCH_SESSION_TOPIC_ID_ERROR`.
    #[error(
        "the fetch session was begun with topic ids: {session}; this request uses them: {request}"
    )]
    TopicIds {
        /// How the session was begun.
        session: bool,
        /// How the request is made.
        request: bool,
    },
}

/// A fetch request as far as sessions go. `K` names a partition.
#[derive(Clone, Debug)]
pub struct Request<K> {
    /// Which session, or [`INVALID_SESSION_ID`].
    pub session_id: i32,
    /// [`INITIAL_EPOCH`], [`FINAL_EPOCH`] or the session's next.
    pub epoch: i32,
    /// Whether topics are named by id (version 13 on).
    pub uses_topic_ids: bool,
    /// Whether it comes from a replica.
    pub privileged: bool,
    /// New partitions, and those wanted otherwise than before.
    pub partitions: Vec<(K, Wanted)>,
    /// Partitions no longer wanted.
    pub forgotten: Vec<K>,
}

/// A request that was taken: all that it wants, in the order in which it is to be served.
#[derive(Clone, Debug)]
pub struct Context<K> {
    /// The partitions.
    pub partitions: Vec<(K, Wanted)>,
    kind: Kind,
}

impl<K> Context<K> {
    /// Whether this continues a session, so that its answer leaves out what has no news.
    #[must_use]
    pub fn is_incremental(&self) -> bool {
        matches!(self.kind, Kind::Incremental { .. })
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Sessionless,
    Full {
        uses_topic_ids: bool,
        privileged: bool,
    },
    Incremental {
        id: i32,
        next_epoch: i32,
    },
}

/// How to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The session the reader may continue, or [`INVALID_SESSION_ID`].
    pub session_id: i32,
    /// For each partition that was served, in order, whether its answer is sent.
    pub sent: Vec<bool>,
}

/// The sessions of a broker.
#[derive(Debug)]
pub struct Sessions<K> {
    slots_max: usize,
    idle_min: Duration,
    sessions: BTreeMap<i32, Session<K>>,
    last_used: BTreeSet<(Instant, i32)>,
    evictable_by_all: BTreeSet<Worth>,
    evictable_by_privileged: BTreeSet<Worth>,
    evictions: u64,
}

/// The order in which sessions are given up: readers before replicas, small before large.
type Worth = (bool, usize, i32);

#[derive(Debug)]
struct Session<K> {
    epoch: i32,
    uses_topic_ids: bool,
    privileged: bool,
    created_at: Instant,
    last_used_at: Instant,
    /// As it stands in the eviction order.
    worth: Worth,
    partitions: BTreeMap<K, Cached>,
    /// The serving order: a partition that gave records goes to the end.
    order: BTreeMap<u64, K>,
    next_place: u64,
}

#[derive(Clone, Copy, Debug)]
struct Cached {
    place: u64,
    wanted: Wanted,
    high_watermark: i64,
    log_start: i64,
}

impl<K: Clone + Ord> Sessions<K> {
    /// An empty cache of `slots_max` sessions, in which one that was idle for `idle_min` may be
    /// pushed out by any other.
    #[must_use]
    pub fn new(slots_max: usize, idle_min: Duration) -> Self {
        Self {
            slots_max,
            idle_min,
            sessions: BTreeMap::new(),
            last_used: BTreeSet::new(),
            evictable_by_all: BTreeSet::new(),
            evictable_by_privileged: BTreeSet::new(),
            evictions: 0,
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many partitions all sessions hold together.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.sessions.values().map(|s| s.partitions.len()).sum()
    }

    /// How many sessions were pushed out so far.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Takes a request: finds its session, brings it up to date, and says what is wanted now.
    pub fn begin(&mut self, now: Instant, request: Request<K>) -> Result<Context<K>, SessionError> {
        if matches!(request.epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            self.remove(request.session_id);
            let kind = if request.epoch == FINAL_EPOCH {
                Kind::Sessionless
            } else {
                Kind::Full {
                    uses_topic_ids: request.uses_topic_ids,
                    privileged: request.privileged,
                }
            };
            return Ok(Context {
                partitions: request.partitions,
                kind,
            });
        }
        let id = request.session_id;
        let session = self.sessions.get_mut(&id).ok_or_else(|| {
            marks::FETCH_SESSION_UNKNOWN.reach();
            SessionError::NotFound { id }
        })?;
        if session.epoch != request.epoch {
            return Err(SessionError::InvalidEpoch {
                expected: session.epoch,
                got: request.epoch,
            });
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return Err(SessionError::TopicIds {
                session: session.uses_topic_ids,
                request: request.uses_topic_ids,
            });
        }
        for (key, wanted) in &request.partitions {
            session.want(key, *wanted);
        }
        for key in &request.forgotten {
            session.forget(key);
        }
        if session.partitions.is_empty() {
            self.remove(id);
            return Ok(Context {
                partitions: request.partitions,
                kind: Kind::Sessionless,
            });
        }
        let is_too_large = session.partitions.len() > FETCH_SESSION_PARTITIONS_MAX;
        let grew = !request.partitions.is_empty();
        if is_too_large || grew && self.partitions() > FETCH_SESSIONS_PARTITIONS_MAX {
            return Ok(self.dissolve(id));
        }
        let session = self
            .sessions
            .get_mut(&id)
            .ok_or(SessionError::NotFound { id })?;
        marks::FETCH_SESSION_RESUMED.reach();
        session.epoch = next_epoch(session.epoch);
        let next_epoch = session.epoch;
        let partitions = session.wanted();
        self.touch(id, now);
        Ok(Context {
            partitions,
            kind: Kind::Incremental { id, next_epoch },
        })
    }

    /// Says which answers are sent, and remembers them. `told` belongs to the context's partitions,
    /// one each and in their order. `random` is for the id of a new session.
    pub fn finish(
        &mut self,
        now: Instant,
        context: &Context<K>,
        told: &[Told],
        random: u32,
    ) -> Result<Answer, SessionError> {
        let all = || alloc::vec![true; told.len()];
        match context.kind {
            Kind::Sessionless => Ok(Answer {
                session_id: INVALID_SESSION_ID,
                sent: all(),
            }),
            Kind::Full {
                uses_topic_ids,
                privileged,
            } => {
                let session_id = if context.partitions.is_empty() {
                    INVALID_SESSION_ID
                } else {
                    self.create(now, context, told, random, uses_topic_ids, privileged)
                };
                Ok(Answer {
                    session_id,
                    sent: all(),
                })
            }
            Kind::Incremental { id, next_epoch } => {
                let Some(session) = self.sessions.get_mut(&id) else {
                    // Pushed out meanwhile: the reader will find out with its next request.
                    return Ok(Answer {
                        session_id: id,
                        sent: all(),
                    });
                };
                if session.epoch != next_epoch {
                    return Err(SessionError::InvalidEpoch {
                        expected: session.epoch,
                        got: next_epoch,
                    });
                }
                let sent = context
                    .partitions
                    .iter()
                    .zip(told)
                    .map(|((key, _), told)| session.tell(key, told))
                    .collect();
                Ok(Answer {
                    session_id: id,
                    sent,
                })
            }
        }
    }

    fn create(
        &mut self,
        now: Instant,
        context: &Context<K>,
        told: &[Told],
        random: u32,
        uses_topic_ids: bool,
        privileged: bool,
    ) -> i32 {
        let size = context.partitions.len();
        if size > FETCH_SESSION_PARTITIONS_MAX {
            return INVALID_SESSION_ID;
        }
        while self.sessions.len() >= self.slots_max
            || self.partitions() + size > FETCH_SESSIONS_PARTITIONS_MAX
        {
            if !self.evict(now, (privileged, size, 0)) {
                return INVALID_SESSION_ID;
            }
        }
        let mut id = (random & 0x7fff_ffff).max(1).cast_signed();
        while self.sessions.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(1);
        }
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids,
            privileged,
            created_at: now,
            last_used_at: now,
            worth: (privileged, size, id),
            partitions: BTreeMap::new(),
            order: BTreeMap::new(),
            next_place: 0,
        };
        for ((key, wanted), told) in context.partitions.iter().zip(told) {
            session.want(key, *wanted);
            session.remember(key, told);
        }
        self.sessions.insert(id, session);
        self.touch(id, now);
        id
    }

    /// Ends a session that has become too large. All that it wants is answered once more, and the
    /// reader learns that it has none.
    fn dissolve(&mut self, id: i32) -> Context<K> {
        let partitions = self.sessions.get(&id).map(Session::wanted);
        self.remove(id);
        Context {
            partitions: partitions.unwrap_or_default(),
            kind: Kind::Sessionless,
        }
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.last_used.remove(&(session.last_used_at, id));
            self.evictable_by_all.remove(&session.worth);
            self.evictable_by_privileged.remove(&session.worth);
        }
    }

    fn touch(&mut self, id: i32, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        self.last_used.remove(&(session.last_used_at, id));
        session.last_used_at = now;
        self.last_used.insert((now, id));
        self.evictable_by_all.remove(&session.worth);
        self.evictable_by_privileged.remove(&session.worth);
        session.worth = (session.privileged, session.partitions.len(), id);
        let settled = now.since(session.created_at) > self.idle_min;
        if !session.privileged || settled {
            self.evictable_by_privileged.insert(session.worth);
        }
        if settled {
            self.evictable_by_all.insert(session.worth);
        }
    }

    /// Makes room for a session of the worth given, if there is one that must yield to it.
    fn evict(&mut self, now: Instant, newcomer: Worth) -> bool {
        let idle = self
            .last_used
            .first()
            .filter(|(at, _)| now.since(*at) > self.idle_min);
        let yielding = if newcomer.0 {
            &self.evictable_by_privileged
        } else {
            &self.evictable_by_all
        };
        let victim = idle.map(|&(_, id)| id).or_else(|| {
            yielding
                .first()
                .filter(|worth| newcomer >= **worth)
                .map(|worth| worth.2)
        });
        match victim {
            Some(_) => marks::FETCH_SESSION_EVICTED.reach(),
            None => marks::FETCH_SESSION_REFUSED.reach(),
        }
        if let Some(id) = victim {
            self.remove(id);
            self.evictions += 1;
        }
        victim.is_some()
    }
}

impl<K: Clone + Ord> Session<K> {
    /// All that is wanted, in the serving order.
    fn wanted(&self) -> Vec<(K, Wanted)> {
        self.order
            .values()
            .filter_map(|key| Some((key.clone(), self.partitions.get(key)?.wanted)))
            .collect()
    }

    fn want(&mut self, key: &K, wanted: Wanted) {
        if let Some(cached) = self.partitions.get_mut(key) {
            cached.wanted = wanted;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.order.insert(place, key.clone());
        let cached = Cached {
            place,
            wanted,
            high_watermark: -1,
            log_start: -1,
        };
        self.partitions.insert(key.clone(), cached);
    }

    fn forget(&mut self, key: &K) {
        if let Some(cached) = self.partitions.remove(key) {
            self.order.remove(&cached.place);
        }
    }

    fn remember(&mut self, key: &K, told: &Told) {
        if let Some(cached) = self.partitions.get_mut(key) {
            // After an error the partition is sent again when it is well, whatever it says then.
            cached.high_watermark = if told.error { -1 } else { told.high_watermark };
            cached.log_start = told.log_start;
        }
    }

    /// Whether `told` is news, which is then remembered.
    fn tell(&mut self, key: &K, told: &Told) -> bool {
        let Some(cached) = self.partitions.get(key) else {
            return true;
        };
        let news = told.record_bytes > 0
            || told.notable
            || told.error
            || cached.high_watermark != told.high_watermark
            || cached.log_start != told.log_start;
        self.remember(key, told);
        if told.record_bytes > 0 {
            self.move_to_end(key);
        }
        news
    }

    fn move_to_end(&mut self, key: &K) {
        let Some(cached) = self.partitions.get_mut(key) else {
            return;
        };
        let place = self.next_place;
        self.next_place += 1;
        if let Some(key) = self.order.remove(&cached.place) {
            self.order.insert(place, key);
        }
        cached.place = place;
    }
}

/// The epoch that follows: 0 and -1 have their own meaning, so after the last comes 1.
fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        FINAL_EPOCH => FINAL_EPOCH,
        i32::MAX => 1,
        epoch => epoch + 1,
    }
}
