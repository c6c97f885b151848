//! No vanished read: what a consumer was shown stays until it is deleted (KAFKA-10101: recovered data that was never
//! synced, served, and gone after the next power loss).

use std::collections::BTreeSet;

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str = "What a consumer was shown stays in the log.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let mut vanished = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        let Work::Read {
            partition,
            offset,
            contents,
            ..
        } = work
        else {
            continue;
        };
        let Some(log) = history.logs.get(partition) else {
            continue;
        };
        if log.contains_key(offset) || history.may_be_deleted(partition, *offset) {
            continue;
        }
        if told.insert((partition, offset)) {
            let detail = format!("{contents} was read in {partition} at {offset}; it is gone");
            vanished.push(
                Finding::new(detail)
                    .promised(at)
                    .seen(history.end(partition)),
            );
        }
    }
    vanished
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};

    #[test]
    fn a_record_that_was_read_and_is_gone_is_found() {
        assert_eq!(
            verdict(check, vec![read(0, 0), read(1, 1)], log(&[0, 1])),
            0
        );
        assert_eq!(verdict(check, vec![read(0, 0), read(1, 1)], log(&[0])), 1);
        let deleted = vec![read(0, 0), deletion_asked(1), started(1, 0)];
        assert_eq!(verdict(check, deleted, log(&[])), 0);
    }
}
