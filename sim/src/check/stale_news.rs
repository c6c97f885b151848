//! No stale news: a fetch session leaves out of an answer only what has not changed (KIP-227). So when a
//! reader is answered, what it was told last of each partition is at least what anybody could know
//! when it asked: the high watermark lies behind every record that was read by then, and the log begins
//! where a deletion that was acknowledged has put it.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::{TopicPartition, Work};

/// What is promised.
pub(super) const PROMISE: &str = "After an answer the reader with a fetch session knows each partition's high watermark and log start as they were when it asked, or later ones.";

/// What somebody knows of a partition.
#[derive(Clone, Copy, Default)]
struct Known {
    high_watermark: i64,
    log_start: i64,
}

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut known: BTreeMap<&TopicPartition, Known> = BTreeMap::new();
    let mut asked: BTreeMap<u32, (usize, BTreeMap<&TopicPartition, Known>)> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Read {
                partition, offset, ..
            } => {
                let known = known.entry(partition).or_default();
                known.high_watermark = known.high_watermark.max(offset + 1);
            }
            Work::Deleted {
                partition,
                log_start,
            } => {
                let known = known.entry(partition).or_default();
                known.log_start = known.log_start.max(*log_start);
            }
            Work::NewsAsked { consumer } => drop(asked.insert(*consumer, (at, known.clone()))),
            Work::NewsKnown {
                consumer,
                partition,
                high_watermark,
                log_start,
                ..
            } => {
                let Some((when, all)) = asked.get(consumer) else {
                    continue;
                };
                let least = all.get(partition).copied().unwrap_or_default();
                let mut stale = |what: &str, is: i64, was: i64| {
                    if is < was {
                        let detail = format!(
                            "consumer {consumer} was answered and knows the {what} of {partition} as {is}; it was {was} when it asked"
                        );
                        found.push(Finding::new(detail).promised(*when).seen(at));
                    }
                };
                stale("high watermark", *high_watermark, least.high_watermark);
                stale("log start", *log_start, least.log_start);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    fn knows(high_watermark: i64, log_start: i64) -> Work {
        Work::NewsKnown {
            consumer: 9,
            partition: at(0),
            high_watermark,
            log_start,
            now: 0,
        }
    }

    fn asks() -> Work {
        Work::NewsAsked { consumer: 9 }
    }

    #[test]
    fn a_reader_that_is_not_told_of_what_could_be_read_is_found() {
        let told_of = |high_watermark| vec![read(7, 7), asks(), knows(high_watermark, 0)];
        assert_eq!(verdict(check, told_of(7), vec![]), 1);
        assert_eq!(verdict(check, told_of(8), vec![]), 0);
        // What came to be read after it had asked need not be in the answer.
        assert_eq!(
            verdict(check, vec![asks(), read(7, 7), knows(7, 0)], vec![]),
            0
        );
    }

    #[test]
    fn a_reader_that_is_not_told_of_what_was_deleted_is_found() {
        let deleted = || Work::Deleted {
            partition: at(0),
            log_start: 4,
        };
        let told_of = |start| vec![deleted(), asks(), knows(9, start)];
        assert_eq!(verdict(check, told_of(3), vec![]), 1);
        assert_eq!(verdict(check, told_of(4), vec![]), 0);
    }
}
