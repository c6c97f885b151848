//! A scenario: what a run consists of, as a file of TOML or drawn from a seed.
//!
//! A file names the cluster's settings, topics, the workload, faults at given times, chaos that
//! draws more of them, and what is expected. An unknown or wrong key is refused with its line. A
//! fuzz run is a scenario drawn from its seed, so that whatever fails can be written as a file.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use ottla_client::consumer::Assignor;

use crate::random::SimRandom;

/// What a run consists of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The broker.
    #[serde(default)]
    pub cluster: Cluster,
    /// Its topics; at least one.
    pub topics: Vec<Topic>,
    /// Who produces and consumes.
    pub workload: Workload,
    /// Faults at given times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// More faults, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaos: Option<Chaos>,
    /// What must hold beside the invariants.
    #[serde(default)]
    pub expect: Expect,
}

/// The broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The size of its disk.
    pub disk_bytes: u64,
    /// Its settings, by Kafka's names.
    pub config: BTreeMap<String, String>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            disk_bytes: 4 << 30,
            config: BTreeMap::new(),
        }
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Its settings, by Kafka's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

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

/// What must hold beside the invariants.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Once the faults are over, everything outstanding ends within this time.
    pub within: Span,
    /// At least so many records are acknowledged.
    pub acknowledged_min: u64,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            within: Span(Duration::from_secs(180)),
            acknowledged_min: 1,
        }
    }
}

/// A duration, written as `250ms` or `5s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = |number: &str, unit: u64| {
            let number = number.parse::<u64>().ok()?;
            Some(Self(Duration::from_millis(number.checked_mul(unit)?)))
        };
        let parsed = match text.strip_suffix("ms") {
            Some(number) => parse(number, 1),
            None => text
                .strip_suffix('s')
                .and_then(|number| parse(number, 1000)),
        };
        parsed.ok_or_else(|| {
            D::Error::custom(format!(
                "expected a duration such as \"250ms\" or \"5s\", got \"{text}\""
            ))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", self.0.as_millis()))
    }
}

/// Why a scenario file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The text is wrong; the message names line, key and what was expected.
    #[error("{0}")]
    Text(#[from] toml::de::Error),
    /// There is nothing to produce to.
    #[error("expected at least one [[topics]]")]
    NoTopics,
    /// A fault names a node that the scenario does not have.
    #[error("[[faults]] names node \"{got}\"; expected one of {expected}")]
    NoSuchNode {
        /// What was named.
        got: String,
        /// The nodes that there are.
        expected: String,
    },
}

impl Scenario {
    /// Reads a file's text.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)?;
        if scenario.topics.is_empty() {
            return Err(ScenarioError::NoTopics);
        }
        let nodes = scenario.node_names();
        for fault in &scenario.faults {
            if !nodes.contains(&fault.node) {
                let (got, expected) = (fault.node.clone(), nodes.join(", "));
                return Err(ScenarioError::NoSuchNode { got, expected });
            }
        }
        Ok(scenario)
    }

    /// The names of its nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        let producers = (1..=self.workload.producers).map(|n| format!("producer{n}"));
        let consumers = (1..=self.workload.consumers).map(|n| format!("consumer{n}"));
        let members = (1..=self.workload.members).map(|n| format!("member{n}"));
        std::iter::once("broker".to_owned())
            .chain(producers)
            .chain(consumers)
            .chain(members)
            .collect()
    }

    /// A scenario drawn from a seed. Which kinds of fault take part is drawn too (swarm testing),
    /// so that rare combinations are common.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        use FaultKind as K;
        let mut random = SimRandom::new(seed, "scenario");
        let all = [
            K::Kill,
            K::PowerLoss,
            K::PowerLoss,
            K::Stop,
            K::CutTo,
            K::CutFrom,
            K::Cut,
            K::Reset,
            K::SlowNetwork,
            K::DiskFull,
            K::SlowDisk,
        ];
        let mut kinds: Vec<K> = all.into_iter().filter(|_| random.chance(1, 2)).collect();
        if kinds.is_empty() {
            kinds.push(K::PowerLoss);
        }
        let config = Self::drawn_topic_config(&mut random);
        let cluster = Cluster {
            config: Self::drawn_broker_config(&mut random),
            ..Cluster::default()
        };
        let partitions = i32::try_from(random.within(1..=4)).unwrap_or(1);
        Self {
            cluster,
            topics: vec![Topic {
                name: "events".to_owned(),
                partitions,
                config,
            }],
            workload: Workload {
                producers: random.within(1..=3) as u32,
                consumers: random.within(1..=2) as u32,
                members: random.pick(&[0, 1, 2, 3]),
                assignor: random.pick(&[
                    AssignorKind::Range,
                    AssignorKind::CooperativeSticky,
                    AssignorKind::Both,
                ]),
                duration: Span(Duration::from_secs(random.within(6..=20))),
                payload_bytes_max: random.pick(&[40, 300, 3000]),
                pause_max: Span(Duration::from_millis(random.pick(&[10, 100, 400]))),
            },
            faults: Vec::new(),
            chaos: Some(Chaos {
                kinds,
                every: Span(Duration::from_millis(random.within(800..=5000))),
            }),
            expect: Expect::default(),
        }
    }

    /// Small segments and dense indexes make common what a large log meets once a day.
    fn drawn_topic_config(random: &mut SimRandom) -> BTreeMap<String, String> {
        let mut config = BTreeMap::new();
        let mut set = |key: &str, value: u64| config.insert(key.to_owned(), value.to_string());
        if random.chance(1, 2) {
            set("internal.segment.bytes", random.within(6..=200) * 1024);
        }
        if random.chance(1, 2) {
            set("index.interval.bytes", random.pick(&[64, 512, 4096]));
        }
        if random.chance(1, 4) {
            set("segment.ms", random.within(300..=4000));
        }
        config
    }

    /// Checkpoints within the run, so that recovery begins at them.
    fn drawn_broker_config(random: &mut SimRandom) -> BTreeMap<String, String> {
        let mut config = BTreeMap::new();
        if random.chance(1, 2) {
            let interval = random.within(200..=5000).to_string();
            for key in [
                "log.flush.offset.checkpoint.interval.ms",
                "log.flush.start.offset.checkpoint.interval.ms",
            ] {
                config.insert(key.to_owned(), interval.clone());
            }
        }
        config
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_scenario_is_the_same_when_written_and_read() {
        for seed in 0..50 {
            let drawn = Scenario::drawn(seed);
            let text = toml::to_string(&drawn).unwrap();
            assert_eq!(Scenario::from_toml(&text).unwrap(), drawn, "{text}");
        }
    }

    #[test]
    fn a_wrong_file_is_refused_with_line_key_and_what_was_expected() {
        let refused = |text: &str| Scenario::from_toml(text).unwrap_err().to_string();
        let base = "[[topics]]\nname='t'\npartitions=1\n[workload]\nproducers=1\nconsumers=1\n";
        let message = refused(&format!("{base}duration=\"5s\"\nproducer=2\n"));
        assert!(
            message.contains("line 8") && message.contains("`producer`"),
            "{message}"
        );
        let message = refused(&format!("{base}duration=\"5 minutes\"\n"));
        assert!(
            message.contains("line 7") && message.contains("expected a duration"),
            "{message}"
        );
        let fault = "[[faults]]\nat='1s'\nfault='kill'\nnode='nobody'\n";
        let message = refused(&format!("{base}duration='5s'\n{fault}"));
        assert!(
            message.contains("nobody") && message.contains("producer1"),
            "{message}"
        );
    }
}
