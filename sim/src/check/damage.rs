//! Damage: what is left to be judged after faults that took away or changed what was durable.
//!
//! A broker with one copy of everything cannot bring back what a disk has lost. What it can do is not
//! to pass damage off as data. So the rule is: **damage that was told of is forgiven, damage that was
//! not is judged in full.** It is told of by an error in answer to reads of a partition that does not go
//! away, by a batch whose own checksum says that it is damaged, by a recovery that reports a cut in a log,
//! by a broker that will not start, or by an empty disk, which is a new broker's.
//!
//! * While nothing was told, every invariant holds as ever: a log that is silently shorter or renumbered
//!   shows as a lost write, a vanished read or an inconsistent offset.
//! * What was told of a partition takes that partition out of account; what was told of no partition
//!   in particular takes out all of them. Then nothing needs to come to an end either: a producer
//!   cannot write to a partition that is offline for good.
//! * A changed record is never forgiven: bytes that nobody wrote, under a checksum that holds.
//!
//! Where no fault did damage, being told of it is a violation (see `changed_record`).

use std::collections::BTreeSet;

use super::History;
use crate::event::{TopicPartition, Work};

/// What the broker told of damage that was done.
#[derive(Debug, Default)]
struct Told<'a> {
    anywhere: bool,
    partitions: BTreeSet<&'a TopicPartition>,
}

fn told<'a>(work: &[&'a Work]) -> Told<'a> {
    let mut told = Told::default();
    let mut done = false;
    for event in work {
        match event {
            Work::Damaged { .. } => done = true,
            Work::LogCut
            | Work::DamageTold {
                partition: None, ..
            } if done => told.anywhere = true,
            Work::DamageTold {
                partition: Some(partition),
                ..
            } if done => drop(told.partitions.insert(partition)),
            _ => {}
        }
    }
    told
}

/// The history without what was told to be damaged; none if all of it is to be judged.
pub(super) fn judged<'a>(history: &History<'a>) -> Option<History<'a>> {
    let told = told(&history.work);
    if told.anywhere {
        return Some(History::new([]));
    }
    if told.partitions.is_empty() {
        return None;
    }
    let left = history.work.iter().copied().filter(|work| {
        let concerned = work
            .partition()
            .is_some_and(|at| told.partitions.contains(at));
        !concerned && !matches!(work, Work::Stuck(_))
    });
    Some(History::new(left))
}

#[cfg(test)]
mod tests {
    use super::super::{History, check, fixture::*};
    use crate::event::{Contents, Work};

    fn broken(before: Vec<Work>, log: Vec<Work>) -> Vec<&'static str> {
        let work: Vec<Work> = before.into_iter().chain(log).collect();
        let found = check(&History::new(&work)).into_iter();
        found.map(|violation| violation.invariant).collect()
    }

    fn damaged() -> Work {
        Work::Damaged {
            what: "a bit".to_owned(),
        }
    }

    fn told(partition: Option<i32>) -> Work {
        Work::DamageTold {
            partition: partition.map(at),
            how: "an error".to_owned(),
        }
    }

    #[test]
    fn a_log_that_is_silently_shorter_after_damage_is_found_and_one_that_was_told_of_is_not() {
        let lost = |more: Vec<Work>| {
            let before = [vec![acknowledged(0, 0), damaged()], more].concat();
            broken(before, log(&[]))
        };
        assert_eq!(lost(vec![]), ["lost_write"]);
        assert_eq!(lost(vec![told(Some(1))]), ["lost_write"]);
        assert!(lost(vec![told(Some(0))]).is_empty());
        assert!(lost(vec![told(None)]).is_empty());
        assert!(lost(vec![Work::LogCut]).is_empty());
    }

    #[test]
    fn a_changed_record_is_found_whatever_was_told() {
        let changed = Work::Read {
            consumer: 1,
            partition: at(0),
            offset: 0,
            contents: Contents::Changed { digest: 1 },
        };
        let before = vec![damaged(), told(None), changed];
        assert_eq!(broken(before, log(&[0])), ["changed_record"]);
    }

    #[test]
    fn being_told_of_damage_that_nothing_did_is_found() {
        assert_eq!(broken(vec![told(Some(0))], log(&[])), ["changed_record"]);
        let late = vec![acknowledged(0, 0), told(Some(0)), damaged()];
        assert!(broken(late, log(&[])).contains(&"lost_write"));
    }
}
