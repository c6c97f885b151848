//! Processes, the power, faults, and what they do to leadership.

use std::sync::Arc;

use super::{
    super::{Kind, Meaning, spans::SpanKind},
    Told, Trace,
};
use crate::event::{Aside, Event, Left, NodeId, What};

/// The topic of a node's process among the spans of its lane, and of a replica's role.
const PROCESS: &str = "process";
pub(super) const ROLE: &str = "role";

impl Trace<'_> {
    pub(super) fn process(&mut self, index: usize, event: &Event, beside: Option<&Aside>) {
        let (at, node) = (event.at, event.node);
        let lane = self.node_lane(node);
        let text = event.what.to_string();
        match &event.what {
            What::ProcessStarted(number) => {
                self.ended(at, node);
                let kind = match self.brokers.contains(&node) {
                    true => SpanKind::Starting,
                    false => SpanKind::Up,
                };
                let name = format!("process {number}");
                self.spans.begin(at, lane, PROCESS, kind, name);
            }
            What::ProcessReady => {
                self.spans.begin(at, lane, PROCESS, SpanKind::Up, "serves");
                self.ready(at, node);
            }
            What::ProcessFailed(_) => self.down(at, node, "failed"),
            What::ProcessStopped => self.down(at, node, "stopped"),
            What::ProcessKilled => self.down(at, node, "killed"),
            What::PowerLost { .. } => self.down(at, node, "no power"),
            What::Fault(fault) => self.fault(at, lane, fault),
            _ => {}
        }
        let kind = match &event.what {
            What::ProcessKilled | What::PowerLost { .. } | What::Fault(_) => Kind::Fault,
            What::ProcessFailed(_) | What::Violation(_) => Kind::Violation,
            _ => Kind::Process,
        };
        let mark = self.mark(index, event, vec![lane], Told::new(kind, text));
        if let Some(Aside::Survival(survivals)) = beside {
            for (batch, left) in self.files.survived(node, survivals) {
                self.batch_steps(&[batch], mark, Meaning::from(left));
                let partition = Arc::clone(&self.files.batch(batch).partition);
                let replica = self.replica_lane(&partition, node);
                let lanes = &mut self.marks[mark].lanes;
                if left != Left::All && !lanes.contains(&replica) {
                    lanes.push(replica);
                }
            }
        }
    }

    fn fault(&mut self, at: u64, lane: usize, text: &str) {
        // "KIND begins", with more words behind it perhaps, and "KIND ends" are what faults say.
        if let Some((kind, more)) = text.split_once(" begins") {
            let words = format!("{kind}{more}");
            self.spans.begin(at, lane, kind, SpanKind::Fault, words);
        } else if let Some((kind, _)) = text.split_once(" ends") {
            self.spans.end(at, lane, kind);
        } else if text == "all healed" {
            self.spans.end_all(at, SpanKind::Fault);
        }
    }

    fn down(&mut self, at: u64, node: NodeId, why: &str) {
        self.ended(at, node);
        let lane = self.node_lane(node);
        self.spans.begin(at, lane, PROCESS, SpanKind::Down, why);
    }

    /// The node's process is gone, and with it whatever it led and held.
    fn ended(&mut self, at: u64, node: NodeId) {
        self.serving.remove(&node);
        for partition in self.opened.remove(&node).unwrap_or_default().into_keys() {
            let lane = self.replica_lane(&partition, node);
            self.spans.end(at, lane, ROLE);
        }
        let lane = self.node_lane(node);
        self.spans.end(at, lane, super::work::HOLDS);
    }

    /// A file of a disk was opened under this name.
    pub(super) fn opened(&mut self, at: u64, node: NodeId, inode: u64, path: &str) {
        let Some(partition) = self.files.opened(node, inode, path) else {
            return;
        };
        let replicas = self.opened.entry(node).or_default();
        if replicas.contains_key(&partition) {
            return;
        }
        replicas.insert(Arc::clone(&partition), None);
        let lane = self.replica_lane(&partition, node);
        let (kind, words) = match self.serving.contains(&node) {
            true => (SpanKind::Leading, "leader"),
            false => (SpanKind::Recovering, "recovering"),
        };
        self.spans.begin(at, lane, ROLE, kind, words);
    }

    fn ready(&mut self, at: u64, node: NodeId) {
        self.serving.insert(node);
        let replicas = self.opened.get(&node).cloned().unwrap_or_default();
        for (partition, epoch) in replicas {
            let lane = self.replica_lane(&partition, node);
            let words = leads(epoch);
            self.spans.begin(at, lane, ROLE, SpanKind::Leading, words);
        }
    }

    /// A replica has written with a leader epoch.
    pub(super) fn wrote_with(&mut self, at: u64, node: NodeId, partition: &Arc<str>, epoch: i32) {
        let lane = self.replica_lane(partition, node);
        let is_serving = self.serving.contains(&node);
        let replicas = self.opened.entry(node).or_default();
        let before = replicas
            .insert(Arc::clone(partition), Some(epoch))
            .flatten();
        match before {
            Some(before) if before == epoch => {}
            None => self.spans.rename(lane, ROLE, leads(Some(epoch))),
            Some(_) if is_serving => {
                let words = leads(Some(epoch));
                self.spans.begin(at, lane, ROLE, SpanKind::Leading, words);
            }
            Some(_) => {}
        }
    }
}

fn leads(epoch: Option<i32>) -> String {
    epoch.map_or("leader".to_owned(), |epoch| {
        format!("leader, epoch {epoch}")
    })
}
