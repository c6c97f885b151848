//! Half-open connections: a node forgets all of its own, and the peers are not told. They believe
//! that they are connected, hear nothing, and learn of it by a reset when they send.

use super::Stage;
use crate::scenario::Fault;

impl Stage {
    pub(super) fn half_open(&self, fault: &Fault) {
        let count = self.world().network().sever(self.node(&fault.node).id());
        self.strike(fault, &format!("are {count} connections"));
    }
}
