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
    /// Readers with partitions of their own that commit for one group, each on a node of its own.
    pub consumers: u32,
    /// Members of another group, which divides the partitions, each on a node of its own.
    #[serde(default)]
    pub members: u32,
    /// How that group divides them.
    #[serde(default)]
    pub assignor: AssignorKind,
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

fn default_payload() -> u32 {
    300
}

fn default_pause() -> Span {
    Span(Duration::from_millis(100))
}
