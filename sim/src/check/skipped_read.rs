//! No skipped read: a reader is handed every record from its position on, in order and once.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str =
    "A reader is handed every record from its position on, in order and once.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut positions = BTreeMap::new();
    let mut skipped = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Positioned {
                consumer,
                partition,
                offset,
            } => {
                positions.insert((consumer, partition), (*offset, at));
            }
            Work::Read {
                consumer,
                partition,
                offset,
                ..
            } => {
                let before = positions.insert((consumer, partition), (offset + 1, at));
                let (Some((before, positioned)), Some(log)) = (before, history.logs.get(partition))
                else {
                    continue;
                };
                let next = log.range(before..).next().map(|(next, _)| *next);
                // A record that is not there any more is another checker's.
                if next != Some(*offset) && (log.contains_key(offset) || *offset < before) {
                    let next = next.map_or("nothing".to_owned(), |next| next.to_string());
                    let detail = format!(
                        "consumer {consumer} was at {before} in {partition} and read {offset}; the next in the log is {next}"
                    );
                    skipped.push(Finding::new(detail).promised(positioned).seen(at));
                }
            }
            _ => {}
        }
    }
    skipped
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};
    use crate::event::Work;

    #[test]
    fn a_reader_that_skips_or_goes_back_is_found() {
        let log = || log(&[0, 1, 2, 3]);
        let positioned = |offset| Work::Positioned {
            consumer: 1,
            partition: at(0),
            offset,
        };
        let reads = |from: i64, offsets: &[i64]| {
            let reads = offsets.iter().map(|at| read(*at, *at as u64));
            [positioned(from)].into_iter().chain(reads).collect()
        };
        assert_eq!(verdict(check, reads(0, &[0, 1, 2]), log()), 0);
        assert_eq!(verdict(check, reads(0, &[0, 2]), log()), 1);
        assert_eq!(verdict(check, reads(0, &[1]), log()), 1);
        assert_eq!(verdict(check, reads(1, &[1, 2, 1]), log()), 1);
    }
}
