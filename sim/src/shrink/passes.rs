//! The passes of shrinking: each makes smaller scenarios of one, in order of preference.
//!
//! Faults are taken away in ever smaller groups (delta debugging). Everything else is done on the tree
//! of TOML, without knowing the fields: a key that has a default is dropped, a number or a duration is
//! lowered, and what a scenario file would be refused for is no candidate. So a new field is shrunk
//! without a word here; it has one in [`LEAST`] where 1 is not the least that it may be, and in
//! [`KEPT`] where a lower value is no smaller scenario.
//!
//! Each candidate has fewer faults, fewer keys or lower numbers than what it was made of, so passes end.

use std::time::Duration;

use toml::{Table, Value};

use crate::scenario::{
    Fault, Scenario, Span,
    tree::{self, Place, Step},
};

/// A pass: smaller scenarios at a level of fineness, or none when there is no finer one.
type Pass = fn(&Scenario, u32) -> Option<Vec<Scenario>>;

/// All passes, those first that make the runs of the others shorter.
pub(super) const ALL: [(&str, Pass); 4] = [
    ("faults", faults),
    ("length", length),
    ("settings", settings),
    ("details of faults", details),
];

/// The least value of a number or a duration (in milliseconds) at a place; elsewhere it is 1.
const LEAST: [(&str, i64); 6] = [
    ("workload.producers", 0),
    ("workload.consumers", 0),
    ("workload.members", 0),
    ("workload.duration", 500),
    ("faults.at", 0),
    ("faults.lasts", 50),
];

/// What is dropped or left, but never lowered.
const KEPT: [&str; 3] = ["cluster.disk_bytes", "workload.pause_max", "chaos"];

/// What is never touched: the seed is the shrinker's, and a fault without its node is another's.
const UNTOUCHED: [&str; 4] = ["seed", "expect", "faults.node", "faults.fault"];

/// Faults taken away: all, halves, quarters, ..., each alone.
fn faults(scenario: &Scenario, level: u32) -> Option<Vec<Scenario>> {
    let count = scenario.faults.len();
    let size = count.checked_shr(level).filter(|size| *size > 0)?;
    let without = |first: usize| {
        let kept = scenario.faults.iter().enumerate();
        let kept = kept.filter(|(index, _)| !(first..first + size).contains(index));
        Scenario {
            faults: kept.map(|(_, fault)| fault.clone()).collect(),
            ..scenario.clone()
        }
    };
    Some((0..count).step_by(size).map(without).collect())
}

/// A shorter run: its end cut off, or its beginning, so that the faults come earlier.
fn length(scenario: &Scenario, level: u32) -> Option<Vec<Scenario>> {
    if level > 0 {
        return None;
    }
    let place = Place(vec![
        Step::Key("workload".to_owned()),
        Step::Key("duration".to_owned()),
    ]);
    let mut smaller = lowered(scenario, &scenario.to_table(), &place);
    let first = scenario.faults.iter().map(|fault| fault.at.0).min();
    let earlier = [1, 2, 4].map(|part| first.unwrap_or_default() / part);
    smaller.extend(earlier.into_iter().filter_map(|by| shifted(scenario, by)));
    Some(smaller)
}

/// All faults and the end earlier by about so much.
fn shifted(scenario: &Scenario, by: Duration) -> Option<Scenario> {
    let by = Duration::from_millis(rounded(millis(by), 100) as u64);
    if by.is_zero() {
        return None;
    }
    let earlier = |fault: &Fault| Fault {
        at: Span(fault.at.0.saturating_sub(by)),
        ..fault.clone()
    };
    let mut shifted = Scenario {
        faults: scenario.faults.iter().map(earlier).collect(),
        ..scenario.clone()
    };
    shifted.workload.duration = Span(scenario.workload.duration.0.checked_sub(by)?);
    Some(shifted)
}

/// Everything but the faults: dropped, or lowered.
fn settings(scenario: &Scenario, level: u32) -> Option<Vec<Scenario>> {
    (level == 0).then(|| edits(scenario, |name| !name.starts_with("faults")))
}

/// What the faults say of themselves.
fn details(scenario: &Scenario, level: u32) -> Option<Vec<Scenario>> {
    (level == 0).then(|| edits(scenario, |name| name.starts_with("faults.")))
}

fn edits(scenario: &Scenario, wanted: fn(&str) -> bool) -> Vec<Scenario> {
    let table = scenario.to_table();
    let mut smaller = Vec::new();
    for place in tree::places(&table) {
        let name = place.to_string();
        let lies_in = |part: &&str| name == **part || name.starts_with(&format!("{part}."));
        if !wanted(&name) || UNTOUCHED.iter().any(lies_in) {
            continue;
        }
        smaller.extend(edited(scenario, &table, |table| {
            tree::remove(table, &place);
        }));
        if !KEPT.iter().any(lies_in) {
            smaller.extend(lowered(scenario, &table, &place));
        }
    }
    smaller
}

/// Lower values at a place, the lowest first.
fn lowered(scenario: &Scenario, table: &Table, place: &Place) -> Vec<Scenario> {
    let name = place.to_string();
    let known = LEAST.iter().find(|(known, _)| *known == name);
    let least = known.map_or(1, |(_, least)| *least);
    let values: Vec<Value> = match tree::get(table, place) {
        // Of a large number the last few percent are not worth their runs.
        Some(Value::Integer(value)) => lower(*value, least, (*value / 16).max(1))
            .into_iter()
            .map(Value::Integer)
            .collect(),
        Some(Value::String(text)) => match Span::parse(text) {
            Some(span) => times(millis(span.0), least)
                .into_iter()
                .map(|millis| Value::String(format!("{millis}ms")))
                .collect(),
            None => Vec::new(),
        },
        _ => Vec::new(),
    };
    let values = values.into_iter();
    values
        .filter_map(|value| edited(scenario, table, |table| tree::set(table, place, value)))
        .collect()
}

/// The least value, and from there half of the way up again and again.
fn lower(value: i64, least: i64, unit: i64) -> Vec<i64> {
    let mut lower = Vec::new();
    let mut step = value - least;
    while step >= unit && step > 0 {
        let candidate = rounded(value - step, unit).max(least);
        if candidate < value && lower.last() != Some(&candidate) {
            lower.push(candidate);
        }
        step /= 2;
    }
    lower
}

/// Lower times: by as much as may be, then down to what is easier to read.
fn times(millis: i64, least: i64) -> Vec<i64> {
    let unit = if millis > 2000 { 500 } else { 100 };
    let mut times = lower(millis, least, unit);
    for unit in [1000, 500, 100, 50, 10] {
        let round = rounded(millis, unit);
        if round < millis && round >= least && !times.contains(&round) {
            times.push(round);
        }
    }
    times
}

fn rounded(value: i64, unit: i64) -> i64 {
    value / unit * unit
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The scenario after an edit of its tree, if it is one, and another.
fn edited(scenario: &Scenario, table: &Table, edit: impl FnOnce(&mut Table)) -> Option<Scenario> {
    let mut table = table.clone();
    edit(&mut table);
    Scenario::from_table(table).filter(|edited| edited != scenario)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_lowered_to_the_least_first_and_to_its_neighbour_last() {
        assert_eq!(lower(3, 1, 1), [1, 2]);
        assert_eq!(lower(16, 0, 1), [0, 8, 12, 14, 15]);
        assert!(lower(1, 1, 1).is_empty());
        assert_eq!(times(4373, 0).first(), Some(&0));
        assert!(times(4373, 0).contains(&4300) && times(4373, 0).contains(&4000));
    }

    #[test]
    fn every_candidate_is_a_file_that_would_be_taken_and_differs() {
        for seed in 0..20 {
            let scenario = Scenario::drawn(seed).with_drawn_faults(seed);
            for (name, pass) in ALL {
                for candidate in pass(&scenario, 0).unwrap_or_default() {
                    assert_ne!(candidate, scenario, "{name}");
                    let text = candidate.to_toml();
                    assert_eq!(Scenario::from_toml(&text).unwrap(), candidate, "{text}");
                }
            }
        }
    }

    #[test]
    fn neither_a_default_nor_the_node_of_a_fault_is_touched() {
        let scenario = Scenario::from_toml(
            "[[topics]]\nname='t'\npartitions=1\n[workload]\nproducers=1\nconsumers=0\n\
             duration='500ms'\n[[faults]]\nat='0ms'\nfault='kill'\nnode='producer1'\n",
        );
        let scenario = scenario.unwrap();
        let none = settings(&scenario, 0).unwrap();
        // Without its producer nothing is left of the workload, and of its fault.
        assert_eq!(none.len(), 1, "{none:?}");
        assert_eq!(details(&scenario, 0).unwrap(), []);
    }
}
