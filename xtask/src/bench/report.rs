//! What was measured: samples, their medians, and the table.

use std::{fmt::Write as _, process::Command};

use serde::Serialize;

use super::{
    contenders::Contender,
    rows::{Row, Unit},
    usage::Usage,
};
use crate::process::root;

/// One load on one broker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    /// In the row's unit.
    pub(super) figure: f64,
    /// Further figures in the same unit, with their names.
    pub(super) also: Vec<(&'static str, f64)>,
    /// What the broker used for it.
    #[serde(flatten)]
    pub(super) used: Usage,
    /// The most memory the broker ever had.
    pub(super) peak_mib: f64,
}

/// All samples of one broker in a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Column {
    pub(super) contender: Contender,
    pub(super) samples: Vec<Sample>,
}

impl Column {
    pub(super) fn new(contender: Contender) -> Self {
        Self {
            contender,
            samples: Vec::new(),
        }
    }

    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }

    /// The figure's median, least and most.
    fn figure(&self, unit: Unit) -> String {
        let (mut least, mut most) = (f64::MAX, 0.0f64);
        for sample in &self.samples {
            (least, most) = (least.min(sample.figure), most.max(sample.figure));
        }
        let middle = self.median(|sample| sample.figure);
        let mut text = format!("{} ({}..{})", short(middle), short(least), short(most));
        let first = self.samples.first().map(|sample| &sample.also[..]);
        for (at, (name, _)) in first.unwrap_or_default().iter().enumerate() {
            let value = self.median(|sample| sample.also[at].1);
            let _ = write!(text, ", {name} {}", short(value));
        }
        let _ = write!(text, " {}", unit.name());
        text
    }
}

/// A row, done.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    id: &'static str,
    name: &'static str,
    target: &'static str,
    #[serde(skip)]
    unit: Unit,
    columns: Vec<Column>,
    /// The client's rate without any broker.
    client_alone: Option<f64>,
    /// Bytes of records in one sample.
    moved_bytes: Option<f64>,
    /// Why it was not done.
    skipped: Option<String>,
}

impl Measured {
    pub(super) fn new(
        row: &Row,
        columns: Vec<Column>,
        client_alone: Option<f64>,
        moved_bytes: Option<f64>,
    ) -> Self {
        Self {
            id: row.id,
            name: row.name,
            target: row.target,
            unit: row.unit(),
            columns,
            client_alone,
            moved_bytes,
            skipped: None,
        }
    }

    pub(super) fn skipped(row: &Row, why: String) -> Self {
        Self {
            skipped: Some(why),
            ..Self::new(row, Vec::new(), None, None)
        }
    }

    /// How many times better Ottla is: the median over the pairs, each of which ran at one time.
    fn ratio(&self, other: &Column) -> Option<f64> {
        let own = self
            .columns
            .iter()
            .find(|c| c.contender == Contender::Ottla)?;
        let pairs = own.samples.iter().zip(&other.samples);
        let ratios = pairs.map(|(own, other)| self.unit.times_better(own.figure, other.figure));
        Some(median(ratios.collect()))
    }

    /// Its lines of the table.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        let (id, name, target) = (self.id, self.name, self.target);
        if let Some(why) = &self.skipped {
            let _ = writeln!(
                text,
                "| {id} | {name}: {target} | not done: {why} | | | | | |"
            );
        }
        for (at, column) in self.columns.iter().enumerate() {
            let says = match at {
                0 => format!("{id} | {name}: {target}"),
                _ => " | ".to_owned(),
            };
            let gigabytes = self.moved_bytes.map(|bytes| bytes / 1e9);
            let each = |of: fn(&Sample) -> f64| {
                gigabytes.map_or_else(String::new, |gb| format!("{:.2}", column.median(of) / gb))
            };
            let ratio = match column.contender {
                Contender::Ottla => None,
                _ => self.ratio(column),
            };
            let _ = writeln!(
                text,
                "| {says} | {} | {} | {} | {} | {:.0} | {} |",
                column.contender.title(),
                column.figure(self.unit),
                each(|sample| sample.used.cpu_seconds),
                each(|sample| sample.used.written_bytes / 1e9),
                column.median(|sample| sample.peak_mib),
                ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            );
        }
        if let Some(alone) = self.client_alone {
            let (alone, unit) = (short(alone), self.unit.name());
            let _ = writeln!(text, "| | | the client alone | {alone} {unit} | | | | |");
        }
        text
    }
}

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    machine: String,
    commit: String,
    command: String,
    pairs: usize,
    rows: Vec<Measured>,
}

impl Report {
    pub(super) fn new(machine: String, arguments: &[String], pairs: usize) -> Self {
        // Where the figures went says nothing about them.
        let mut command = "cargo xtask bench".to_owned();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => drop(arguments.next()),
                argument => {
                    let _ = write!(command, " {argument}");
                }
            }
        }
        Self {
            machine,
            commit: commit(),
            command,
            pairs,
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: Measured) {
        self.rows.push(row);
    }

    pub(super) fn table(&self) -> String {
        let mut text = "| row | load, and what is wanted of Ottla | broker | median (least..most) | CPU s/GB | GB written/GB | peak MiB | Ottla is better by |\n\
                        | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
        for row in &self.rows {
            text.push_str(&row.lines());
        }
        text
    }

    /// The page that is kept.
    pub(super) fn page(&self) -> String {
        format!(
            "# Ottla beside other brokers\n\
             Made by `{}` of commit {}; the same command makes it anew. {}.\n\n\
             Every load runs {} times on each broker in turn, from an empty directory, the order turned round each\n\
             time; each broker has its own defaults, so Ottla syncs before it acknowledges acks=all, and before a\n\
             consumer sees a record. The client is librdkafka's `rdkafka_performance` (2.12.1), and Kafka's own\n\
             latency tool for end-to-end, which tells percentiles in whole milliseconds. CPU and bytes written\n\
             are the broker's, for each GB of records; ratios are medians over the pairs.\n\n{}",
            self.command,
            self.commit,
            self.machine,
            self.pairs,
            self.table()
        )
    }

    /// Every figure.
    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// The commit that was measured, and whether something was not committed.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(root())
            .args(arguments)
            .output();
        output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    };
    let Ok(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let own = ["status", "--porcelain", "--", ".", ":!docs"];
    match git(&own).is_ok_and(|changed| changed.is_empty()) {
        true => commit,
        false => format!("{commit} with changes"),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e4 => format!("{:.0} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::rows, *};

    fn column(contender: Contender, figures: &[f64]) -> Column {
        let sample = |figure: &f64| Sample {
            figure: *figure,
            also: vec![("p99", figure * 2.0)],
            used: Usage {
                cpu_seconds: 1.0,
                written_bytes: 5e8,
            },
            peak_mib: 60.4,
        };
        Column {
            contender,
            samples: figures.iter().map(sample).collect(),
        }
    }

    #[test]
    fn a_row_tells_medians_spread_costs_and_how_many_times_better() {
        let row = rows::of("produce-100").expect("it is there");
        let columns = vec![
            column(Contender::Ottla, &[2e6, 1e6, 3e6]),
            column(Contender::Kafka, &[1e6, 1e6, 1e6]),
        ];
        let measured = Measured::new(row, columns, Some(2.5e6), Some(5e8));
        let lines = measured.lines();
        let lines: Vec<_> = lines.lines().collect();
        assert!(
            lines[0].ends_with(
                "| Ottla | 2.00 M (1.00 M..3.00 M), p99 4.00 M records/s | 2.00 | 1.00 | 60 |  |"
            ),
            "{}",
            lines[0]
        );
        assert!(
            lines[1].ends_with("| 2.00 | 1.00 | 60 | 2.00 |"),
            "{}",
            lines[1]
        );
        assert_eq!(
            lines[2],
            "| | | the client alone | 2.50 M records/s | | | | |"
        );
    }

    #[test]
    fn less_is_better_where_time_or_memory_counts() {
        let row = rows::of("start").expect("it is there");
        let columns = vec![
            column(Contender::Ottla, &[10.0]),
            column(Contender::Kafka, &[1500.0]),
        ];
        let measured = Measured::new(row, columns, None, None);
        let lines = measured.lines();
        assert!(lines.trim_end().ends_with("| 150.00 |"), "{lines}");
    }

    #[test]
    fn medians_of_even_counts_lie_between() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
