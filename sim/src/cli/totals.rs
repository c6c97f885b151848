//! What many runs came to: printed at the end of fuzz, and kept as a report that others add up.

use std::{collections::BTreeMap, path::Path};

use ottla_core::marks;
use serde::{Deserialize, Serialize};

use super::{
    Misuse,
    cause::{self, Cause},
    report::{self, Report},
};

/// A fuzz of so many seeds reaches every mark, or fails.
pub(super) const SEEDS_FOR_MARKS: u64 = 1000;

/// What many runs came to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Totals {
    /// Which part of the seeds this is, of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shard: Option<String>,
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) seconds: f64,
    pub(super) virtual_ms: u64,
    pub(super) events: u64,
    pub(super) acknowledged: u64,
    pub(super) read: u64,
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) marks: BTreeMap<String, u64>,
    pub(super) causes: Vec<Cause>,
}

impl Totals {
    pub(super) fn runs(&self) -> u64 {
        self.passed + self.failed
    }

    /// Adds a run; true if it failed and is the first of its cause.
    pub(super) fn add(&mut self, seed: u64, report: &Report) -> bool {
        self.events += report.events;
        self.virtual_ms += report.virtual_ms;
        self.acknowledged += report.acknowledged;
        self.read += report.read;
        sum(&mut self.faults, &report.faults);
        sum(&mut self.marks, &report.marks);
        match report.violations.first() {
            None => {
                self.passed += 1;
                false
            }
            Some(broken) => {
                self.failed += 1;
                cause::add(&mut self.causes, seed, broken)
            }
        }
    }

    /// Adds what another fuzz came to.
    pub(super) fn merge(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.seconds += other.seconds;
        self.virtual_ms += other.virtual_ms;
        self.events += other.events;
        self.acknowledged += other.acknowledged;
        self.read += other.read;
        sum(&mut self.faults, &other.faults);
        sum(&mut self.marks, &other.marks);
        for cause in &other.causes {
            let broken = report::Broken {
                invariant: cause.invariant.clone(),
                detail: cause.detail.clone(),
            };
            for (nth, seed) in cause.seeds.iter().enumerate() {
                if cause::add(&mut self.causes, *seed, &broken)
                    && nth == 0
                    && let Some(new) = self.causes.last_mut()
                {
                    new.file.clone_from(&cause.file);
                }
            }
        }
    }

    /// Puts in order what came in the order in which processes ended.
    pub(super) fn sort(&mut self) {
        self.causes
            .sort_by_key(|cause| cause.seeds.first().copied());
    }

    pub(super) fn from_file(file: &Path) -> Result<Self, Misuse> {
        let place = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| Misuse::of(&place, error))?;
        serde_json::from_str(&text)
            .map_err(|error| Misuse::of(&place, format!("not a report of fuzz --report: {error}")))
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The marks that no run reached, each with what it says.
    pub(super) fn unreached(&self) -> Vec<(&'static str, &'static str)> {
        let reached = |name: &str| self.marks.get(name).is_some_and(|count| *count > 0);
        let all = marks::ALL.iter();
        all.filter(|mark| !reached(mark.name))
            .map(|mark| (mark.name, mark.says))
            .collect()
    }

    /// Whether these are seeds enough for every mark to be reached.
    pub(super) fn judges_marks(&self) -> bool {
        self.runs() >= SEEDS_FOR_MARKS
    }

    pub(super) fn print(&self) {
        let virtual_hours = self.virtual_ms as f64 / 3_600_000.0;
        println!(
            "{} seeds in {:.0} s ({:.1} a second): {virtual_hours:.2} virtual hours, {} events, {} records acknowledged, {} read",
            self.runs(),
            self.seconds,
            self.runs() as f64 / self.seconds.max(0.001),
            self.events,
            self.acknowledged,
            self.read,
        );
        println!("faults: {}", report::counts(self.faults.iter()));
    }

    /// How often each mark was reached.
    pub(super) fn print_marks(&self) {
        for mark in marks::ALL {
            let count = self.marks.get(mark.name).copied().unwrap_or_default();
            println!("{count:>10}  {:<32} {}", mark.name, mark.says);
        }
    }

    /// Says which marks were not reached; true if that is no failure.
    pub(super) fn print_unreached(&self, judged: bool) -> bool {
        let (all, unreached) = (marks::ALL.len(), self.unreached());
        println!("marks: {} of {all} reached", all - unreached.len());
        let word = if judged { "UNREACHED" } else { "not reached:" };
        for (name, says) in &unreached {
            println!("  {word} {name}: {says}");
        }
        !judged || unreached.is_empty()
    }
}

fn sum(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (name, count) in from {
        *to.entry(name.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(count: u64) -> Report {
        let all = marks::ALL.iter();
        Report {
            marks: all.map(|mark| (mark.name.to_owned(), count)).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn a_mark_that_one_of_two_shards_reached_is_reached_in_their_sum() {
        let (mut one, mut other) = (Totals::default(), Totals::default());
        one.add(1, &reached(0));
        other.add(2, &reached(3));
        assert_eq!(one.unreached().len(), marks::ALL.len());
        one.merge(&other);
        assert_eq!(one.unreached(), []);
        assert_eq!(one.passed, 2);
    }

    #[test]
    fn a_report_is_the_same_when_written_and_read() {
        let mut totals = Totals::default();
        totals.add(1, &reached(2));
        totals.add(2, &Report::none("lost_write", "one".to_owned()));
        let read: Totals = serde_json::from_str(&totals.to_json()).unwrap();
        assert_eq!(read, totals);
        assert_eq!((read.passed, read.failed, read.causes.len()), (1, 1, 1));
    }
}
