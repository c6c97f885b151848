//! No stuck operation: when the faults are over, everything outstanding ends in its time.

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str =
    "When the faults are over, everything outstanding ends in its time.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    history
        .work
        .iter()
        .enumerate()
        .filter_map(|(at, work)| match work {
            Work::Stuck(what) => Some(Finding::new(what.clone()).seen(at)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};
    use crate::event::Work;

    #[test]
    fn what_did_not_end_is_told() {
        assert_eq!(verdict(check, vec![], log(&[])), 0);
        assert_eq!(
            verdict(check, vec![Work::Stuck("a producer".to_owned())], vec![]),
            1
        );
    }
}
