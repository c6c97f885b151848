//! No restless group: where nothing fails and no member comes, goes or is slow, a group keeps its
//! generation and everybody what they hold. One that rebalances for nothing reads nothing meanwhile,
//! and heals itself before any other checker sees it.

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str =
    "While nothing fails and no member comes or goes, a group keeps its generation.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut quiet = None;
    let mut restless = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Quiet(is_quiet) => quiet = is_quiet.then_some(at),
            Work::Assigned {
                group,
                consumer,
                generation,
                ..
            } => {
                if let Some(since) = quiet {
                    let detail = format!(
                        "consumer {consumer} is in generation {generation} of {group}, which nothing has called for"
                    );
                    restless.push(Finding::new(detail).promised(since).seen(at));
                }
            }
            _ => {}
        }
    }
    restless
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn an_assignment_in_quiet_times_is_found() {
        let work = |begins, ends| {
            vec![
                assigned(1, 4, &[0]),
                Work::Quiet(begins),
                assigned(1, 5, &[0]),
                Work::Quiet(ends),
                assigned(1, 6, &[0]),
            ]
        };
        assert_eq!(verdict(check, work(true, false), vec![]), 1);
        assert_eq!(verdict(check, work(false, false), vec![]), 0);
    }
}
