//! No offset gap: the offsets of a log that nobody compacts follow one another, from its start to its
//! end. A gap is where records were, or where a recovery or a new segment went on in the wrong place.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::{TopicPartition, Work};

/// What is promised.
pub(super) const PROMISE: &str =
    "The offsets of a log follow one another without a gap, from its start to its end.";

/// The offset that comes next in each partition's reading of one kind, once its start was told.
type Next<'a> = BTreeMap<&'a TopicPartition, i64>;

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let (mut last, mut again): (Next<'_>, Next<'_>) = Default::default();
    let mut gaps = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        let (reading, partition, offset, len) = match work {
            // Where retention overtakes a reading, it begins anew.
            Work::FinalStart {
                partition, offset, ..
            } => {
                last.insert(partition, *offset);
                continue;
            }
            Work::AgainStart { partition, offset } => {
                again.insert(partition, *offset);
                continue;
            }
            Work::Final {
                partition, offset, ..
            } => (&mut last, partition, offset, 1),
            Work::FinalEnd { partition, offset } => (&mut last, partition, offset, 0),
            Work::Again {
                partition, offset, ..
            } => (&mut again, partition, offset, 1),
            Work::AgainEnd { partition, offset } => (&mut again, partition, offset, 0),
            _ => continue,
        };
        let Some(expected) = reading.get_mut(partition) else {
            continue;
        };
        if offset != expected {
            let detail = format!("{partition} goes on at {offset} where {expected} should follow");
            gaps.push(Finding::new(detail).seen(at));
        }
        *expected = offset + len;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn a_log_that_leaves_offsets_out_or_gives_one_twice_is_found() {
        let end = |offset| Work::FinalEnd {
            partition: at(0),
            offset,
        };
        assert_eq!(verdict(check, vec![started(0, 0)], log(&[7, 8, 9])), 0);
        assert_eq!(verdict(check, vec![started(1, 0)], log(&[7, 8, 9])), 1);
        assert_eq!(verdict(check, vec![started(0, 0)], vec![end(2)]), 1);
        let mut short = log(&[7, 8, 9]);
        short.remove(1);
        assert_eq!(verdict(check, vec![started(0, 0)], short), 1);
        let mut twice = log(&[7, 8, 9]);
        twice.insert(1, twice[0].clone());
        assert_eq!(verdict(check, vec![started(0, 0)], twice), 1);
    }

    #[test]
    fn a_gap_after_the_last_loss_of_power_is_found_and_a_reading_that_begins_anew_is_none() {
        let start = |offset| Work::AgainStart {
            partition: at(0),
            offset,
        };
        let end = |offset| Work::AgainEnd {
            partition: at(0),
            offset,
        };
        assert_eq!(verdict(check, vec![start(3), end(4)], vec![]), 1);
        assert_eq!(verdict(check, vec![start(3), start(4), end(4)], vec![]), 0);
    }
}
