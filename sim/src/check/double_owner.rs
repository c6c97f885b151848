//! No double owner: in one generation of a group a partition belongs to one member.

use std::collections::BTreeMap;

use super::{Finding, History};
use crate::event::Work;

/// What is promised.
pub(super) const PROMISE: &str = "In one generation of a group a partition belongs to one member.";

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut owners = BTreeMap::new();
    let mut doubles = Vec::new();
    for (at, work) in history.work.iter().enumerate() {
        let Work::Assigned {
            group,
            consumer,
            generation,
            partitions,
        } = work
        else {
            continue;
        };
        for partition in partitions.iter().filter(|_| *generation >= 0) {
            let (owner, first) = *owners
                .entry((group, generation, partition))
                .or_insert((consumer, at));
            if owner != consumer {
                let detail = format!(
                    "{partition} belongs to consumers {owner} and {consumer} in generation {generation} of {group}"
                );
                doubles.push(Finding::new(detail).promised(first).seen(at));
            }
        }
    }
    doubles
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, check};

    #[test]
    fn a_partition_with_two_owners_in_one_generation_is_found() {
        let one = || vec![assigned(1, 4, &[0]), assigned(2, 4, &[1])];
        assert_eq!(verdict(check, one(), vec![]), 0);
        assert_eq!(verdict(check, one(), vec![assigned(2, 5, &[0, 1])]), 0);
        assert_eq!(verdict(check, one(), vec![assigned(2, 4, &[0, 1])]), 1);
    }
}
