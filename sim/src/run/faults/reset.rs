//! Resets: every connection of a node ends in the middle of whatever is on its way.

use super::Stage;
use crate::scenario::Fault;

impl Stage {
    pub(super) fn reset(&self, fault: &Fault) {
        let node = self.node(&fault.node).id();
        let network = self.world().network();
        let others = self.others(node).into_iter();
        let count: usize = others.map(|other| network.reset_between(node, other)).sum();
        self.strike(fault, &format!("of {count} connections"));
    }
}
