//! One member of a classic group.

use alloc::{collections::BTreeSet, vec::Vec};

use bytes::Bytes;
use ottla_wire::Str;

use super::{Ticket, request::Protocol};

/// A member, and the requests of its that wait.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: Str,
    pub(super) group_instance_id: Option<Str>,
    pub(super) client_id: Str,
    pub(super) client_host: Str,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// A JoinGroup that is answered when the joining phase ends.
    pub(super) awaiting_join: Option<Ticket>,
    /// A SyncGroup that is answered when the leader's assignment is durable.
    pub(super) awaiting_sync: Option<Ticket>,
    /// It has never been told its generation, so it cannot send heartbeats yet.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn is_static(&self) -> bool {
        self.group_instance_id.is_some()
    }

    /// A member whose request the broker holds needs no heartbeat, unless it is new: a client that
    /// went away while it waited to join would otherwise stay for ever.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Whether a JoinGroup brings nothing new.
    pub(super) fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// The metadata for a protocol; empty if the member does not know it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|p| p.name == *protocol)
            .map(|p| p.metadata.clone())
            .unwrap_or_default()
    }

    /// The protocol it likes best among those that all members know.
    pub(super) fn vote(&self, is_candidate: impl Fn(&str) -> bool) -> Option<&Str> {
        self.protocols
            .iter()
            .map(|p| &p.name)
            .find(|name| is_candidate(name))
    }
}

/// The protocols of a request in memory of their own, each name once: the first counts.
pub(super) fn detached(protocols: &[Protocol]) -> Vec<Protocol> {
    let mut seen: BTreeSet<&Str> = BTreeSet::new();
    protocols
        .iter()
        .filter(|protocol| seen.insert(&protocol.name))
        .map(|protocol| Protocol {
            name: protocol.name.detach(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        })
        .collect()
}
