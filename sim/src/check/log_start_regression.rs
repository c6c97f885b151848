//! No log start regression: records that were deleted never come back, whatever the broker forgets.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str =
    "What was deleted never comes back: the start of a log does not go back.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut highest = BTreeMap::new();
    let mut regressions = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Deleted {
                partition,
                log_start,
            } => {
                let before = highest.entry(partition).or_insert(0);
                *before = (*log_start).max(*before);
            }
            Work::FinalStart {
                partition, offset, ..
            }
            | Work::AgainStart { partition, offset } => {
                let before = highest.entry(partition).or_insert(0);
                if offset < before {
                    regressions.push(
                        Finding::new(format!(
                            "{partition} started at {before} and starts at {offset} again"
                        ))
                        .seen(at),
                    );
                }
                *before = (*offset).max(*before);
            }
            _ => {}
        }
    }
    regressions
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn a_start_below_an_acknowledged_deletion_or_an_earlier_start_is_found() {
        let deleted = || Work::Deleted {
            partition: at(0),
            log_start: 5,
        };
        let again = |offset| Work::AgainStart {
            partition: at(0),
            offset,
        };
        assert_eq!(verdict(check, vec![deleted(), started(5, 0)], vec![]), 0);
        assert_eq!(verdict(check, vec![deleted(), started(4, 0)], vec![]), 1);
        assert_eq!(verdict(check, vec![started(4, 0), again(4)], vec![]), 0);
        assert_eq!(verdict(check, vec![started(4, 0), again(3)], vec![]), 1);
    }
}
