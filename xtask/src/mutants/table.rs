//! What became of the mutants, as text and as `docs/mutants.md`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    file::{Mutant, SEEDS},
    trial::Verdict,
};

const COLUMNS: [&str; 7] = [
    "mutant",
    "what it breaks",
    "caught by",
    "seed",
    "seeds",
    "seconds",
    "faults when shrunk",
];

const HEAD: &str = "\
# Mutants

Bugs planted in the broker and its client, one at a time, and what the simulator made of each. This
page is made by `cargo xtask mutants --write`, which tries the files of `mutants/`; `--dir` takes a
folder from anywhere, names choose among them, `--list` says what they are. A mutant that survives is
a hole in the checks or in the workloads.

A file holds, in TOML: `says` (the bug, in one sentence), `file` (from the root of the tree), `find`
(a piece of its text that is there once) and `replace`, `invariant` (the name of what should catch it,
or a list of which one should), and if wanted `scenario` (a file that should fail, run before the
fuzzing), `scenario_seeds` (with seed 1 and on up to this one; 1) and `seeds` (the budget, 200). Text of several lines stands between `'''`.

A seed is one of `cargo sim fuzz`, or that of the scenario which is named; the seconds are without
the build. What stands in brackets is not among the invariants that the mutant's file names, but
failed.

";

/// Rows by mutant; without the mutant's name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    rows: BTreeMap<String, Row>,
}

type Row = [String; COLUMNS.len() - 1];

impl Table {
    /// Reads the rows of a page.
    pub(super) fn parse(page: &str) -> Self {
        let mut rows = BTreeMap::new();
        for line in page.lines() {
            let Some(line) = line.strip_prefix("| `") else {
                continue;
            };
            let mut cells = line.trim_end_matches('|').split(" | ");
            let name = cells.next().unwrap_or_default().trim_matches('`');
            let cells: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
            if let Ok(row) = Row::try_from(cells) {
                rows.insert(name.to_owned(), row);
            }
        }
        Self { rows }
    }

    /// Forgets the rows of all other mutants.
    pub(super) fn keep_only(&mut self, mutants: &[Mutant]) {
        self.rows
            .retain(|name, _| mutants.iter().any(|mutant| mutant.name == *name));
    }

    /// Sets a mutant's row.
    pub(super) fn set(&mut self, mutant: &Mutant, verdict: &Verdict) {
        let none = || "-".to_owned();
        let [caught, seed, seeds, seconds, faults] = match verdict {
            Verdict::NotApplied(_) => ["NOT APPLIED".to_owned(), none(), none(), none(), none()],
            Verdict::NotBuilt(_) => ["NOT BUILT".to_owned(), none(), none(), none(), none()],
            Verdict::Survived { seeds, seconds } => [
                "SURVIVED".to_owned(),
                none(),
                seeds.to_string(),
                seconds.to_string(),
                none(),
            ],
            Verdict::Caught(catch) => {
                let names = catch.invariants.join(", ");
                [
                    match catch.expected {
                        true => names,
                        false => format!("({names})"),
                    },
                    match &catch.scenario {
                        Some(scenario) => format!("{} of {scenario}", catch.seed),
                        None => catch.seed.to_string(),
                    },
                    catch.seeds.to_string(),
                    catch.seconds.to_string(),
                    catch.faults.map_or_else(none, |faults| faults.to_string()),
                ]
            }
        };
        // A bar would end the cell.
        let says = mutant.says.replace('|', "/");
        let row = [says, caught, seed, seeds, seconds, faults];
        self.rows.insert(mutant.name.clone(), row);
    }

    /// The page of the documentation.
    pub(super) fn page(&self) -> String {
        let mut text = format!("{HEAD}{}\n\n", self.summary());
        let _ = writeln!(text, "| {} |", COLUMNS.join(" | "));
        let _ = writeln!(text, "|{}", " --- |".repeat(COLUMNS.len()));
        for (name, row) in &self.rows {
            let _ = writeln!(text, "| `{name}` | {} |", row.join(" | "));
        }
        text
    }

    /// The table for a terminal, without the sentences.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![[0, 2, 3, 4, 5, 6].map(|column| COLUMNS[column].to_owned())];
        for (name, [_, caught, seed, seeds, seconds, faults]) in &self.rows {
            let cells = [name, caught, seed, seeds, seconds, faults];
            lines.push(cells.map(Clone::clone));
        }
        let width = |at: usize| lines.iter().map(|line| line[at].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        text + &self.summary()
    }

    fn summary(&self) -> String {
        let number = |text: &String| text.parse::<u64>().ok();
        let is_caught = |row: &&Row| number(&row[3]).is_some() && row[1] != "SURVIVED";
        let caught: Vec<&Row> = self.rows.values().filter(is_caught).collect();
        let soon = |row: &&&Row| number(&row[3]).is_some_and(|seeds| seeds <= SEEDS);
        let small = |row: &&&Row| number(&row[5]).is_some_and(|faults| faults <= 3);
        format!(
            "{} of {} mutants are caught, {} within {SEEDS} seeds; {} shrink to three faults or fewer.",
            caught.len(),
            self.rows.len(),
            caught.iter().filter(soon).count(),
            caught.iter().filter(small).count(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::trial::Catch;

    fn mutant(name: &str) -> Mutant {
        let text = "says='A | b.'\nfile='f'\nfind='x'\nreplace=''\ninvariant='lost_write'";
        Mutant::parse(name, text).expect("it is right")
    }

    #[test]
    fn a_page_is_read_back_and_its_other_rows_stay() {
        let mut table = Table::default();
        let caught = Verdict::Caught(Catch {
            invariants: vec!["lost_write".into(), "vanished_read".into()],
            expected: true,
            scenario: None,
            seed: 12,
            seeds: 12,
            seconds: 3,
            faults: Some(1),
        });
        table.set(&mutant("one"), &caught);
        let survived = Verdict::Survived {
            seeds: 200,
            seconds: 40,
        };
        table.set(&mutant("two"), &survived);
        let page = table.page();
        assert!(page.contains("1 of 2 mutants are caught, 1 within 200 seeds; 1 shrink"));
        let mut again = Table::parse(&page);
        assert_eq!(again, table);
        again.set(&mutant("two"), &caught);
        assert!(again.text().contains("2 of 2 mutants are caught"));
        again.keep_only(&[mutant("two")]);
        assert!(again.text().contains("1 of 1 mutants are caught"));
    }
}
