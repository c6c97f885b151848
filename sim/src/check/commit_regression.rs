//! No commit regression: a group's committed offset is that of its last acknowledged commit, or of
//! one whose answer never came. (KAFKA-20634: commits acknowledged and then truncated.)

use std::collections::BTreeMap;

use super::History;
use crate::event::Work;

/// What a committed offset may be found as.
#[derive(Default)]
struct Possible {
    acknowledged: Option<i64>,
    /// Commits without an acknowledgement: they may take effect, even late.
    open: Vec<(u64, i64)>,
}

pub(super) fn check(history: &History<'_>) -> Vec<String> {
    let mut possible: BTreeMap<_, Possible> = BTreeMap::new();
    let mut sent = BTreeMap::new();
    let mut regressions = Vec::new();
    for work in &history.work {
        match work {
            Work::CommitSent {
                group,
                commit,
                partition,
                offset,
            } => {
                let state = possible.entry((group, partition)).or_default();
                state.open.push((*commit, *offset));
                sent.insert(commit, (group, partition));
            }
            Work::CommitAcknowledged { commit } => {
                let state = sent.get(commit).and_then(|place| possible.get_mut(place));
                if let Some(state) = state
                    && let Some(index) = state.open.iter().position(|(open, _)| open == commit)
                {
                    state.acknowledged = Some(state.open.remove(index).1);
                }
            }
            Work::FinalCommit {
                group,
                partition,
                offset,
            } => {
                let state = possible.entry((group, partition)).or_default();
                let last = state.acknowledged.unwrap_or(-1);
                if *offset != last && !state.open.iter().any(|(_, open)| open == offset) {
                    regressions.push(format!(
                        "{group} was told that {partition} is committed at {last}; it is at {offset}"
                    ));
                }
            }
            _ => {}
        }
    }
    regressions
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};
    use crate::event::Work;

    fn sent(commit: u64, offset: i64) -> Work {
        Work::CommitSent {
            group: "g".into(),
            commit,
            partition: at(0),
            offset,
        }
    }

    fn acknowledged(commit: u64) -> Work {
        Work::CommitAcknowledged { commit }
    }

    fn found(offset: i64) -> Work {
        Work::FinalCommit {
            group: "g".into(),
            partition: at(0),
            offset,
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
}
