//! A picture as lines of text: the violations in words, one record's life, one lane.

use super::{
    Mark, Picture, Verdict,
    life::{RecordKey, Step},
};
use crate::event::{RecordId, Recording};

/// Virtual seconds of a moment.
pub(super) fn seconds(at: u64) -> String {
    format!("{}.{:06}", at / 1_000_000_000, at % 1_000_000_000 / 1_000)
}

fn line(recording: &Recording, mark: &Mark) -> String {
    let (at, node) = (seconds(mark.at), recording.name(mark.node));
    format!("{at:>12} {node:<12} {}", mark.text)
}

impl Picture {
    /// The violations in words: what was promised, what was seen, and where to look further with
    /// `again`, the command that repeats the run.
    #[must_use]
    pub fn violations(&self, recording: &Recording, again: &str) -> Vec<String> {
        let count = self.verdicts.len();
        let mut lines = Vec::new();
        for (index, verdict) in self.verdicts.iter().enumerate() {
            let Verdict {
                invariant,
                promise,
                seen,
                ..
            } = verdict;
            lines.push(format!("VIOLATION {} of {count}: {invariant}", index + 1));
            lines.push(format!("  promised: {promise}"));
            if let Some(mark) = verdict.promised_at {
                lines.push(format!("  {}", line(recording, &self.marks[mark])));
            }
            lines.push(format!("  seen: {seen}"));
            if let Some(mark) = verdict.seen_at {
                lines.push(format!("  {}", line(recording, &self.marks[mark])));
            }
            if let Some(record) = &verdict.record {
                lines.push(format!("  its life: {again} --record '{record}'"));
            }
        }
        lines
    }

    /// The life of a record: `p1001#17` in every partition that has one of that name, or
    /// `p1001#17@events-0`.
    pub fn life(&self, recording: &Recording, wanted: &str) -> Result<Vec<String>, String> {
        let found: Vec<(&RecordKey, &[Step])> = match parse(wanted) {
            None => {
                return Err(format!(
                    "\"{wanted}\" is no record; expected one such as p1001#17 or p1001#17@events-0"
                ));
            }
            Some((record, partition)) => self
                .lives
                .iter()
                .filter(|(key, _)| key.record == record)
                .filter(|(key, _)| partition.is_none_or(|wanted| *key.partition == *wanted))
                .collect(),
        };
        if found.is_empty() {
            let first = self.lives.iter().next();
            let hint = first.map_or("there is none".to_owned(), |(key, _)| {
                format!("the first is {key}")
            });
            return Err(format!("there is no record {wanted} in this run; {hint}"));
        }
        let mut lines = Vec::new();
        for (key, steps) in found {
            lines.push(format!("the life of {} in {}", key.record, key.partition));
            lines.extend(steps.iter().map(|step| {
                let mark = &self.marks[step.mark];
                let (at, node) = (seconds(mark.at), recording.name(mark.node));
                let (word, means) = step.meaning.words();
                format!("{at:>12} {node:<12} {word:<13} {} ({means})", mark.text)
            }));
        }
        Ok(lines)
    }

    /// Only what concerns one lane.
    pub fn lane(&self, recording: &Recording, name: &str) -> Result<Vec<String>, String> {
        let Some(lane) = self.lanes.iter().position(|lane| lane.name == name) else {
            let names: Vec<&str> = self.lanes.iter().map(|lane| &*lane.name).collect();
            let names = names.join(", ");
            return Err(format!(
                "there is no lane \"{name}\"; expected one of {names}"
            ));
        };
        let marks = self.marks.iter();
        let marks = marks.filter(|mark| mark.lanes.contains(&lane));
        Ok(marks.map(|mark| line(recording, mark)).collect())
    }
}

fn parse(wanted: &str) -> Option<(RecordId, Option<&str>)> {
    let (record, partition) = match wanted.split_once('@') {
        Some((record, partition)) => (record, Some(partition)),
        None => (wanted, None),
    };
    let (producer, sequence) = record.strip_prefix('p')?.split_once('#')?;
    let record = RecordId {
        producer: producer.parse().ok()?,
        sequence: sequence.parse().ok()?,
    };
    Some((record, partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_alone_or_with_its_partition() {
        let record = RecordId {
            producer: 1001,
            sequence: 17,
        };
        assert_eq!(parse("p1001#17"), Some((record, None)));
        assert_eq!(parse("p1001#17@a-b-0"), Some((record, Some("a-b-0"))));
        assert_eq!(parse("1001#17"), None);
        assert_eq!(parse("p1001"), None);
    }
}
