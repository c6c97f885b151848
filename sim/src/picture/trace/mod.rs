//! Going over the events of a run once: marks, spans and lives.

mod disk;
mod process;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Kind, Mark, Meaning, Picture,
    files::Files,
    lanes::{LaneKey, Lanes},
    life::Lives,
    spans::Spans,
};
use crate::event::{Aside, Event, NodeId, Recording, What};

/// The picture in the making.
pub(super) struct Trace<'a> {
    recording: &'a Recording,
    all: bool,
    lanes: Lanes,
    files: Files,
    marks: Vec<Mark>,
    spans: Spans,
    lives: Lives,
    /// The nodes that run the broker.
    brokers: BTreeSet<NodeId>,
    /// The node on which a partition is shown that an event names without a node.
    homes: BTreeMap<Arc<str>, NodeId>,
    /// The replicas that a node's process has opened, and the leader epoch that each last wrote with.
    opened: BTreeMap<NodeId, BTreeMap<Arc<str>, Option<i32>>>,
    serving: BTreeSet<NodeId>,
    commits: BTreeMap<u64, work::Commit>,
}

/// What an event turns into: all of it, but for the lanes.
pub(super) struct Told {
    kind: Kind,
    text: String,
}

impl Told {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}

impl<'a> Trace<'a> {
    pub(super) fn new(recording: &'a Recording, all: bool) -> Self {
        let mut trace = Self {
            recording,
            all,
            lanes: Lanes::default(),
            files: Files::default(),
            marks: Vec::new(),
            spans: Spans::default(),
            lives: Lives::default(),
            brokers: BTreeSet::new(),
            homes: BTreeMap::new(),
            opened: BTreeMap::new(),
            serving: BTreeSet::new(),
            commits: BTreeMap::new(),
        };
        for event in recording.kept() {
            if matches!(event.what, What::ProcessReady) {
                trace.brokers.insert(event.node);
            }
        }
        for (_, node, aside) in recording.asides() {
            if let Aside::Opened { path, .. } = aside
                && let Some(partition) = super::files::partition_of(path)
            {
                trace.homes.entry(partition.into()).or_insert(*node);
            }
        }
        trace
    }

    pub(super) fn follow(mut self) -> Picture {
        let recording = self.recording;
        self.node_lane(NodeId::WORLD);
        let mut asides = recording.asides().iter().peekable();
        for (index, event) in recording.kept().iter().enumerate() {
            let mut beside = None;
            while let Some((_, node, aside)) = asides.next_if(|(before, ..)| *before <= index) {
                match aside {
                    Aside::Opened { inode, path } => self.opened(event.at, *node, *inode, path),
                    // It belongs to the event that comes next.
                    Aside::Written { .. } | Aside::Survival(_) => beside = Some(aside),
                }
            }
            self.event(index, event, beside);
        }
        self.finish()
    }

    fn finish(self) -> Picture {
        let end = self.recording.last_at();
        let brokers = self.brokers;
        let (lanes, places) = self
            .lanes
            .sorted(self.recording, |node| brokers.contains(&node));
        let (mut marks, mut spans) = (self.marks, self.spans.finish(end));
        for mark in &mut marks {
            for lane in &mut mark.lanes {
                *lane = places[*lane];
            }
        }
        for span in &mut spans {
            span.lane = places[span.lane];
        }
        Picture {
            lanes,
            marks,
            spans,
            lives: self.lives,
            verdicts: Vec::new(),
            end,
        }
    }

    fn event(&mut self, index: usize, event: &Event, beside: Option<&Aside>) {
        match &event.what {
            What::Work(work) => self.work(index, event, work),
            What::DiskName { .. }
            | What::DiskWrite { .. }
            | What::DiskRead { .. }
            | What::DiskTruncate { .. }
            | What::DiskSync { .. }
            | What::DiskError { .. } => self.disk(index, event, beside),
            What::Connecting(_)
            | What::Connected { .. }
            | What::ConnectFailed(_)
            | What::Ended { .. } => {
                self.on_node(
                    index,
                    event,
                    Told::new(Kind::Network, event.what.to_string()),
                );
            }
            What::Sent { .. } | What::Received { .. } => {
                if self.all {
                    self.on_node(
                        index,
                        event,
                        Told::new(Kind::Network, event.what.to_string()),
                    );
                }
            }
            _ => self.process(index, event, beside),
        }
    }

    /// A mark in some lanes; gives its place.
    fn mark(&mut self, index: usize, event: &Event, lanes: Vec<usize>, told: Told) -> usize {
        self.marks.push(Mark {
            at: event.at,
            event: index,
            node: event.node,
            kind: told.kind,
            lanes,
            text: told.text,
        });
        self.marks.len() - 1
    }

    /// A mark in the lane of the event's node.
    fn on_node(&mut self, index: usize, event: &Event, told: Told) -> usize {
        let lane = self.node_lane(event.node);
        self.mark(index, event, vec![lane], told)
    }

    fn node_lane(&mut self, node: NodeId) -> usize {
        self.lanes.number(LaneKey::Node(node))
    }

    fn replica_lane(&mut self, partition: &str, node: NodeId) -> usize {
        let key = LaneKey::Replica(partition.to_owned(), node);
        self.lanes.number(key)
    }

    /// The lane of a partition that an event names without a node.
    fn partition_lane(&mut self, partition: &str) -> usize {
        let home = self.homes.get(partition).copied();
        self.replica_lane(partition, home.unwrap_or(NodeId::WORLD))
    }

    /// A step in the life of every record of some batches.
    fn batch_steps(&mut self, batches: &[usize], mark: usize, meaning: Meaning) {
        for number in batches {
            let batch = self.files.batch(*number);
            for (_, record) in &batch.records {
                self.lives.step(&batch.partition, *record, mark, meaning);
            }
        }
    }
}
