//! The invariants: what must hold of every history, whatever the faults were.
//!
//! Each is a noun with a file of its own, reads nothing but the workload's events, and has a test
//! that it can fail. The ground truth is the log itself, read whole at the end with nothing else
//! going on; a consumer's view alone could not tell a lost record from a late one.

mod changed_record;
mod commit_regression;
mod damage;
mod double_owner;
mod duplicate_write;
mod early_deletion;
mod finding;
mod inconsistent_offset;
mod log_start_regression;
mod lost_write;
mod misordered_answer;
mod misplaced_time;
mod offset_gap;
mod overdue_deletion;
mod overlapping_owner;
mod reordered_write;
mod restless_group;
mod skipped_read;
mod stale_commit;
mod stale_news;
mod stuck_operation;
mod unseen_record;
mod unstable_end;
mod unwanted_batch;
mod vanished_read;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use self::finding::Finding;
use crate::event::{Contents, Promise, TopicPartition, Work};

/// An invariant that does not hold, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen, and what should have been.
    pub detail: String,
    /// The place in [`History::work`] of the event that made the promise, where it is one event.
    pub promised: Option<usize>,
    /// The place of the event at which it was seen broken, where it is one event.
    pub seen: Option<usize>,
}

impl Violation {
    /// A violation that no single event shows.
    pub fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self::found(invariant, Finding::new(detail))
    }

    fn found(invariant: &'static str, finding: Finding) -> Self {
        Self {
            invariant,
            detail: finding.detail,
            promised: finding.promised,
            seen: finding.seen,
        }
    }

    /// What is promised, in a sentence.
    #[must_use]
    pub fn promise(&self) -> &'static str {
        let known = INVARIANTS.iter().find(|one| one.name == self.invariant);
        match (known, self.invariant) {
            (Some(invariant), _) => invariant.promise,
            (None, "panic") => "Nothing panics.",
            (None, "expect") => "What the scenario expects is so.",
            (None, _) => "The run does what it is asked to do.",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// What the workload did and saw, with the logs as they are at the end.
#[derive(Debug)]
pub struct History<'a> {
    /// Everything, in order.
    pub work: Vec<&'a Work>,
    /// Each partition's records at the end, by offset; those that were read whole.
    pub logs: BTreeMap<&'a TopicPartition, BTreeMap<i64, Contents>>,
    /// Where each of them starts.
    starts: BTreeMap<&'a TopicPartition, i64>,
    /// What each producer may expect.
    promises: BTreeMap<u32, Promise>,
    /// The topics whose records retention may delete.
    retained: BTreeSet<&'a str>,
    /// Below this somebody asked for a partition's records to be deleted.
    deletions: BTreeMap<&'a TopicPartition, i64>,
    places: BTreeMap<(&'a TopicPartition, i64), usize>,
    ends: BTreeMap<&'a TopicPartition, usize>,
}

type Checker = fn(&History<'_>) -> Vec<Finding>;

/// Something that must hold.
#[derive(Debug)]
pub struct Invariant {
    /// Its name, a noun for what must not be.
    pub name: &'static str,
    /// What is promised, in a sentence.
    pub promise: &'static str,
    check: Checker,
}

/// An invariant from the module of its name.
macro_rules! invariant {
    ($name:ident) => {
        Invariant {
            name: stringify!($name),
            promise: $name::PROMISE,
            check: $name::check,
        }
    };
}

/// Every invariant, by name.
pub const INVARIANTS: [Invariant; 23] = [
    invariant!(lost_write),
    invariant!(duplicate_write),
    invariant!(reordered_write),
    invariant!(changed_record),
    invariant!(vanished_read),
    invariant!(inconsistent_offset),
    invariant!(offset_gap),
    invariant!(skipped_read),
    invariant!(unseen_record),
    invariant!(commit_regression),
    invariant!(stale_commit),
    invariant!(double_owner),
    invariant!(overlapping_owner),
    invariant!(restless_group),
    invariant!(unstable_end),
    invariant!(log_start_regression),
    invariant!(early_deletion),
    invariant!(overdue_deletion),
    invariant!(misplaced_time),
    invariant!(misordered_answer),
    invariant!(unwanted_batch),
    invariant!(stale_news),
    invariant!(stuck_operation),
];

/// Details of one invariant that are told; a broken run may have thousands.
const DETAILS_MAX: usize = 5;

impl<'a> History<'a> {
    /// The history of these events.
    pub fn new(work: impl IntoIterator<Item = &'a Work>) -> Self {
        let work: Vec<&Work> = work.into_iter().collect();
        let mut logs: BTreeMap<&TopicPartition, BTreeMap<i64, Contents>> = BTreeMap::new();
        let mut starts = BTreeMap::new();
        let mut promises = BTreeMap::new();
        let mut retained = BTreeSet::new();
        let mut deletions: BTreeMap<&TopicPartition, i64> = BTreeMap::new();
        let (mut places, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for (at, event) in work.iter().enumerate() {
            match event {
                Work::ProducerBegan { producer, promise } => {
                    promises.insert(*producer, *promise);
                }
                Work::Retained {
                    topic, ms: Some(_), ..
                }
                | Work::Retained {
                    topic,
                    bytes: Some(_),
                    ..
                } => {
                    retained.insert(&**topic);
                }
                Work::DeletionAsked { partition, before } => {
                    let below = deletions.entry(partition).or_default();
                    *below = (*below).max(*before);
                }
                Work::FinalStart {
                    partition, offset, ..
                } => {
                    starts.insert(partition, *offset);
                }
                Work::Final {
                    partition,
                    offset,
                    contents,
                    ..
                } => {
                    logs.entry(partition)
                        .or_default()
                        .insert(*offset, *contents);
                    places.insert((partition, *offset), at);
                }
                Work::FinalEnd { partition, .. } => {
                    ends.insert(partition, at);
                }
                _ => {}
            }
        }
        for partition in ends.keys() {
            logs.entry(partition).or_default();
        }
        // One that was not read to its end proves nothing about what is missing.
        logs.retain(|partition, _| ends.contains_key(partition));
        Self {
            work,
            logs,
            starts,
            promises,
            retained,
            deletions,
            places,
            ends,
        }
    }

    /// What a producer may expect; everything, if it did not say.
    fn promise(&self, producer: u32) -> Promise {
        self.promises
            .get(&producer)
            .copied()
            .unwrap_or(Promise::Once)
    }

    /// Whether a record of a partition may be gone because it lay at this offset: below the log's
    /// start, which retention or somebody's request has moved that far.
    fn may_be_deleted(&self, partition: &TopicPartition, offset: i64) -> bool {
        let start = self.starts.get(partition).copied().unwrap_or(0);
        let asked = self.deletions.get(partition).copied().unwrap_or(0);
        offset < start && (offset < asked || self.is_retained(partition))
    }

    /// Whether retention is in force for a partition.
    fn is_retained(&self, partition: &TopicPartition) -> bool {
        self.retained.contains(&*partition.topic)
    }

    /// Whether a partition may have lost its first records.
    fn may_start_late(&self, partition: &TopicPartition) -> bool {
        self.is_retained(partition) || self.deletions.contains_key(partition)
    }

    /// The place of the last reading of an offset at the end.
    #[must_use]
    pub fn place(&self, partition: &TopicPartition, offset: i64) -> Option<usize> {
        self.places.get(&(partition, offset)).copied()
    }

    /// The place at which a partition's end was reached at the end.
    #[must_use]
    pub fn end(&self, partition: &TopicPartition) -> Option<usize> {
        self.ends.get(partition).copied()
    }
}

/// Judges a history by every invariant.
#[must_use]
pub fn check(history: &History<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let left = damage::judged(history);
    for invariant in &INVARIANTS {
        let findings = match &left {
            // The places are those of what is left, and mean nothing in the whole.
            Some(left) if invariant.name != "changed_record" => (invariant.check)(left)
                .into_iter()
                .map(|finding| Finding::new(finding.detail))
                .collect(),
            _ => (invariant.check)(history),
        };
        let more = findings.len().saturating_sub(DETAILS_MAX);
        let told = findings.into_iter().take(DETAILS_MAX);
        violations.extend(told.map(|finding| Violation::found(invariant.name, finding)));
        if more > 0 {
            violations.push(Violation::new(invariant.name, format!("and {more} more")));
        }
    }
    violations
}

/// Short ways to write histories in the checkers' tests.
#[cfg(test)]
mod fixture {
    use super::*;
    use crate::event::RecordId;

    pub(super) fn at(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "t".into(),
            partition,
        }
    }

    pub(super) fn record(sequence: u64) -> RecordId {
        RecordId {
            producer: 1,
            sequence,
        }
    }

    pub(super) fn acknowledged(sequence: u64, offset: i64) -> Work {
        Work::Acknowledged {
            record: record(sequence),
            partition: at(0),
            offset: Some(offset),
        }
    }

    pub(super) fn read(offset: i64, sequence: u64) -> Work {
        let contents = Contents::Whole(record(sequence));
        Work::Read {
            consumer: 1,
            partition: at(0),
            offset,
            contents,
        }
    }

    pub(super) fn assigned(consumer: u32, generation: i32, partitions: &[i32]) -> Work {
        Work::Assigned {
            group: "g".into(),
            consumer,
            generation,
            partitions: partitions.iter().copied().map(at).collect(),
        }
    }

    /// The log of partition 0 at the end: each record's sequence, from offset 0.
    pub(super) fn log(sequences: &[u64]) -> Vec<Work> {
        let mut work: Vec<Work> = sequences
            .iter()
            .zip(0..)
            .map(|(sequence, offset)| Work::Final {
                partition: at(0),
                offset,
                timestamp: offset * 10,
                contents: Contents::Whole(record(*sequence)),
            })
            .collect();
        work.push(Work::FinalEnd {
            partition: at(0),
            offset: sequences.len() as i64,
        });
        work
    }

    pub(super) fn promised(promise: Promise) -> Work {
        let producer = record(0).producer;
        Work::ProducerBegan { producer, promise }
    }

    pub(super) fn started(offset: i64, now: i64) -> Work {
        Work::FinalStart {
            partition: at(0),
            offset,
            now,
        }
    }

    pub(super) fn retained(ms: Option<i64>, bytes: Option<i64>) -> Work {
        let topic = "t".into();
        Work::Retained { topic, ms, bytes }
    }

    pub(super) fn deletion_asked(before: i64) -> Work {
        let partition = at(0);
        Work::DeletionAsked { partition, before }
    }

    pub(super) fn verdict(
        check: fn(&History<'_>) -> Vec<Finding>,
        before: Vec<Work>,
        log: Vec<Work>,
    ) -> usize {
        let work: Vec<Work> = before.into_iter().chain(log).collect();
        check(&History::new(&work)).len()
    }
}
