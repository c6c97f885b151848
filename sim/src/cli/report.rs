//! What came of one run: as words, and as what a child process tells of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::run::Outcome;

/// What a child process tells of its run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Report {
    pub(super) hash: String,
    pub(super) events: u64,
    pub(super) virtual_ms: u64,
    pub(super) acknowledged: u64,
    pub(super) read: u64,
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) marks: BTreeMap<String, u64>,
    pub(super) violations: Vec<Broken>,
}

/// An invariant that was broken, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Broken {
    pub(super) invariant: String,
    pub(super) detail: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

impl Report {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let counts = |counts: &BTreeMap<&'static str, u64>| {
            let counts = counts.iter();
            counts
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        let violations = outcome.violations.iter();
        Self {
            hash: outcome.hash.clone(),
            events: outcome.events,
            virtual_ms: u64::try_from(outcome.virtual_time.as_millis()).unwrap_or(u64::MAX),
            acknowledged: outcome.acknowledged,
            read: outcome.read,
            faults: counts(&outcome.faults),
            marks: counts(&outcome.marks),
            violations: violations
                .map(|violation| Broken {
                    invariant: violation.invariant.to_owned(),
                    detail: violation.detail.clone(),
                })
                .collect(),
        }
    }

    /// The report of a run that gave none: that is a failure, too.
    pub(super) fn none(invariant: &str, detail: String) -> Self {
        let invariant = invariant.to_owned();
        Self {
            violations: vec![Broken { invariant, detail }],
            ..Self::default()
        }
    }

    pub(super) fn breaks(&self, invariant: &str) -> bool {
        let mut violations = self.violations.iter();
        violations.any(|broken| broken.invariant == invariant)
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Prints what came of a run, and whether it passed.
pub(super) fn print(outcome: &Outcome) -> bool {
    let seconds = outcome.virtual_time.as_secs_f64();
    println!(
        "seed {}: {} events in {seconds:.1} virtual seconds; {} records acknowledged, {} read",
        outcome.seed, outcome.events, outcome.acknowledged, outcome.read
    );
    if !outcome.faults.is_empty() {
        println!("faults: {}", counts(outcome.faults.iter()));
    }
    for violation in &outcome.violations {
        println!("VIOLATION {violation}");
    }
    let passed = outcome.violations.is_empty();
    println!("{}", if passed { "passed" } else { "FAILED" });
    println!("hash {}", outcome.hash);
    passed
}

/// `3 kill, 2 stop`.
pub(super) fn counts<'a>(
    counts: impl Iterator<Item = (impl std::fmt::Display + 'a, &'a u64)>,
) -> String {
    counts
        .map(|(name, count)| format!("{count} {name}"))
        .collect::<Vec<_>>()
        .join(", ")
}
