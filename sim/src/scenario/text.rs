//! Scenarios written as files: nothing is said that holds without being said.

use serde::Deserialize;
use toml::{Table, Value};

use super::{Scenario, tree};

/// The order in which a reader wants the parts; what is not named here comes last.
const ORDER: [&str; 7] = [
    "seed", "cluster", "topics", "workload", "chaos", "faults", "expect",
];

impl Scenario {
    /// The file that says this scenario, as short as it can be.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut table = self.to_table();
        let mut parts = Vec::new();
        let scalar = |value: &Value| !matches!(value, Value::Table(_) | Value::Array(_));
        let mut names: Vec<String> = table.keys().cloned().collect();
        names.sort_by_key(|name| {
            let known = ORDER.iter().position(|known| known == name);
            (!scalar(&table[name.as_str()]), known.unwrap_or(ORDER.len()))
        });
        for name in names {
            let value = table.remove(&name);
            let part: Table = value.map(|value| (name, value)).into_iter().collect();
            parts.push(toml::to_string(&part).unwrap_or_default());
        }
        parts.join("\n")
    }

    /// The tree of that file: each key that changes nothing is left out.
    #[must_use]
    pub fn to_table(&self) -> Table {
        let mut table = Table::try_from(self).unwrap_or_default();
        // From the end, so that what is within goes before what it is within, and no index moves.
        for place in tree::places(&table).iter().rev() {
            let mut without = table.clone();
            tree::remove(&mut without, place);
            if Self::deserialize(without.clone()).is_ok_and(|read| read == *self) {
                table = without;
            }
        }
        table
    }

    /// Reads a tree; false names and the like are refused as those of a file are.
    #[must_use]
    pub fn from_table(table: Table) -> Option<Self> {
        let mut scenario = Self::deserialize(table).ok()?;
        scenario.drop_what_cannot_happen();
        scenario.checked().ok()
    }

    /// A fault of a node that is no longer there, or after the end, is none.
    fn drop_what_cannot_happen(&mut self) {
        let (nodes, end) = (self.node_names(), self.workload.duration);
        self.faults
            .retain(|fault| nodes.contains(&fault.node) && fault.at < end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_scenario_says_what_it_said_and_no_default() {
        for seed in 0..50 {
            let scenario = Scenario {
                seed: Some(seed),
                ..Scenario::drawn(seed).with_drawn_faults(seed)
            };
            let text = scenario.to_toml();
            assert_eq!(Scenario::from_toml(&text).unwrap(), scenario, "{text}");
            assert!(text.starts_with("seed = "), "{text}");
            assert!(!text.contains("[expect]") && !text.contains("\"broker\""));
        }
    }

    #[test]
    fn a_tree_without_a_node_loses_the_faults_of_that_node() {
        let mut scenario = Scenario::drawn(1);
        scenario.workload.producers = 2;
        scenario = scenario.with_drawn_faults(1);
        for fault in &mut scenario.faults {
            fault.node = "producer2".to_owned();
        }
        let mut table = scenario.to_table();
        let text = "producers = 1".parse::<Table>().unwrap();
        table["workload"].as_table_mut().unwrap().extend(text);
        assert_eq!(Scenario::from_table(table).unwrap().faults, []);
    }
}
