//! Who produces and consumes in a run.

use std::time::Duration;

use ottla_client::consumer::Assignor;
use serde::{Deserialize, Serialize};

use super::Span;

/// Who produces and consumes, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Idempotent producers, each on a node of its own.
    pub producers: u32,
    /// Producers without idempotence, with any acks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub plain_producers: u32,
    /// Readers with partitions of their own that commit for one group, each on a node of its own.
    pub consumers: u32,
    /// Members of another group, which divides the partitions, each on a node of its own.
    #[serde(default)]
    pub members: u32,
    /// How that group divides them.
    #[serde(default)]
    pub assignor: AssignorKind,
    /// Readers of all partitions through incremental fetch sessions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub session_readers: u32,
    /// Clients that look for offsets by time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timers: u32,
    /// Administrators: each makes and deletes a topic of its own, again and again, and alters what
    /// belongs to everybody.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub admins: u32,
    /// Whether administrators delete records of everybody's topics.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes_records: bool,
    /// Clients that send garbage, half requests, and come and go.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hostiles: u32,
    /// How far a record's time may lie before the clock's.
    #[serde(default, skip_serializing_if = "is_no_time")]
    pub late_max: Span,
    /// How long readers rest between pages, at most.
    #[serde(default, skip_serializing_if = "is_no_time")]
    pub reader_pause_max: Span,
    /// How long they go on, faults included.
    pub duration: Span,
    /// The largest value of a record.
    #[serde(default = "default_payload")]
    pub payload_bytes_max: u32,
    /// The longest a producer rests between bursts.
    #[serde(default = "default_pause")]
    pub pause_max: Span,
}

/// What the members of a group say of how partitions are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssignorKind {
    /// Eager: everything is given up at each rebalance.
    #[default]
    Range,
    /// Cooperative: only what moves is given up.
    CooperativeSticky,
    /// Both, as Kafka's own consumer does by default.
    Both,
}

impl AssignorKind {
    /// The client's setting.
    #[must_use]
    pub fn assignors(self) -> Vec<Assignor> {
        match self {
            Self::Range => vec![Assignor::Range],
            Self::CooperativeSticky => vec![Assignor::CooperativeSticky],
            Self::Both => vec![Assignor::Range, Assignor::CooperativeSticky],
        }
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_no_time(span: &Span) -> bool {
    span.0.is_zero()
}

impl Workload {
    /// A workload without anybody.
    #[must_use]
    pub fn nobody(duration: Span) -> Self {
        Self {
            producers: 0,
            plain_producers: 0,
            consumers: 0,
            members: 0,
            session_readers: 0,
            timers: 0,
            admins: 0,
            deletes_records: false,
            hostiles: 0,
            assignor: AssignorKind::default(),
            late_max: Span::default(),
            reader_pause_max: Span::default(),
            duration,
            payload_bytes_max: default_payload(),
            pause_max: default_pause(),
        }
    }

    /// How many there are of each kind of client, by the names of their nodes.
    #[must_use]
    pub fn clients(&self) -> [(&'static str, u32); 8] {
        [
            ("producer", self.producers),
            ("plain", self.plain_producers),
            ("consumer", self.consumers),
            ("member", self.members),
            ("session", self.session_readers),
            ("timer", self.timers),
            ("admin", self.admins),
            ("hostile", self.hostiles),
        ]
    }
}

fn default_payload() -> u32 {
    300
}

fn default_pause() -> Span {
    Span(Duration::from_millis(100))
}
