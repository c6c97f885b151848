//! No skipped read: a reader is handed every record from its position on, in order and once.

use std::collections::BTreeMap;

use super::History;
use crate::event::Work;

pub(super) fn check(history: &History<'_>) -> Vec<String> {
    let mut positions = BTreeMap::new();
    let mut skipped = Vec::new();
    for work in &history.work {
        match work {
            Work::Positioned {
                consumer,
                partition,
                offset,
            } => {
                positions.insert((consumer, partition), *offset);
            }
            Work::Read {
                consumer,
                partition,
                offset,
                ..
            } => {
                let before = positions.insert((consumer, partition), offset + 1);
                let (Some(before), Some(log)) = (before, history.logs.get(partition)) else {
                    continue;
                };
                let next = log.range(before..).next().map(|(next, _)| *next);
                // A record that is not there any more is another checker's.
                if next != Some(*offset) && (log.contains_key(offset) || *offset < before) {
                    skipped.push(format!(
                        "consumer {consumer} was at {before} in {partition} and read {offset}; the log has {next:?} there"
                    ));
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
