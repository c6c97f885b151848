//! Conditions: faults that last, any number of them at once.
//!
//! Whenever one begins or ends, links, disks and clocks are set to what follows from all that hold, so
//! the end of one never heals another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use crate::{
    disk::DiskFaults,
    event::NodeId,
    net::{Link, LinkState},
    wall::WallError,
    world::{Node, World},
};

/// What one fault does to the world for as long as it lasts.
pub(super) enum Condition {
    /// To links.
    Links(Vec<Link>, LinkState),
    /// To a node's disk.
    Disk(Node, DiskFaults),
    /// To a node's wall clock.
    Clock(Node, WallError),
    /// The node's process does not run. One that is started meanwhile does.
    Paused(Node),
}

/// All conditions that hold.
#[derive(Default)]
pub(in crate::run) struct Conditions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    active: BTreeMap<u64, Condition>,
    /// What was ever touched, and so has to be set again when something ends.
    links: BTreeSet<Link>,
    disks: BTreeMap<NodeId, Node>,
    clocks: BTreeMap<NodeId, Node>,
    paused: BTreeMap<NodeId, Node>,
}

impl Conditions {
    /// One more begins; gives its number.
    pub(super) fn begin(&self, world: &World, condition: Condition) -> u64 {
        self.with(world, |state| {
            state.next += 1;
            match &condition {
                Condition::Links(links, _) => state.links.extend(links),
                Condition::Disk(node, _) => drop(state.disks.insert(node.id(), node.clone())),
                Condition::Clock(node, _) => drop(state.clocks.insert(node.id(), node.clone())),
                Condition::Paused(_) => {}
            }
            state.active.insert(state.next, condition);
            state.next
        })
    }

    /// One ends.
    pub(super) fn end(&self, world: &World, number: u64) {
        self.with(world, |state| state.active.remove(&number));
    }

    /// All end.
    pub(super) fn end_all(&self, world: &World) {
        self.with(world, |state| state.active.clear());
    }

    fn with<T>(&self, world: &World, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        state.apply(world);
        result
    }
}

impl State {
    fn apply(&mut self, world: &World) {
        for link in &self.links {
            let state = self
                .active
                .values()
                .filter_map(|condition| match condition {
                    Condition::Links(links, state) if links.contains(link) => Some(*state),
                    _ => None,
                });
            let state = state.fold(LinkState::default(), LinkState::joined);
            world.network().set_link(*link, state);
        }
        for (id, node) in &self.disks {
            let faults = self
                .active
                .values()
                .filter_map(|condition| match condition {
                    Condition::Disk(node, faults) if node.id() == *id => Some(*faults),
                    _ => None,
                });
            let faults = faults.fold(DiskFaults::default(), DiskFaults::joined);
            node.disk().set_faults(faults);
        }
        for (id, node) in &self.clocks {
            let mut joined = WallError::default();
            for condition in self.active.values() {
                if let Condition::Clock(node, error) = condition
                    && node.id() == *id
                {
                    joined.skew_ms += error.skew_ms;
                    joined.drifts.extend(&error.drifts);
                }
            }
            node.wall().set_error(joined);
        }
        self.pause_and_resume();
    }

    fn pause_and_resume(&mut self) {
        let wanted = self
            .active
            .values()
            .filter_map(|condition| match condition {
                Condition::Paused(node) => Some((node.id(), node.clone())),
                _ => None,
            });
        let wanted: BTreeMap<NodeId, Node> = wanted.collect();
        for (id, node) in &wanted {
            if !self.paused.contains_key(id) {
                node.pause();
            }
        }
        for (id, node) in &self.paused {
            if !wanted.contains_key(id) {
                node.resume();
            }
        }
        self.paused = wanted;
    }
}
