//! No reordered write: an idempotent producer's records are in a partition in the order in which it
//! sent them.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::{Contents, Promise};

/// What is promised.
pub(super) const PROMISE: &str =
    "An idempotent producer's records are in a partition in the order in which it sent them.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut reordered = Vec::new();
    for (partition, log) in &history.logs {
        let mut last: BTreeMap<_, (u64, &i64)> = BTreeMap::new();
        for (offset, contents) in log {
            let Contents::Whole(record) = contents else {
                continue;
            };
            if history.promise(record.producer) != Promise::Once {
                continue;
            }
            if let Some((before, at)) = last.insert(record.producer, (record.sequence, offset))
                && before > record.sequence
            {
                let detail =
                    format!("{record} is in {partition} at {offset}, behind #{before} at {at}");
                let place = |offset| history.place(partition, offset);
                reordered.push(
                    Finding::new(detail)
                        .promised(place(*at))
                        .seen(place(*offset)),
                );
            }
        }
    }
    reordered
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn a_record_behind_a_later_one_is_found() {
        assert_eq!(verdict(check, vec![], log(&[0, 2, 3])), 0);
        assert_eq!(verdict(check, vec![], log(&[0, 2, 1])), 1);
        let durable = vec![promised(Promise::Durable)];
        assert_eq!(verdict(check, durable, log(&[0, 2, 1])), 0);
    }
}
