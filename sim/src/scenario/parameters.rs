//! What a fault may be told beside when, where and how long: how strong it is.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{FaultKind, Span};
use crate::{net::Spread, random::SimRandom};

/// How strong a fault is. What is left out has a default; what does not belong to the kind is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Of ten thousand operations of the disk, so many fail: `read-errors`, `write-errors`, `sync-errors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_10000: Option<u32>,
    /// How many times as long an operation takes: `slow-disk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What is left on the disk: `disk-full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// How much longer a message takes on average: `slow-network`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Span>,
    /// How that is spread: `slow-network`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// What gets through: `bandwidth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// How far the wall clock is ahead (behind, where it is negative): `clock-skew`, `clock-jump`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead_ms: Option<i64>,
    /// By how many microseconds a second the wall clock is too fast: `clock-drift`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppm: Option<i64>,
    /// Only files whose path contains this: `bit-rot`, `misdirected-write`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// How many bits: `bit-rot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// Settings that are others from then on, by Kafka's names: `reconfigure`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

/// What a restart may change under a broker without taking anything from what it promised.
const SAFE_SETTINGS: &[(&str, &[&str])] = &[
    ("log.segment.bytes", &["1048576", "2097152", "1073741824"]),
    ("log.index.interval.bytes", &["64", "512", "4096"]),
    ("log.retention.check.interval.ms", &["500", "5000"]),
    ("log.flush.offset.checkpoint.interval.ms", &["300", "60000"]),
    ("log.segment.delete.delay.ms", &["0", "60000"]),
    ("num.partitions", &["1", "3"]),
    ("num.recovery.threads.per.data.dir", &["1", "2", "4"]),
    ("max.incremental.fetch.session.cache.slots", &["0", "1000"]),
    ("group.initial.rebalance.delay.ms", &["0", "100", "3000"]),
    ("fetch.max.bytes", &["1024", "57671680"]),
    ("offsets.topic.segment.bytes", &["4096", "104857600"]),
];

impl Parameters {
    /// Which parameters a kind takes.
    fn taken_by(kind: FaultKind) -> &'static [&'static str] {
        use FaultKind as K;
        match kind {
            K::ReadErrors | K::WriteErrors | K::SyncErrors => &["per_10000"],
            K::SlowDisk => &["times"],
            K::DiskFull => &["free_bytes"],
            K::SlowNetwork => &["latency", "spread"],
            K::Bandwidth => &["bytes_per_second"],
            K::ClockSkew | K::ClockJump => &["ahead_ms"],
            K::ClockDrift => &["ppm"],
            K::BitRot => &["files", "bits"],
            K::MisdirectedWrite => &["files"],
            K::Reconfigure => &["config"],
            _ => &[],
        }
    }

    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("per_10000", self.per_10000.is_some()),
            ("times", self.times.is_some()),
            ("free_bytes", self.free_bytes.is_some()),
            ("latency", self.latency.is_some()),
            ("spread", self.spread.is_some()),
            ("bytes_per_second", self.bytes_per_second.is_some()),
            ("ahead_ms", self.ahead_ms.is_some()),
            ("ppm", self.ppm.is_some()),
            ("files", self.files.is_some()),
            ("bits", self.bits.is_some()),
            ("config", !self.config.is_empty()),
        ];
        all.into_iter()
            .filter_map(|(name, given)| given.then_some(name))
            .collect()
    }

    /// What is wrong with these for a fault of this kind, if anything is.
    pub(super) fn check(&self, kind: FaultKind) -> Result<(), String> {
        let taken = Self::taken_by(kind);
        if let Some(wrong) = self.given().into_iter().find(|name| !taken.contains(name)) {
            let expected = match taken {
                [] => "nothing".to_owned(),
                names => names.join(", "),
            };
            return Err(format!("\"{wrong}\" is given; expected {expected}"));
        }
        if self
            .per_10000
            .is_some_and(|rate| rate == 0 || rate > 10_000)
        {
            return Err("per_10000 is out of range; expected 1 to 10000".to_owned());
        }
        let zero =
            self.bytes_per_second == Some(0) || self.times == Some(0) || self.bits == Some(0);
        if zero {
            return Err(format!(
                "0 is given; expected {} of at least 1",
                taken.join(", ")
            ));
        }
        if self.ppm.is_some_and(|ppm| ppm.abs() > 900_000) {
            return Err("ppm is out of range; expected -900000 to 900000".to_owned());
        }
        Ok(())
    }

    /// Drawn ones for a fault of this kind.
    pub(super) fn drawn(kind: FaultKind, random: &mut SimRandom) -> Self {
        use FaultKind as K;
        let mut drawn = Self::default();
        match kind {
            K::ReadErrors | K::WriteErrors | K::SyncErrors => {
                drawn.per_10000 = Some(random.pick(&[100, 1_000, 5_000, 10_000]));
            }
            K::SlowDisk => drawn.times = Some(random.pick(&[5, 60, 300])),
            K::DiskFull => drawn.free_bytes = Some(random.pick(&[0, 20_000, 200_000])),
            K::SlowNetwork => {
                let latency = random.pick(&[5, 50, 400, 1_500]);
                drawn.latency = Some(Span(Duration::from_millis(latency)));
                drawn.spread =
                    Some(random.pick(&[Spread::Constant, Spread::Uniform, Spread::Exponential]));
            }
            K::Bandwidth => drawn.bytes_per_second = Some(random.pick(&[20_000, 100_000, 500_000])),
            K::ClockSkew | K::ClockJump => {
                let far = random.pick(&[1, 100, 1_000, 60_000, 1_800_000]);
                drawn.ahead_ms = Some(if random.chance(1, 2) { far } else { -far });
            }
            K::ClockDrift => {
                let ppm = random.pick(&[50, 1_000, 200_000]);
                drawn.ppm = Some(if random.chance(1, 2) { ppm } else { -ppm });
            }
            K::Reconfigure => {
                for _ in 0..random.within(1..=3) {
                    let (key, values) = random.pick(SAFE_SETTINGS);
                    let value = random.pick(values);
                    drawn.config.insert(key.to_owned(), value.to_owned());
                }
            }
            _ => {}
        }
        drawn
    }
}
