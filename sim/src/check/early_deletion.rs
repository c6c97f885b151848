//! No early deletion: where retention goes by time alone, nothing younger than that is gone, and where it
//! goes by size alone, so much is left. Nobody can tell what is young where clocks were wrong, nor how
//! much there was where a loss of power has cut a log.
//!
//! When a run ends most records are older than they need be. So the starts of logs are looked at while
//! they are written to, as readers with fetch sessions are told of them.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::{RecordId, TopicPartition, Work};

/// What is promised.
pub(super) const PROMISE: &str = "Where retention goes by time alone, nothing younger than that is deleted; where it goes by size alone, that much is left.";

/// What was to be kept of a topic: the least that was in force at any time.
#[derive(Clone, Copy, Default)]
struct Policy {
    ms: Option<i64>,
    bytes: Option<i64>,
}

/// A partition as far as it was looked at.
#[derive(Default)]
struct Seen {
    /// The records that were acknowledged, with their times, by offset.
    records: BTreeMap<i64, (RecordId, i64)>,
    /// Below this they were looked at.
    judged: i64,
    start: i64,
}

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let policies = policies(history);
    let clocks_wrong = history.work.contains(&&Work::ClocksWrong);
    let mut cut = false;
    let mut times = BTreeMap::new();
    let mut partitions: BTreeMap<&TopicPartition, Seen> = BTreeMap::new();
    let mut early = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Sent {
                record,
                partition,
                timestamp,
            } => {
                times.insert((partition, *record), *timestamp);
            }
            Work::Acknowledged {
                record,
                partition,
                offset: Some(offset),
            } => {
                if let Some(time) = times.get(&(partition, *record)) {
                    let seen = partitions.entry(partition).or_default();
                    seen.records.insert(*offset, (*record, *time));
                }
            }
            Work::NewsKnown {
                partition,
                log_start: start,
                now,
                ..
            }
            | Work::FinalStart {
                partition,
                offset: start,
                now,
            } => {
                let seen = partitions.entry(partition).or_default();
                seen.start = seen.start.max(*start);
                let asked = history.deletions.get(partition).copied().unwrap_or(0);
                let from = seen.judged.max(asked);
                seen.judged = seen.judged.max(*start);
                let by_time = policies
                    .get(&*partition.topic)
                    .filter(|p| p.bytes.is_none());
                let Some(ms) = by_time.and_then(|policy| policy.ms) else {
                    continue;
                };
                if clocks_wrong || from >= *start {
                    continue;
                }
                for (offset, (record, time)) in seen.records.range(from..*start) {
                    if *now < time + ms {
                        let age = now - time;
                        early.push(Finding::new(format!(
                            "{record} at {offset} of {partition} was deleted {age} ms after its time; it was to be kept for {ms} ms"
                        )).seen(at));
                    }
                }
            }
            Work::UnsyncedLost => cut = true,
            Work::FinalSize { partition, bytes } => {
                let by_size = policies.get(&*partition.topic).filter(|p| p.ms.is_none());
                let least = by_size.and_then(|policy| policy.bytes);
                let asked = history.deletions.contains_key(partition);
                let start = partitions.get(partition).map_or(0, |seen| seen.start);
                if let Some(least) = least
                    && start > 0
                    && !asked
                    && !cut
                    && *bytes < least
                {
                    early.push(Finding::new(format!(
                        "{partition} begins at {start} and has {bytes} bytes; {least} were to be kept"
                    )).seen(at));
                }
            }
            _ => {}
        }
    }
    early
}

fn policies<'a>(history: &History<'a>) -> BTreeMap<&'a str, Policy> {
    let mut policies: BTreeMap<&str, Policy> = BTreeMap::new();
    for work in &history.work {
        if let Work::Retained { topic, ms, bytes } = work {
            let policy = policies.entry(topic).or_default();
            policy.ms = policy.ms.into_iter().chain(*ms).min();
            policy.bytes = policy.bytes.into_iter().chain(*bytes).min();
        }
    }
    policies
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn a_record_that_went_before_its_time_is_found() {
        let gone = |now, policy| {
            let sent = Work::Sent {
                record: record(0),
                partition: at(0),
                timestamp: 1000,
            };
            vec![policy, sent, acknowledged(0, 0), started(1, now)]
        };
        let by_time = || retained(Some(50), None);
        assert_eq!(verdict(check, gone(1050, by_time()), log(&[])), 0);
        assert_eq!(verdict(check, gone(1049, by_time()), log(&[])), 1);
        let by_both = retained(Some(50), Some(1));
        assert_eq!(verdict(check, gone(1049, by_both), log(&[])), 0);
    }

    #[test]
    fn a_record_that_went_early_and_would_have_gone_by_the_end_is_found() {
        let sent = || Work::Sent {
            record: record(0),
            partition: at(0),
            timestamp: 1000,
        };
        let known = |now| Work::NewsKnown {
            consumer: 9,
            partition: at(0),
            high_watermark: 1,
            log_start: 1,
            now,
        };
        let gone = |now| {
            let begins = vec![retained(Some(50), None), sent(), acknowledged(0, 0)];
            [begins, vec![known(now), started(1, 9999)]].concat()
        };
        assert_eq!(verdict(check, gone(1050), log(&[])), 0);
        assert_eq!(verdict(check, gone(1049), log(&[])), 1);
    }

    #[test]
    fn a_log_of_which_too_much_went_for_its_size_is_found() {
        let size = |bytes| Work::FinalSize {
            partition: at(0),
            bytes,
        };
        let left = |bytes, start| vec![retained(None, Some(100)), started(start, 9), size(bytes)];
        assert_eq!(verdict(check, left(99, 5), vec![]), 1);
        assert_eq!(verdict(check, left(100, 5), vec![]), 0);
        assert_eq!(verdict(check, left(99, 0), vec![]), 0);
        let cut = [vec![Work::UnsyncedLost], left(99, 5)].concat();
        assert_eq!(verdict(check, cut, vec![]), 0);
    }
}
