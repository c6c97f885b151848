//! What the workload did and saw.

use std::sync::Arc;

use super::{
    super::{Kind, Meaning, lanes::LaneKey, spans::SpanKind},
    Told, Trace,
};
use crate::event::{Contents, Event, RecordId, TopicPartition, Work};

/// The topic of what a member holds among the spans of its lane.
pub(super) const HOLDS: &str = "holds";

/// A commit on its way.
pub(super) struct Commit {
    group: Arc<str>,
    partition: Arc<str>,
    offset: i64,
}

fn name(partition: &TopicPartition) -> Arc<str> {
    partition.to_string().into()
}

fn whole(contents: &Contents) -> Option<RecordId> {
    match contents {
        Contents::Whole(record) => Some(*record),
        Contents::Changed { .. } => None,
    }
}

/// A last reading in words.
fn reading(work: &Work, partition: &str) -> String {
    let after = "after the last loss of power";
    match work {
        Work::Final {
            offset, contents, ..
        } => format!("last reading of {partition}: {contents} at {offset}"),
        Work::FinalEnd { offset, .. } => {
            format!("last reading of {partition} came to its end at {offset}")
        }
        Work::Again {
            offset, contents, ..
        } => format!("{partition} {after}: {contents} at {offset}"),
        Work::AgainEnd { offset, .. } => format!("{partition} {after} ends at {offset}"),
        other => other.to_string(),
    }
}

impl Trace<'_> {
    pub(super) fn work(&mut self, index: usize, event: &Event, work: &Work) {
        match work {
            Work::Sent { .. }
            | Work::Acknowledged { .. }
            | Work::GaveUp { .. }
            | Work::Read { .. }
            | Work::Positioned { .. } => self.client(index, event, work),
            Work::DeletionAsked { partition, .. } | Work::Deleted { partition, .. } => {
                let told = Told::new(Kind::Cut, work.to_string());
                self.beside(index, event, &name(partition), told);
            }
            Work::TimeAsked { partition, .. }
            | Work::TimeFound { partition, .. }
            | Work::FinalSize { partition, .. }
            | Work::Unwanted { partition, .. }
            | Work::NewsKnown { partition, .. }
            | Work::DamageTold {
                partition: Some(partition),
                ..
            } => {
                let told = Told::new(Kind::Final, work.to_string());
                self.beside(index, event, &name(partition), told);
            }
            Work::FinalStart { .. }
            | Work::AgainStart { .. }
            | Work::Final { .. }
            | Work::FinalEnd { .. }
            | Work::Again { .. }
            | Work::AgainEnd { .. } => self.last_reading(index, event, work),
            Work::Assigned { .. }
            | Work::Took { .. }
            | Work::Gave { .. }
            | Work::CommitAsked { .. }
            | Work::CommitFound { .. }
            | Work::Resumed { .. }
            | Work::CommitSent { .. } => self.group(index, event, work),
            Work::CommitAcknowledged { commit } | Work::CommitFailed { commit, .. } => {
                self.commit_answered(index, event, work, *commit);
            }
            Work::Stuck(_) => {
                self.on_node(index, event, Told::new(Kind::Violation, work.to_string()));
            }
            Work::ProducerBegan { .. }
            | Work::Retained { .. }
            | Work::ClocksWrong
            | Work::UnsyncedLost
            | Work::Damaged { .. }
            | Work::Answered { .. }
            | Work::NewsAsked { .. }
            | Work::Quiet(_)
            | Work::LogCut
            | Work::DamageTold {
                partition: None, ..
            } => {
                self.on_node(index, event, Told::new(Kind::Position, work.to_string()));
            }
        }
    }

    fn client(&mut self, index: usize, event: &Event, work: &Work) {
        let (kind, partition, step) = match work {
            Work::Sent {
                record, partition, ..
            } => (Kind::Sent, partition, Some((*record, Meaning::Sent, None))),
            Work::Acknowledged {
                record,
                partition,
                offset,
            } => {
                let step = (*record, Meaning::Acknowledged, *offset);
                (Kind::Acknowledged, partition, Some(step))
            }
            Work::GaveUp {
                record, partition, ..
            } => {
                let step = (*record, Meaning::GaveUp, None);
                (Kind::GaveUp, partition, Some(step))
            }
            Work::Read {
                partition,
                offset,
                contents,
                ..
            } => {
                let step = whole(contents).map(|record| (record, Meaning::Read, Some(*offset)));
                (Kind::Read, partition, step)
            }
            Work::Positioned { partition, .. } => (Kind::Position, partition, None),
            _ => return,
        };
        let partition = name(partition);
        let mark = self.beside(index, event, &partition, Told::new(kind, work.to_string()));
        if let Some((record, meaning, offset)) = step {
            self.lives.step(&partition, record, mark, meaning);
            if let Some(offset) = offset {
                self.lives.is_at(&partition, offset, record);
            }
        }
    }

    fn last_reading(&mut self, index: usize, event: &Event, work: &Work) {
        let (partition, contents, found, missing) = match work {
            Work::Final {
                partition,
                contents,
                ..
            } => (partition, Some(contents), Meaning::Found, None),
            Work::Again {
                partition,
                contents,
                ..
            } => (partition, Some(contents), Meaning::FoundAgain, None),
            Work::FinalStart { partition, .. } | Work::AgainStart { partition, .. } => {
                (partition, None, Meaning::Found, None)
            }
            Work::FinalEnd { partition, .. } => {
                (partition, None, Meaning::Found, Some(Meaning::Missing))
            }
            Work::AgainEnd { partition, .. } => {
                (partition, None, Meaning::Found, Some(Meaning::MissingAgain))
            }
            _ => return,
        };
        let partition = name(partition);
        let told = Told::new(Kind::Final, reading(work, &partition));
        let mark = self.beside(index, event, &partition, told);
        if let Some(record) = contents.and_then(whole) {
            self.lives.step(&partition, record, mark, found);
            self.lives.met(&partition, record);
        }
        if let Some(missing) = missing {
            self.lives.end(&partition, mark, missing);
        }
    }

    fn group(&mut self, index: usize, event: &Event, work: &Work) {
        let (group, kind) = match work {
            Work::Assigned {
                group, partitions, ..
            } => {
                let lane = self.node_lane(event.node);
                self.spans.end(event.at, lane, HOLDS);
                if !partitions.is_empty() {
                    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
                    let words = format!("holds {}", names.join(", "));
                    let kind = SpanKind::Holding;
                    self.spans.begin(event.at, lane, HOLDS, kind, words);
                }
                (group, Kind::Rebalance)
            }
            Work::CommitSent {
                group,
                commit,
                partition,
                offset,
                ..
            } => {
                let sent = Commit {
                    group: Arc::clone(group),
                    partition: name(partition),
                    offset: *offset,
                };
                self.commits.insert(*commit, sent);
                (group, Kind::Commit)
            }
            Work::Took { group, .. } | Work::Gave { group, .. } => (group, Kind::Rebalance),
            Work::CommitAsked { group, .. }
            | Work::Resumed { group, .. }
            | Work::CommitFound { group, .. } => (group, Kind::Commit),
            _ => return,
        };
        self.with_group(index, event, group, Told::new(kind, work.to_string()));
    }

    fn commit_answered(&mut self, index: usize, event: &Event, work: &Work, commit: u64) {
        let Some(sent) = self.commits.remove(&commit) else {
            self.on_node(index, event, Told::new(Kind::Commit, work.to_string()));
            return;
        };
        let (group, partition, offset) = (sent.group, sent.partition, sent.offset);
        let text = format!("{work}: {group} of {partition} at {offset}");
        let mark = self.with_group(index, event, &group, Told::new(Kind::Commit, text));
        if matches!(work, Work::CommitAcknowledged { .. }) {
            self.lives.committed(&group, &partition, offset, mark);
        }
    }

    /// A mark in the lanes of the event's node and of a partition.
    fn beside(&mut self, index: usize, event: &Event, partition: &str, told: Told) -> usize {
        let lanes = vec![self.node_lane(event.node), self.partition_lane(partition)];
        self.mark(index, event, lanes, told)
    }

    /// A mark in the lanes of the event's node and of a group.
    fn with_group(&mut self, index: usize, event: &Event, group: &Arc<str>, told: Told) -> usize {
        let key = LaneKey::Group(group.to_string());
        let lanes = vec![self.node_lane(event.node), self.lanes.number(key)];
        self.mark(index, event, lanes, told)
    }
}
