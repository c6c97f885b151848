//! No commit regression: what a group is found to have committed is its last acknowledged commit, or
//! one whose answer never came. (KAFKA-20634: commits acknowledged and then truncated.)
//!
//! A committed offset is a register: a commit that was acknowledged before another was sent is
//! overwritten once that one is acknowledged. A commit without an answer may take effect at any time,
//! unless a member of a later generation has found what was committed: from then on it is fenced. A
//! member may find what was committed at any time since it asked, and may have lost the partition to
//! another meanwhile without knowing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, History};
use crate::event::Work;

/// One commit of an offset, by the places of its events in the history.
struct Write {
    commit: u64,
    offset: i64,
    sent: usize,
    acknowledged: Option<usize>,
}

/// What is promised.
pub(super) const PROMISE: &str = "What a group is found to have committed is its last acknowledged commit, or one whose answer never came.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut owners = BTreeMap::new();
    let mut asked = BTreeMap::new();
    let mut registers: BTreeMap<_, Vec<Write>> = BTreeMap::new();
    let mut places = BTreeMap::new();
    let mut regressions = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Assigned {
                group,
                consumer,
                partitions,
                ..
            } => {
                for partition in partitions {
                    owners.insert((group, partition), (at, consumer));
                }
            }
            Work::CommitAsked {
                group,
                consumer,
                partition,
            } => {
                asked.insert((group, partition, consumer), at);
            }
            Work::CommitSent {
                group,
                commit,
                partition,
                offset,
                ..
            } => {
                let writes = registers.entry((group, partition)).or_default();
                writes.push(Write {
                    commit: *commit,
                    offset: *offset,
                    sent: at,
                    acknowledged: None,
                });
                places.insert(commit, (group, partition));
            }
            Work::CommitAcknowledged { commit } => {
                let writes = places
                    .get(commit)
                    .and_then(|place| registers.get_mut(place));
                let mut writes = writes.into_iter().flatten();
                if let Some(write) = writes.find(|write| write.commit == *commit) {
                    write.acknowledged = Some(at);
                }
            }
            // Without a commit a member may have begun anywhere that the log has started since.
            Work::Resumed { partition, .. } if history.may_start_late(partition) => {}
            Work::CommitFound {
                group,
                consumer,
                partition,
                offset,
            }
            | Work::Resumed {
                group,
                consumer,
                partition,
                offset,
            } => {
                // The group's first member begins at the first record, without a commit.
                let first = matches!(work, Work::Resumed { offset: 0, .. });
                let offset = if first { &-1 } else { offset };
                let since = asked.get(&(group, partition, consumer)).copied();
                let writes = registers.entry((group, partition)).or_default();
                let possible = possible(writes, since.unwrap_or(at));
                if !possible.contains(offset) {
                    let detail = format!(
                        "{group} has committed {partition} at one of {possible:?}; it is found at {offset}"
                    );
                    let promised = writes.iter().filter_map(|write| write.acknowledged).max();
                    regressions.push(Finding::new(detail).promised(promised).seen(at));
                }
                if *consumer == 0 {
                    // Who is no consumer looks at the end, with nothing under way.
                    writes.retain(|write| write.offset == *offset);
                    writes
                        .iter_mut()
                        .for_each(|write| write.acknowledged = Some(at));
                    continue;
                }
                if since.is_none() {
                    took_effect(writes, *offset, at);
                }
                let owner = owners.get(&(group, partition));
                let overtaken =
                    |since| owner.is_some_and(|(at, owner)| *at > since && *owner != consumer);
                if let Some(since) = since.filter(|since| !overtaken(*since)) {
                    // Whatever others sent before is accepted by now, or never.
                    writes.retain(|write| write.offset == *offset || write.sent > since);
                    for write in writes.iter_mut().filter(|write| write.sent < since) {
                        write.acknowledged.get_or_insert(since);
                    }
                }
            }
            _ => {}
        }
    }
    regressions
}

/// A commit without an answer that is found has been carried out: what it overwrote is gone. Others
/// without an answer may still come, as their senders are no members that could be fenced.
fn took_effect(writes: &mut [Write], offset: i64, at: usize) {
    let same = || writes.iter().filter(|write| write.offset == offset);
    if same().all(|write| write.acknowledged.is_none()) {
        let same = writes.iter_mut().filter(|write| write.offset == offset);
        if let Some(first) = same.min_by_key(|write| write.sent) {
            first.acknowledged = Some(at);
        }
    }
}

/// What may be found by who asked at `since`: all that was not overwritten by then, and nothing (-1)
/// if no commit was acknowledged by then.
fn possible(writes: &[Write], since: usize) -> BTreeSet<i64> {
    let overwritten_before = writes
        .iter()
        .filter(|write| write.acknowledged.is_some_and(|at| at <= since))
        .map(|write| write.sent)
        .max();
    let is_left = |write: &&Write| match (write.acknowledged, overwritten_before) {
        (Some(acknowledged), Some(before)) => acknowledged >= before,
        _ => true,
    };
    let left = writes.iter().filter(is_left).map(|write| write.offset);
    left.chain(overwritten_before.is_none().then_some(-1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};
    use crate::event::Work;

    fn sent(commit: u64, offset: i64) -> Work {
        Work::CommitSent {
            group: "g".into(),
            consumer: 1,
            commit,
            partition: at(0),
            offset,
        }
    }

    fn acknowledged(commit: u64) -> Work {
        Work::CommitAcknowledged { commit }
    }

    fn found(offset: i64) -> Work {
        Work::CommitFound {
            group: "g".into(),
            consumer: 1,
            partition: at(0),
            offset,
        }
    }

    fn asked() -> Work {
        Work::CommitAsked {
            group: "g".into(),
            consumer: 1,
            partition: at(0),
        }
    }

    #[test]
    fn a_commit_that_goes_back_or_is_lost_is_found_and_an_open_one_may_be_either() {
        let two = || vec![sent(1, 5), acknowledged(1), sent(2, 9)];
        assert_eq!(verdict(check, two(), vec![found(5)]), 0);
        assert_eq!(verdict(check, two(), vec![found(9)]), 0);
        assert_eq!(verdict(check, two(), vec![found(-1)]), 1);
        assert_eq!(verdict(check, two(), vec![acknowledged(2), found(5)]), 1);
        assert_eq!(verdict(check, two(), vec![acknowledged(2), found(9)]), 0);
    }

    #[test]
    fn a_commit_without_an_answer_that_was_found_once_stays() {
        let two = || vec![sent(1, 5), acknowledged(1), sent(2, 9)];
        assert_eq!(verdict(check, two(), vec![found(9), found(5)]), 1);
        assert_eq!(verdict(check, two(), vec![found(5), found(9)]), 0);
        let three = [two(), vec![sent(3, 12)]].concat();
        assert_eq!(verdict(check, three.clone(), vec![found(12), found(9)]), 0);
        assert_eq!(verdict(check, three, vec![found(12), found(5)]), 1);
    }

    #[test]
    fn what_was_found_with_nothing_under_way_is_found_again() {
        let at_the_end = |offset| Work::CommitFound {
            group: "g".into(),
            consumer: 0,
            partition: at(0),
            offset,
        };
        let before = || vec![sent(1, 5), acknowledged(1), sent(2, 9), at_the_end(9)];
        assert_eq!(verdict(check, before(), vec![at_the_end(9)]), 0);
        assert_eq!(verdict(check, before(), vec![at_the_end(5)]), 1);
    }

    #[test]
    fn of_two_commits_at_once_either_may_be_last() {
        let both = || vec![sent(1, 5), sent(2, 9), acknowledged(2), acknowledged(1)];
        assert_eq!(verdict(check, both(), vec![found(5)]), 0);
        assert_eq!(verdict(check, both(), vec![found(9)]), 0);
        let later = || [both(), vec![sent(3, 11), acknowledged(3)]].concat();
        assert_eq!(verdict(check, later(), vec![found(9)]), 1);
    }

    #[test]
    fn an_open_commit_is_fenced_once_a_later_member_has_looked() {
        let before = || vec![sent(1, 5), sent(2, 9), acknowledged(2)];
        let looked = |more: Vec<Work>| [before(), vec![asked(), found(9)], more].concat();
        assert_eq!(verdict(check, before(), vec![found(5)]), 0);
        assert_eq!(verdict(check, looked(vec![]), vec![found(5)]), 1);
        assert_eq!(verdict(check, looked(vec![]), vec![found(9)]), 0);
        let further = looked(vec![sent(3, 12), acknowledged(3)]);
        assert_eq!(verdict(check, further, vec![found(12)]), 0);
    }

    #[test]
    fn a_member_may_find_what_was_committed_when_it_asked_and_not_fence_who_came_after() {
        let overtaken = || {
            let before = vec![sent(1, 5), acknowledged(1), asked()];
            let after = vec![assigned(2, 2, &[0]), sent(2, 9), acknowledged(2), found(5)];
            [before, after].concat()
        };
        assert_eq!(verdict(check, overtaken(), vec![]), 0);
        assert_eq!(
            verdict(check, [overtaken(), vec![asked()]].concat(), vec![found(9)]),
            0
        );
        assert_eq!(
            verdict(check, [overtaken(), vec![asked()]].concat(), vec![found(5)]),
            1
        );
    }
}
