//! No unstable end: what was read with nothing under way is there, and nothing else, after the broker
//! has lost its power once more. Retention goes on: what lies below the log's start of then may be gone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, History};
use crate::event::{Contents, Work};

/// What is promised.
pub(super) const PROMISE: &str = "What was read with nothing under way is there, and nothing else, after one more loss of power.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut again: BTreeMap<_, BTreeMap<i64, _>> = BTreeMap::new();
    let mut ended = BTreeMap::new();
    let mut starts = BTreeMap::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Again {
                partition,
                offset,
                contents,
            } => {
                again
                    .entry(partition)
                    .or_default()
                    .insert(*offset, (*contents, at));
            }
            Work::AgainStart { partition, offset } => {
                starts.insert(partition, *offset);
            }
            Work::AgainEnd { partition, .. } => {
                again.entry(partition).or_default();
                ended.insert(partition, at);
            }
            _ => {}
        }
    }
    let mut unstable = Vec::new();
    for (partition, now) in &again {
        let (Some(end), Some(before)) = (ended.get(partition), history.logs.get(partition)) else {
            continue;
        };
        let start = match history.is_retained(partition) {
            true => starts.get(*partition).copied().unwrap_or(0),
            false => 0,
        };
        for offset in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let (before, now) = (before.get(offset), now.get(offset));
            let seen = now.map_or(*end, |(_, at)| *at);
            let now = now.map(|(contents, _)| contents);
            if before != now && *offset >= start {
                let words = |contents: Option<&Contents>| {
                    contents.map_or("nothing".to_owned(), ToString::to_string)
                };
                let (before, now) = (words(before), words(now));
                let detail = format!(
                    "{partition} at {offset} was {before} and is {now} after the last loss of power"
                );
                let promised = history.place(partition, *offset);
                unstable.push(Finding::new(detail).promised(promised).seen(seen));
            }
        }
    }
    unstable
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};
    use crate::event::{Contents, Work};

    #[test]
    fn a_log_that_is_another_after_the_last_loss_of_power_is_found() {
        let again = |sequences: &[u64]| {
            let records = sequences
                .iter()
                .zip(0..)
                .map(|(sequence, offset)| Work::Again {
                    partition: at(0),
                    offset,
                    contents: Contents::Whole(record(*sequence)),
                });
            let end = Work::AgainEnd {
                partition: at(0),
                offset: sequences.len() as i64,
            };
            records.chain([end]).collect::<Vec<_>>()
        };
        assert_eq!(verdict(check, log(&[0, 1]), again(&[0, 1])), 0);
        assert_eq!(verdict(check, log(&[0, 1]), again(&[0])), 1);
        assert_eq!(verdict(check, log(&[0, 1]), again(&[0, 2])), 1);
        assert_eq!(verdict(check, log(&[0]), again(&[0, 1])), 1);
    }
}
