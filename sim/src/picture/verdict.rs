//! The violations of a run, as a picture tells them: what was promised, what was seen, and where.

use super::{Mark, life::RecordKey};
use crate::{
    check::Violation,
    event::{Contents, Recording, What, Work},
};

/// A violation in words, with the marks that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// What was seen.
    pub seen: String,
    /// The mark of the event that promised.
    pub promised_at: Option<usize>,
    /// The mark of the event at which it was seen broken.
    pub seen_at: Option<usize>,
    /// The record that it is about.
    pub record: Option<RecordKey>,
}

impl Verdict {
    /// The mark to look at first.
    #[must_use]
    pub fn mark(&self) -> Option<usize> {
        self.seen_at.or(self.promised_at)
    }
}

pub(super) fn verdicts(
    recording: &Recording,
    violations: &[Violation],
    marks: &[Mark],
) -> Vec<Verdict> {
    // The checkers count the events of the workload, the marks all that were kept.
    let is_work = |what: &What| matches!(what, What::Work(_));
    let places: Vec<usize> = recording
        .kept()
        .iter()
        .enumerate()
        .filter(|(_, event)| is_work(&event.what))
        .map(|(index, _)| index)
        .collect();
    let mark_of = |event: usize| marks.binary_search_by_key(&event, |mark| mark.event).ok();
    let event_of = |place: Option<usize>| place.and_then(|place| places.get(place).copied());
    let told = |violation: &Violation| {
        let (promised, seen) = (event_of(violation.promised), event_of(violation.seen));
        let by_itself = || {
            let said =
                |what: &What| matches!(what, What::Violation(text) if *text == violation.detail);
            recording.kept().iter().position(|event| said(&event.what))
        };
        let records = [promised, seen].into_iter().flatten();
        Verdict {
            invariant: violation.invariant,
            promise: violation.promise(),
            seen: violation.detail.clone(),
            promised_at: promised.and_then(mark_of),
            seen_at: seen.or_else(by_itself).and_then(mark_of),
            record: records
                .filter_map(|event| record_of(&recording.kept()[event].what))
                .next(),
        }
    };
    violations.iter().map(told).collect()
}

fn record_of(what: &What) -> Option<RecordKey> {
    let What::Work(work) = what else { return None };
    let (partition, record) = match work {
        Work::Sent {
            record, partition, ..
        }
        | Work::Acknowledged {
            record, partition, ..
        }
        | Work::GaveUp {
            record, partition, ..
        } => (partition, record),
        Work::Read {
            partition,
            contents: Contents::Whole(record),
            ..
        }
        | Work::Final {
            partition,
            contents: Contents::Whole(record),
            ..
        }
        | Work::Again {
            partition,
            contents: Contents::Whole(record),
            ..
        } => (partition, record),
        _ => return None,
    };
    Some(RecordKey {
        partition: partition.to_string().into(),
        record: *record,
    })
}
