//! No unwanted batch: what a fetch gives begins with the batch that holds the wanted offset, or with the
//! next one there is. A reader passes over what lies before, so a broker that begins too early hides
//! from every other checker, and a reader that takes in little at a time never gets on.

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str = "A fetch is given nothing that ends before the wanted offset.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let work = history.work.iter().enumerate();
    let unwanted = work.filter_map(|(at, work)| match work {
        Work::Unwanted {
            partition,
            wanted,
            got,
        } => {
            let detail = format!(
                "{partition} was wanted from {wanted} on, and was given from before {got} on"
            );
            Some(Finding::new(detail).seen(at))
        }
        _ => None,
    });
    unwanted.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn an_answer_that_begins_too_early_is_found() {
        let unwanted = Work::Unwanted {
            partition: at(0),
            wanted: 7,
            got: 5,
        };
        assert_eq!(verdict(check, vec![unwanted], vec![]), 1);
        assert_eq!(verdict(check, vec![read(7, 7)], vec![]), 0);
    }
}
