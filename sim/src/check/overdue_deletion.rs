//! No overdue deletion: where retention goes by size, a log that nobody writes to any more shrinks to
//! its size and the segments that cannot go.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::Work;

/// What may be there beside what is to be kept: the segment that the limit falls into, and the one
/// that is written to. A segment is closed by the batch that no longer fits, so it is full at most.
const SEGMENTS_MORE: i64 = 2;
/// The largest segment that scenarios with retention by size have.
const SEGMENT_BYTES_MAX: i64 = 256 << 10;

/// What is promised.
pub(super) const PROMISE: &str =
    "Where retention goes by size, a log that nobody writes to any more shrinks to that size.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut limits = BTreeMap::new();
    let mut overdue = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Retained { topic, bytes, .. } => {
                limits.insert(&**topic, *bytes);
            }
            Work::FinalSize { partition, bytes } => {
                let limit = limits.get(&*partition.topic).copied().flatten();
                let most = limit.map(|limit| limit + SEGMENTS_MORE * SEGMENT_BYTES_MAX);
                if let (Some(limit), true) = (limit, most.is_some_and(|most| *bytes > most)) {
                    overdue.push(Finding::new(format!(
                        "{partition} has {bytes} bytes long after the last write; {limit} were to be kept"
                    )).seen(at));
                }
            }
            _ => {}
        }
    }
    overdue
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn a_log_that_stays_far_above_its_size_is_found() {
        let size = |bytes| Work::FinalSize {
            partition: at(0),
            bytes,
        };
        let limit = || retained(None, Some(1000));
        let most = 1000 + SEGMENTS_MORE * SEGMENT_BYTES_MAX;
        assert_eq!(verdict(check, vec![limit(), size(most)], vec![]), 0);
        assert_eq!(verdict(check, vec![limit(), size(most + 1)], vec![]), 1);
        assert_eq!(verdict(check, vec![size(most + 1)], vec![]), 0);
    }
}
