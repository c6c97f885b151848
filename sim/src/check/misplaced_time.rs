//! No misplaced time: a look-up by time gives the first record at or behind it (KIP-79).

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::{TopicPartition, Work};

/// What is promised.
pub(super) const PROMISE: &str = "A look-up by time gives the first record at or behind that time.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut times: BTreeMap<&TopicPartition, BTreeMap<i64, i64>> = BTreeMap::new();
    for work in &history.work {
        if let Work::Final {
            partition,
            offset,
            timestamp,
            ..
        } = work
        {
            times
                .entry(partition)
                .or_default()
                .insert(*offset, *timestamp);
        }
    }
    let mut misplaced = Vec::new();
    let (mut known, mut asked) = (BTreeMap::new(), BTreeMap::new());
    for (at, work) in history.work.iter().enumerate() {
        match work {
            // What was shown or acknowledged is there for a look-up that comes later.
            Work::Read {
                partition, offset, ..
            } => {
                let end = known.entry(partition).or_insert(0);
                *end = (offset + 1).max(*end);
            }
            Work::TimeAsked { partition, time } => {
                let known = known.get(partition).copied().unwrap_or(0);
                asked.insert((partition, *time), known);
            }
            Work::TimeFound {
                partition,
                time,
                offset,
                timestamp,
                start,
            } => {
                let Some(log) = times.get(partition) else {
                    continue;
                };
                let end = match *offset {
                    -1 => asked.get(&(partition, *time)).copied().unwrap_or(0),
                    offset => offset,
                };
                let there = *start..end.max(*start);
                let earlier = log.range(there).find(|(_, there)| *there >= time);
                if let Some((first, there)) = earlier {
                    misplaced.push(
                        Finding::new(format!(
                            "{partition} by time {time} gave {offset}; {first} is of {there}"
                        ))
                        .seen(at),
                    );
                }
                if *offset >= 0 {
                    let there = log.get(offset);
                    if timestamp < time || there.is_some_and(|there| there != timestamp) {
                        misplaced.push(Finding::new(format!(
                            "{partition} by time {time} gave {offset} of {timestamp}; there is {there:?}"
                        )).seen(at));
                    }
                }
            }
            _ => {}
        }
    }
    misplaced
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    fn found(time: i64, offset: i64, timestamp: i64) -> Work {
        Work::TimeFound {
            partition: at(0),
            time,
            offset,
            timestamp,
            start: 0,
        }
    }

    #[test]
    fn a_later_record_an_earlier_time_and_a_missed_record_are_found() {
        // The records' times are 0, 10 and 20.
        let verdict = |work| verdict(check, work, log(&[0, 1, 2]));
        assert_eq!(verdict(vec![found(5, 1, 10), found(20, 2, 20)]), 0);
        assert_eq!(verdict(vec![found(5, 2, 20)]), 1);
        assert_eq!(verdict(vec![found(15, 1, 10)]), 1);
        assert_eq!(verdict(vec![found(5, 1, 11)]), 1);
        assert_eq!(verdict(vec![found(5, -1, -1)]), 0, "it may have come later");
        let asked = |time| Work::TimeAsked {
            partition: at(0),
            time,
        };
        let unfound = |time| vec![read(1, 1), asked(time), found(time, -1, -1)];
        assert_eq!(verdict(unfound(5)), 1);
        assert_eq!(verdict(unfound(15)), 0);
        assert_eq!(verdict(vec![asked(5), read(1, 1), found(5, -1, -1)]), 0);
        let mut deleted = found(5, 2, 20);
        if let Work::TimeFound { start, .. } = &mut deleted {
            *start = 2;
        }
        assert_eq!(verdict(vec![deleted]), 0, "what lay before was deleted");
    }
}
