//! No misordered answer: requests of one connection are answered in the order in which they were sent,
//! however long each takes (Kafka's protocol guide). Clients count on it and drop a connection that
//! breaks it, which hides it from every other checker.

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str =
    "The requests of a connection are answered in the order in which they were sent.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let work = history.work.iter().enumerate();
    let misordered = work.filter_map(|(at, work)| match work {
        Work::Answered { expected, got } if expected != got => {
            let detail = format!("the answer to request {got} came where {expected}'s was due");
            Some(Finding::new(detail).seen(at))
        }
        _ => None,
    });
    misordered.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn an_answer_that_overtakes_another_is_found() {
        let answered = |expected, got| Work::Answered { expected, got };
        assert_eq!(verdict(check, vec![answered(3, 3)], vec![]), 0);
        assert_eq!(verdict(check, vec![answered(3, 4)], vec![]), 1);
    }
}
