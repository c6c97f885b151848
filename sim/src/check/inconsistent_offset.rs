//! No inconsistent offset: an offset of a partition stands for one record, whoever reads it and
//! whenever.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str =
    "An offset of a partition stands for one record, whoever reads it and whenever.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut first = BTreeMap::new();
    let mut inconsistent = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        let (Work::Read {
            partition,
            offset,
            contents,
            ..
        }
        | Work::Final {
            partition,
            offset,
            contents,
            ..
        }) = work
        else {
            continue;
        };
        let (before, promised) = *first.entry((partition, offset)).or_insert((contents, at));
        if before != contents {
            let detail =
                format!("{partition} at {offset} was read as {before} and later as {contents}");
            inconsistent.push(Finding::new(detail).promised(promised).seen(at));
        }
    }
    inconsistent
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};

    #[test]
    fn an_offset_that_is_read_as_two_records_is_found() {
        assert_eq!(verdict(check, vec![read(0, 0), read(0, 0)], log(&[0])), 0);
        assert_eq!(verdict(check, vec![read(0, 0), read(0, 1)], vec![]), 1);
        assert_eq!(verdict(check, vec![read(0, 0)], log(&[1])), 1);
    }
}
