//! No duplicate write: an idempotent producer's record is in the log at most once.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::{Contents, Promise};

/// What is promised.
pub(super) const PROMISE: &str = "An idempotent producer's record is in the log at most once.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut duplicates = Vec::new();
    for (partition, log) in &history.logs {
        let mut first: BTreeMap<_, &i64> = BTreeMap::new();
        for (offset, contents) in log {
            if let Contents::Whole(record) = contents
                && history.promise(record.producer) == Promise::Once
                && let Some(before) = first.insert(record, offset)
            {
                let detail = format!("{record} is in {partition} at {before} and at {offset}");
                let place = |offset| history.place(partition, offset);
                duplicates.push(
                    Finding::new(detail)
                        .promised(place(*before))
                        .seen(place(*offset)),
                );
            }
        }
    }
    duplicates
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn a_record_that_is_there_twice_is_found() {
        assert_eq!(verdict(check, vec![], log(&[0, 1, 2])), 0);
        assert_eq!(verdict(check, vec![], log(&[0, 1, 0])), 1);
        let durable = vec![promised(Promise::Durable)];
        assert_eq!(verdict(check, durable, log(&[0, 1, 0])), 0);
    }
}
