//! No overlapping owner: a member gets a partition only after the member of the same generation that
//! had it has let it go (KIP-429's rule, and what the eager protocol is for). Two that work on one
//! partition at a time process its records twice and out of order, whatever their commits come to.
//!
//! A member that was given up and does not know it yet takes no part in the generation, and is no
//! owner: that cannot be had without asking the coordinator before each record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Finding, History};
use crate::event::{TopicPartition, Work};

/// What is promised.
pub(super) const PROMISE: &str = "A member gets a partition only after the member of the same generation that had it has let it go.";

/// A time in which a member had a partition, by places in the history.
struct Spell {
    since: usize,
    until: Option<usize>,
    lost: bool,
    /// In which generation it got it, once that was told.
    generation: Option<i32>,
}

#[derive(Default)]
struct Group<'a> {
    spells: BTreeMap<(u32, &'a TopicPartition), Vec<Spell>>,
    /// Who took part in each generation.
    members: BTreeMap<i32, BTreeSet<u32>>,
    /// Who got what in a generation, and when.
    owners: BTreeMap<(i32, u32, &'a TopicPartition), usize>,
}

pub(super) fn check(history: &History<'_>) -> Vec<Finding> {
    let mut groups: BTreeMap<&Arc<str>, Group<'_>> = BTreeMap::new();
    for (at, work) in history.work.iter().enumerate() {
        match work {
            Work::Took {
                group,
                consumer,
                partitions,
            } => {
                let group = groups.entry(group).or_default();
                for partition in partitions {
                    let spells = group.spells.entry((*consumer, partition)).or_default();
                    spells.push(Spell {
                        since: at,
                        until: None,
                        lost: false,
                        generation: None,
                    });
                }
            }
            Work::Gave {
                group,
                consumer,
                partitions,
                lost,
            } => {
                let group = groups.entry(group).or_default();
                for partition in partitions {
                    let spells = group.spells.entry((*consumer, partition)).or_default();
                    if let Some(spell) = spells.last_mut().filter(|spell| spell.until.is_none()) {
                        spell.until = Some(at);
                        spell.lost = *lost;
                    }
                }
            }
            Work::Assigned {
                group,
                consumer,
                generation,
                partitions,
            } if *generation >= 0 => {
                let group = groups.entry(group).or_default();
                let members = group.members.entry(*generation).or_default();
                members.insert(*consumer);
                for partition in partitions {
                    let spells = group.spells.get_mut(&(*consumer, partition));
                    let spell = spells.and_then(|spells| spells.last_mut());
                    if let Some(spell) = spell.filter(|spell| spell.generation.is_none()) {
                        spell.generation = Some(*generation);
                        let owner = (*generation, *consumer, partition);
                        group.owners.insert(owner, spell.since);
                    }
                }
            }
            _ => {}
        }
    }
    let groups = groups.into_iter();
    groups
        .flat_map(|(name, group)| group.overlaps(name))
        .collect()
}

impl Group<'_> {
    fn overlaps(&self, name: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        for ((generation, owner, partition), since) in &self.owners {
            for other in self.members.get(generation).into_iter().flatten() {
                let spells = self.spells.get(&(*other, *partition));
                let overlap = spells.into_iter().flatten().find(|spell| {
                    let still = spell.until.is_none_or(|until| until > *since);
                    // What was given in a later one was not had in this: its owner hears of it late.
                    let before = spell.generation.is_some_and(|own| own <= *generation);
                    other != owner && spell.since < *since && before && still && !spell.lost
                });
                if let Some(Spell { since: from, .. }) = overlap {
                    let detail = format!(
                        "consumer {owner} got {partition} in generation {generation} of {name} while consumer {other} of the same generation had it"
                    );
                    found.push(Finding::new(detail).promised(*from).seen(*since));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    fn took(consumer: u32) -> Work {
        Work::Took {
            group: "g".into(),
            consumer,
            partitions: vec![at(0)],
        }
    }

    fn gave(consumer: u32, lost: bool) -> Work {
        Work::Gave {
            group: "g".into(),
            consumer,
            partitions: vec![at(0)],
            lost,
        }
    }

    #[test]
    fn a_partition_that_is_got_before_it_is_let_go_is_found() {
        let before = || vec![took(1), assigned(1, 4, &[0])];
        let late = [
            before(),
            vec![took(2), assigned(2, 5, &[0])],
            vec![gave(1, false), assigned(1, 5, &[])],
        ];
        assert_eq!(verdict(check, late.concat(), vec![]), 1);
        let in_time = [
            before(),
            vec![gave(1, false), took(2)],
            vec![assigned(2, 5, &[0]), assigned(1, 5, &[])],
        ];
        assert_eq!(verdict(check, in_time.concat(), vec![]), 0);
    }

    #[test]
    fn one_that_was_given_up_and_does_not_know_it_is_no_owner() {
        let zombie = |back| {
            vec![
                took(1),
                assigned(1, 4, &[0]),
                took(2),
                assigned(2, 5, &[0]),
                gave(1, true),
                assigned(1, back, &[]),
                assigned(2, back, &[0]),
            ]
        };
        assert_eq!(verdict(check, zombie(5), vec![]), 0);
        assert_eq!(verdict(check, zombie(6), vec![]), 0);
    }

    #[test]
    fn one_that_hears_late_of_what_it_was_given_overlaps_with_no_later_generation() {
        // Both took part in 4. The first was given the partition in 5, before the second, which was
        // paused, heard of what it had been given in 4.
        let given_in = |generation| {
            vec![
                assigned(1, 4, &[]),
                took(1),
                assigned(1, generation, &[0]),
                took(2),
                assigned(2, 4, &[0]),
                gave(2, true),
            ]
        };
        assert_eq!(verdict(check, given_in(5), vec![]), 0);
        assert_eq!(verdict(check, given_in(4), vec![]), 1);
    }
}
