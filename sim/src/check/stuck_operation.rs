//! No stuck operation: when the faults are over, everything outstanding ends in its time.

use super::History;
use crate::event::Work;

pub(super) fn check(history: &History<'_>) -> Vec<String> {
    history
        .work
        .iter()
        .filter_map(|work| match work {
            Work::Stuck(what) => Some(what.clone()),
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
