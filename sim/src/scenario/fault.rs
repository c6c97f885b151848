//! Faults: at given times, and drawn from the seed.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Parameters, Scenario, Span};
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
    /// How strong it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub with: Parameters,
}

fn is_default(parameters: &Parameters) -> bool {
    *parameters == Parameters::default()
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
    /// The process does not run while the world goes on.
    Pause,
    /// The broker is killed and starts again on an empty disk.
    Wipe,
    /// The broker is stopped and started with other settings.
    Reconfigure,
    /// Nothing gets to the node.
    CutTo,
    /// Nothing gets away from the node.
    CutFrom,
    /// Neither.
    Cut,
    /// All connections of the node are reset.
    Reset,
    /// The node loses all its connections, and the peers are not told.
    HalfOpen,
    /// New connections to the node are refused; those that stand go on.
    RefuseConnects,
    /// New connections to the node get no answer; those that stand go on.
    DropConnects,
    /// Everything to and from the node takes longer.
    SlowNetwork,
    /// Little gets through to and from the node at a time.
    Bandwidth,
    /// The node's disk is nearly full.
    DiskFull,
    /// The node's disk is slow.
    SlowDisk,
    /// Nothing comes back from the node's disk.
    StallDisk,
    /// Reads of the node's disk fail.
    ReadErrors,
    /// Writes to the node's disk fail, some half-way.
    WriteErrors,
    /// Syncs of the node's disk fail, and lose some of what was to be synced.
    SyncErrors,
    /// Bits that were durable are others.
    BitRot,
    /// The next write goes to another place of the disk.
    MisdirectedWrite,
    /// The node's wall clock is wrong, and then corrected.
    ClockSkew,
    /// The node's wall clock goes too fast or too slowly, and is then corrected.
    ClockDrift,
    /// The node's wall clock is set, for good.
    ClockJump,
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

impl Chaos {
    fn drawn_fault(&self, at: u64, nodes: &[String], random: &mut SimRandom) -> Fault {
        let fault = random.pick(&self.kinds);
        // Mostly the broker: it is what has something to lose.
        let node = match fault.is_brokers() || random.chance(3, 4) {
            true => default_node(),
            false => nodes[random.index(nodes.len())].clone(),
        };
        let lasts = match random.chance(1, 10) {
            true => random.within(3_000..=12_000),
            false => random.within(50..=3_000),
        };
        Fault {
            at: Span(Duration::from_millis(at)),
            fault,
            node,
            lasts: Span(Duration::from_millis(lasts)),
            with: Parameters::drawn(fault, random),
        }
    }
}

/// A power loss takes only what is not synced, and on a quick disk that is next to nothing: before half
/// of them the disk is slow.
fn slow_disk_before(fault: &Fault, random: &mut SimRandom) -> Option<Fault> {
    const BEFORE: Duration = Duration::from_millis(500);
    let of_broker = fault.fault == FaultKind::PowerLoss && fault.node == "broker";
    let at = fault.at.0.checked_sub(BEFORE)?;
    (of_broker && random.chance(1, 2)).then(|| Fault {
        at: Span(at),
        fault: FaultKind::SlowDisk,
        node: default_node(),
        lasts: Span(BEFORE + Duration::from_millis(100)),
        with: Parameters::default(),
    })
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
                let fault = chaos.drawn_fault(at, &nodes, random);
                faults.extend(slow_disk_before(&fault, random));
                faults.push(fault);
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
    /// Whether a wall clock is wrong in it.
    #[must_use]
    pub fn is_of_clocks(self) -> bool {
        matches!(self, Self::ClockSkew | Self::ClockDrift | Self::ClockJump)
    }

    /// Every kind that a broker with one copy of everything must come through without losing what it
    /// has acknowledged: what an honest fuzz draws from.
    pub const SURVIVED: [Self; 23] = [
        Self::Kill,
        Self::PowerLoss,
        Self::Stop,
        Self::Pause,
        Self::Reconfigure,
        Self::CutTo,
        Self::CutFrom,
        Self::Cut,
        Self::Reset,
        Self::HalfOpen,
        Self::RefuseConnects,
        Self::DropConnects,
        Self::SlowNetwork,
        Self::Bandwidth,
        Self::DiskFull,
        Self::SlowDisk,
        Self::StallDisk,
        Self::ReadErrors,
        Self::WriteErrors,
        Self::SyncErrors,
        Self::ClockSkew,
        Self::ClockDrift,
        Self::ClockJump,
    ];

    /// Whether it takes away what was acknowledged: a scenario with it expects `damaged`.
    #[must_use]
    pub fn is_damage(self) -> bool {
        matches!(self, Self::Wipe | Self::BitRot | Self::MisdirectedWrite)
    }

    /// Whether it befalls what only the broker has: a disk, settings, a way to be stopped.
    #[must_use]
    pub fn is_brokers(self) -> bool {
        use FaultKind as K;
        matches!(self, K::Stop | K::Wipe | K::Reconfigure) || self.is_disks()
    }

    fn is_disks(self) -> bool {
        use FaultKind as K;
        let slow_or_full = matches!(self, K::DiskFull | K::SlowDisk | K::StallDisk);
        let fails = matches!(self, K::ReadErrors | K::WriteErrors | K::SyncErrors);
        slow_or_full || fails || matches!(self, K::BitRot | K::MisdirectedWrite)
    }

    /// Its name in scenario files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerLoss => "power-loss",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Wipe => "wipe",
            Self::Reconfigure => "reconfigure",
            Self::CutTo => "cut-to",
            Self::CutFrom => "cut-from",
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::HalfOpen => "half-open",
            Self::RefuseConnects => "refuse-connects",
            Self::DropConnects => "drop-connects",
            Self::SlowNetwork => "slow-network",
            Self::Bandwidth => "bandwidth",
            Self::DiskFull => "disk-full",
            Self::SlowDisk => "slow-disk",
            Self::StallDisk => "stall-disk",
            Self::ReadErrors => "read-errors",
            Self::WriteErrors => "write-errors",
            Self::SyncErrors => "sync-errors",
            Self::BitRot => "bit-rot",
            Self::MisdirectedWrite => "misdirected-write",
            Self::ClockSkew => "clock-skew",
            Self::ClockDrift => "clock-drift",
            Self::ClockJump => "clock-jump",
        }
    }
}
