//! No early deletion: where retention goes by time alone, nothing younger than that is gone. Nobody
//! can tell what is young where clocks were wrong.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str =
    "Where retention goes by time alone, nothing younger than that is deleted.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    if history.work.contains(&&Work::ClocksWrong) {
        return Vec::new();
    }
    let mut policies: BTreeMap<&str, (Option<i64>, bool)> = BTreeMap::new();
    let mut times = BTreeMap::new();
    let mut nows = BTreeMap::new();
    for work in &history.work {
        match work {
            Work::Retained { topic, ms, bytes } => {
                // The shortest that was in force at any time.
                let policy = policies.entry(topic).or_insert((None, false));
                policy.0 = policy.0.into_iter().chain(*ms).min();
                policy.1 |= bytes.is_some();
            }
            Work::Sent {
                record,
                partition,
                timestamp,
            } => {
                times.insert((partition, *record), *timestamp);
            }
            Work::FinalStart { partition, now, .. } => {
                nows.insert(partition, *now);
            }
            _ => {}
        }
    }
    let mut early = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        let Work::Acknowledged {
            record,
            partition,
            offset: Some(offset),
        } = work
        else {
            continue;
        };
        let asked = history.deletions.get(partition).copied().unwrap_or(0);
        let start = history.starts.get(partition).copied().unwrap_or(0);
        let by_time = match policies.get(&*partition.topic) {
            Some((Some(ms), false)) => Some(*ms),
            _ => None,
        };
        let (Some(ms), Some(now), Some(time)) = (
            by_time,
            nows.get(partition),
            times.get(&(partition, *record)),
        ) else {
            continue;
        };
        if (asked..start).contains(offset) && *now < time + ms {
            early.push(Finding::new(format!(
                "{record} at {offset} of {partition} was deleted {} ms after its time; it was to be kept for {ms} ms",
                now - time
            )).seen(at));
        }
    }
    early
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
}
