//! The life of a record: sent, written, synced, acknowledged, read, and by whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use crate::event::{Left, RecordId};

/// A record of a partition: producers count anew in each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey {
    /// The partition, as `topic-number`.
    pub partition: Arc<str>,
    /// The record.
    pub record: RecordId,
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.record, self.partition)
    }
}

/// A step of a life: a mark, and what it means to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The mark's place in the picture.
    pub mark: usize,
    /// What it means.
    pub meaning: Meaning,
}

/// What a mark means to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Handed to its producer.
    Sent,
    /// In the page cache.
    Written,
    /// Durable.
    Synced,
    /// Acknowledged with acks=all.
    Acknowledged,
    /// Given up by its producer.
    GaveUp,
    /// Read by a consumer.
    Read,
    /// Below what a group has committed.
    Committed,
    /// Not synced when the power went, and there.
    Kept,
    /// Not synced when the power went, and partly there.
    Torn,
    /// Not synced when the power went, and gone.
    Lost,
    /// Cut off the log.
    Cut,
    /// Removed with its segment or its topic.
    Removed,
    /// Found at the end.
    Found,
    /// Not found at the end.
    Missing,
    /// Found after the last loss of power.
    FoundAgain,
    /// Not found after the last loss of power.
    MissingAgain,
}

impl Meaning {
    /// Every meaning.
    pub const ALL: [Self; 16] = [
        Self::Sent,
        Self::Written,
        Self::Synced,
        Self::Acknowledged,
        Self::GaveUp,
        Self::Read,
        Self::Committed,
        Self::Kept,
        Self::Torn,
        Self::Lost,
        Self::Cut,
        Self::Removed,
        Self::Found,
        Self::Missing,
        Self::FoundAgain,
        Self::MissingAgain,
    ];

    /// A word, and what it says of the record.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Sent => ("sent", "handed to its producer"),
            Self::Written => ("written", "in the page cache; a loss of power may take it"),
            Self::Synced => ("synced", "on the disk for good"),
            Self::Acknowledged => ("acknowledged", "from here on it must be in the log"),
            Self::GaveUp => ("given up", "it may or may not be in the log"),
            Self::Read => ("read", "whoever has read it must not see it vanish"),
            Self::Committed => ("committed", "the group has it behind itself"),
            Self::Kept => ("kept", "not synced, and on the disk all the same"),
            Self::Torn => ("torn", "not synced, and only partly on the disk"),
            Self::Lost => ("lost", "not synced, and not on the disk any more"),
            Self::Cut => ("cut", "the log now ends before it"),
            Self::Removed => ("removed", "its segment or topic is gone"),
            Self::Found => ("in the log", "read at the end, with nothing else going on"),
            Self::Missing => ("MISSING", "the log was read to its end without meeting it"),
            Self::FoundAgain => ("still there", "read after the last loss of power"),
            Self::MissingAgain => ("MISSING", "not met after the last loss of power"),
        }
    }
}

impl From<Left> for Meaning {
    fn from(left: Left) -> Self {
        match left {
            Left::All => Self::Kept,
            Left::Some => Self::Torn,
            Left::Nothing => Self::Lost,
        }
    }
}

/// The lives of all records of a run.
#[derive(Debug, Default)]
pub struct Lives {
    steps: BTreeMap<RecordKey, Vec<Step>>,
    /// Which record was last known to be at an offset.
    at: BTreeMap<Arc<str>, BTreeMap<i64, RecordId>>,
    /// How far each group has committed.
    committed: BTreeMap<(Arc<str>, Arc<str>), i64>,
    /// What the reading under way has met.
    met: BTreeMap<Arc<str>, BTreeSet<RecordId>>,
}

impl Lives {
    /// Every life, by partition and record.
    pub fn iter(&self) -> impl Iterator<Item = (&RecordKey, &[Step])> {
        self.steps
            .iter()
            .map(|(key, steps)| (key, steps.as_slice()))
    }

    /// The life of a record in a partition.
    #[must_use]
    pub fn of(&self, key: &RecordKey) -> &[Step] {
        self.steps.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn step(
        &mut self,
        partition: &Arc<str>,
        record: RecordId,
        mark: usize,
        meaning: Meaning,
    ) {
        let key = RecordKey {
            partition: Arc::clone(partition),
            record,
        };
        let steps = self.steps.entry(key).or_default();
        steps.push(Step { mark, meaning });
    }

    pub(super) fn is_at(&mut self, partition: &Arc<str>, offset: i64, record: RecordId) {
        let at = self.at.entry(Arc::clone(partition)).or_default();
        at.insert(offset, record);
    }

    /// A group has committed `offset`: everything below it that it had not committed yet.
    pub(super) fn committed(
        &mut self,
        group: &Arc<str>,
        partition: &Arc<str>,
        offset: i64,
        mark: usize,
    ) {
        let key = (Arc::clone(group), Arc::clone(partition));
        let before = self.committed.entry(key).or_default();
        if offset <= *before {
            return;
        }
        let from = std::mem::replace(before, offset);
        let below = self.at.get(partition).map(|at| at.range(from..offset));
        let records: Vec<RecordId> = below.into_iter().flatten().map(|(_, id)| *id).collect();
        for record in records {
            self.step(partition, record, mark, Meaning::Committed);
        }
    }

    /// A last reading met a record.
    pub(super) fn met(&mut self, partition: &Arc<str>, record: RecordId) {
        let met = self.met.entry(Arc::clone(partition)).or_default();
        met.insert(record);
    }

    /// A last reading came to its end: what it has not met is missing.
    pub(super) fn end(&mut self, partition: &Arc<str>, mark: usize, missing: Meaning) {
        let met = self.met.remove(partition).unwrap_or_default();
        let first = RecordKey {
            partition: Arc::clone(partition),
            record: RecordId {
                producer: 0,
                sequence: 0,
            },
        };
        let steps = self.steps.range_mut(first..);
        for (_, steps) in steps
            .take_while(|(key, _)| key.partition == *partition)
            .filter(|(key, _)| !met.contains(&key.record))
        {
            steps.push(Step {
                mark,
                meaning: missing,
            });
        }
    }
}
