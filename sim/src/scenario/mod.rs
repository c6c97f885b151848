//! A scenario: what a run consists of, as a file of TOML or drawn from a seed.
//!
//! A file names the cluster's settings, topics, the workload, faults at given times, chaos that
//! draws more of them, and what is expected. An unknown or wrong key is refused with its line. A
//! fuzz run is a scenario drawn from its seed, so that whatever fails can be written as a file.

mod drawn;
mod fault;
mod parameters;
mod span;
mod text;
pub mod tree;
mod workload;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    fault::{Chaos, FAULTS_STREAM, Fault, FaultKind},
    parameters::Parameters,
    span::Span,
    workload::{AssignorKind, Workload},
};

/// What a run consists of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The seed to run with where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
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
    /// The nodes of processes that are no workload of ours ([`crate::app`]); no file names them.
    #[serde(skip)]
    pub applications: Vec<String>,
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

/// What must hold beside the invariants.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Once the faults are over, everything outstanding ends within this time.
    pub within: Span,
    /// At least so many records are acknowledged.
    pub acknowledged_min: u64,
    /// Faults take away what was acknowledged. What the broker tells of is no violation then; passing
    /// damage off as data is (see `check::damage`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            within: Span(Duration::from_secs(180)),
            acknowledged_min: 1,
            damaged: false,
        }
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
    /// A fault cannot be as it is described.
    #[error("[[faults]] at {at:?}, \"{fault}\": {wrong}")]
    Fault {
        /// When it is to be.
        at: Duration,
        /// Its kind.
        fault: FaultKind,
        /// What is wrong, and what was expected.
        wrong: String,
    },
    /// A fault takes away what was acknowledged, and nobody said so.
    #[error(
        "the fault \"{0}\" takes away what was acknowledged; expected damaged = true in [expect]"
    )]
    Damage(FaultKind),
}

impl Scenario {
    /// Reads a file's text.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        toml::from_str::<Self>(text)?.checked()
    }

    /// What the grammar alone does not say.
    fn checked(self) -> Result<Self, ScenarioError> {
        if self.topics.is_empty() {
            return Err(ScenarioError::NoTopics);
        }
        let nodes = self.node_names();
        for fault in &self.faults {
            if !nodes.contains(&fault.node) {
                let (got, expected) = (fault.node.clone(), nodes.join(", "));
                return Err(ScenarioError::NoSuchNode { got, expected });
            }
            self.check_fault(fault)?;
        }
        let chaos = self.chaos.iter().flat_map(|chaos| &chaos.kinds);
        let mut kinds = self.faults.iter().map(|fault| &fault.fault).chain(chaos);
        match kinds.find(|kind| kind.is_damage()) {
            Some(kind) if !self.expect.damaged => Err(ScenarioError::Damage(*kind)),
            _ => Ok(self),
        }
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), ScenarioError> {
        let refused = |wrong| ScenarioError::Fault {
            at: fault.at.0,
            fault: fault.fault,
            wrong,
        };
        fault.with.check(fault.fault).map_err(refused)?;
        if fault.fault.is_brokers() && fault.node != "broker" {
            let wrong = format!(
                "it befalls {}; expected broker, which alone can have it",
                fault.node
            );
            return Err(refused(wrong));
        }
        let mut cluster = self.cluster.clone();
        cluster.config.extend(fault.with.config.clone());
        crate::server::check_settings(&cluster.config).map_err(refused)
    }

    /// After how many milliseconds, and from which size on, records of a topic may be deleted.
    #[must_use]
    pub fn retention(&self, topic: &Topic) -> (Option<i64>, Option<i64>) {
        let of = |key: &str| {
            let broker = self.cluster.config.get(&format!("log.{key}"));
            let text = topic.config.get(key).or(broker)?;
            text.parse().ok().filter(|limit| *limit >= 0)
        };
        (of("retention.ms"), of("retention.bytes"))
    }

    /// The names of its nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        let clients = self.workload.clients();
        let clients = clients
            .iter()
            .flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}{number}")));
        std::iter::once("broker".to_owned())
            .chain(clients)
            .chain(self.applications.iter().cloned())
            .collect()
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
        for (fault, expected) in [
            ("kill'\nwith={ppm=5}", "expected nothing"),
            (
                "sync-errors'\nwith={per_10000=20000}",
                "expected 1 to 10000",
            ),
            ("bandwidth'\nwith={bytes_per_second=0}", "at least 1"),
            ("disk-full'\nnode='producer1'", "expected broker"),
            ("bit-rot'", "damaged = true"),
            (
                "reconfigure'\nwith={config={'log.segment.bytes'='many'}}",
                "log.segment.bytes",
            ),
        ] {
            let message = refused(&format!(
                "{base}duration='5s'\n[[faults]]\nat='1s'\nfault='{fault}\n"
            ));
            assert!(message.contains(expected), "{message}");
        }
        let fault = "[[faults]]\nat='1s'\nfault='kill'\nnode='nobody'\n";
        let message = refused(&format!("{base}duration='5s'\n{fault}"));
        assert!(
            message.contains("nobody") && message.contains("producer1"),
            "{message}"
        );
    }
}
