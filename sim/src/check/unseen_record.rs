//! No record for ever unseen: what is in the log at the end was handed to some member of every group
//! that was given the time to read it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str = "What is in the log at the end was handed to some member of every group that had the time to read it.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut members: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut subscribed: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for work in &history.work {
        match work {
            Work::Assigned {
                group,
                consumer,
                partitions,
                ..
            } => {
                members.entry(group).or_default().insert(consumer);
                let topics = partitions.iter().map(|one| &one.topic);
                subscribed.entry(group).or_default().extend(topics);
            }
            Work::Read {
                consumer,
                partition,
                offset,
                ..
            } => {
                seen.insert((partition, offset, consumer));
            }
            _ => {}
        }
    }
    let mut unseen = Vec::new();
    for (group, members) in members {
        let topics = subscribed.get(group);
        let theirs = history.logs.iter();
        let theirs = theirs.filter(|(one, _)| topics.is_some_and(|t| t.contains(&one.topic)));
        for (partition, log) in theirs {
            let was_seen = |offset| {
                seen.range((*partition, offset, &0)..=(*partition, offset, &u32::MAX))
                    .any(|(_, _, consumer)| members.contains(consumer))
            };
            for (offset, contents) in log.iter().filter(|(offset, _)| !was_seen(*offset)) {
                let detail = format!(
                    "no member of {group} was handed {contents}, which is in {partition} at {offset}"
                );
                unseen.push(Finding::new(detail).seen(history.place(partition, *offset)));
            }
        }
    }
    unseen
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};

    #[test]
    fn a_record_that_no_member_was_handed_is_found() {
        let member = || assigned(1, 1, &[0]);
        let log = || log(&[0, 1]);
        assert_eq!(verdict(check, vec![read(0, 0)], log()), 0, "no group");
        assert_eq!(
            verdict(check, vec![member(), read(1, 1), read(0, 0)], log()),
            0
        );
        assert_eq!(verdict(check, vec![member(), read(0, 0)], log()), 1);
        let stranger = vec![assigned(2, 1, &[0]), read(0, 0), read(1, 1)];
        assert_eq!(verdict(check, stranger, log()), 2);
    }
}
