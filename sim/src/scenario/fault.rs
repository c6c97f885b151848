//! Faults: at given times, and drawn from the seed.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Scenario, Span};
use crate::random::SimRandom;

/// The stream that chaos draws its faults from.
pub const FAULTS_STREAM: &str = "faults";

/// A fault at a given time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins.
    pub at: Span,
    /// What it is.
    pub fault: FaultKind,
    /// Which node it befalls: `broker`, `producer1`, `consumer1`, `member1`, ...
    #[serde(default = "default_node")]
    pub node: String,
    /// How long it lasts; for a process, how long it stays down.
    #[serde(default = "default_lasts")]
    pub lasts: Span,
}

fn default_node() -> String {
    "broker".to_owned()
}

fn default_lasts() -> Span {
    Span(Duration::from_secs(1))
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The process is killed; the page cache stays.
    Kill,
    /// The node loses power.
    PowerLoss,
    /// The broker is asked to stop, and started again.
    Stop,
    /// Nothing gets to the node.
    CutTo,
    /// Nothing gets away from the node.
    CutFrom,
    /// Neither.
    Cut,
    /// All connections of the node are reset.
    Reset,
    /// Everything to and from the node takes longer.
    SlowNetwork,
    /// The node's disk is nearly full.
    DiskFull,
    /// The node's disk is slow.
    SlowDisk,
}

/// Faults drawn from the seed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// Which kinds.
    pub kinds: Vec<FaultKind>,
    /// One about this often.
    pub every: Span,
}

impl Scenario {
    /// All faults in order of time, those of the chaos drawn.
    #[must_use]
    pub fn schedule(&self, random: &mut SimRandom) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        if let Some(chaos) = self.chaos.as_ref().filter(|chaos| !chaos.kinds.is_empty()) {
            let nodes = self.node_names();
            let every = u64::try_from(chaos.every.0.as_millis())
                .unwrap_or(u64::MAX)
                .max(1);
            let end = u64::try_from(self.workload.duration.0.as_millis()).unwrap_or(u64::MAX);
            let mut at = random.within(every / 2..=every * 2);
            while at < end {
                // Mostly the broker: it is what has something to lose.
                let node = match random.chance(3, 4) {
                    true => default_node(),
                    false => nodes[random.index(nodes.len())].clone(),
                };
                faults.push(Fault {
                    at: Span(Duration::from_millis(at)),
                    fault: random.pick(&chaos.kinds),
                    node,
                    lasts: Span(Duration::from_millis(random.within(50..=3000))),
                });
                at += random.within(every / 2..=every * 2).max(1);
            }
        }
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    /// The same story with every fault written out: with this seed it runs as before, event for event.
    #[must_use]
    pub fn with_drawn_faults(&self, seed: u64) -> Self {
        Self {
            faults: self.schedule(&mut SimRandom::new(seed, FAULTS_STREAM)),
            chaos: None,
            ..self.clone()
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FaultKind {
    /// Its name in scenario files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerLoss => "power-loss",
            Self::Stop => "stop",
            Self::CutTo => "cut-to",
            Self::CutFrom => "cut-from",
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::SlowNetwork => "slow-network",
            Self::DiskFull => "disk-full",
            Self::SlowDisk => "slow-disk",
        }
    }
}
