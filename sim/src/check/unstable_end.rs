//! No unstable end: what was read with nothing under way is there, and nothing else, after the broker
//! has lost its power once more. Retention goes on: what lies below the log's start of then may be gone.

use std::collections::{BTreeMap, BTreeSet};

use super::History;
use crate::event::Work;

pub(super) fn check(history: &History<'_>) -> Vec<String> {
    let mut again: BTreeMap<_, BTreeMap<i64, _>> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    let mut starts = BTreeMap::new();
    for work in &history.work {
        match work {
            Work::Again {
                partition,
                offset,
                contents,
            } => {
                again
                    .entry(partition)
                    .or_default()
                    .insert(*offset, *contents);
            }
            Work::AgainStart { partition, offset } => {
                starts.insert(partition, *offset);
            }
            Work::AgainEnd { partition, .. } => {
                again.entry(partition).or_default();
                ended.insert(partition);
            }
            _ => {}
        }
    }
    let mut unstable = Vec::new();
    for (partition, now) in again
        .iter()
        .filter(|(partition, _)| ended.contains(*partition))
    {
        let Some(before) = history.logs.get(partition) else {
            continue;
        };
        let start = match history.is_retained(partition) {
            true => starts.get(*partition).copied().unwrap_or(0),
            false => 0,
        };
        for offset in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let (before, now) = (before.get(offset), now.get(offset));
            if before != now && *offset >= start {
                unstable.push(format!(
                    "{partition} at {offset} was {before:?} and is {now:?} after the last loss of power"
                ));
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
