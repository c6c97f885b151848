//! No stale commit: once a partition has a new owner, what the old one sends is not accepted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str =
    "Once a partition has a new owner, what the old one sends is not accepted.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut owners = BTreeMap::new();
    let mut late = BTreeMap::new();
    let mut told = BTreeSet::new();
    let mut stale = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Assigned {
                group,
                consumer,
                generation,
                partitions,
            } => {
                for partition in partitions {
                    // Who was stalled may tell of an earlier generation later.
                    let owner =
                        owners
                            .entry((group, partition))
                            .or_insert((*generation, consumer, at));
                    *owner = (*owner).max((*generation, consumer, at));
                }
            }
            Work::CommitSent {
                group,
                consumer,
                commit,
                partition,
                offset,
            } => {
                if let Some((_, owner, since)) = owners.get(&(group, partition))
                    && *owner != consumer
                {
                    late.insert(commit, (consumer, partition, offset, *owner, *since));
                }
            }
            Work::CommitAcknowledged { commit } if told.insert(commit) => {
                if let Some((consumer, partition, offset, owner, since)) = late.get(commit) {
                    let detail = format!(
                        "consumer {consumer} was told that {partition} is committed at {offset}, which consumer {owner} held before it sent that"
                    );
                    stale.push(Finding::new(detail).promised(*since).seen(at));
                }
            }
            _ => {}
        }
    }
    stale
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};
    use crate::event::Work;

    #[test]
    fn a_commit_sent_after_the_partition_went_to_another_and_accepted_is_found() {
        let sent = || Work::CommitSent {
            group: "g".into(),
            consumer: 1,
            commit: 7,
            partition: at(0),
            offset: 5,
        };
        let answered = || vec![Work::CommitAcknowledged { commit: 7 }];
        let mine = || vec![assigned(1, 1, &[0]), sent()];
        assert_eq!(verdict(check, mine(), answered()), 0);
        let overtaken = [mine(), vec![assigned(2, 2, &[0])]].concat();
        assert_eq!(verdict(check, overtaken, answered()), 0);
        let late = || vec![assigned(1, 1, &[0]), assigned(2, 2, &[0]), sent()];
        assert_eq!(verdict(check, late(), vec![]), 0);
        assert_eq!(verdict(check, late(), answered()), 1);
        let told_late = vec![assigned(1, 3, &[0]), assigned(2, 2, &[0]), sent()];
        assert_eq!(verdict(check, told_late, answered()), 0);
    }
}
