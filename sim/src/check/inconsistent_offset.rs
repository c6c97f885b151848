//! No inconsistent offset: an offset of a partition stands for one record, whoever reads it and
//! whenever.

use std::collections::BTreeMap;

use super::History;
use crate::event::Work;

pub(super) fn check(history: &History<'_>) -> Vec<String> {
    let mut first = BTreeMap::new();
    let mut inconsistent = Vec::new();
    for work in &history.work {
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
        let before = *first.entry((partition, offset)).or_insert(contents);
        if before != contents {
            inconsistent.push(format!(
                "{partition} at {offset} was read as {before} and later as {contents}"
            ));
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
