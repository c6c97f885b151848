//! How the leader of a classic group divides the partitions among the members.
//!
//! Both follow the rules of Java's assignors of the same names and use their bytes, so that members of
//! both kinds may share a group, whoever leads it. They are functions of their arguments alone.

#[cfg(test)]
mod properties;
mod range;
mod sticky;

pub(crate) use sticky::user_data;

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::Str;

use crate::types::TopicPartition;

/// What a member says when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics that it wants to read.
    pub topics: Vec<Str>,
    /// Bytes for the assignor.
    pub user_data: Option<Bytes>,
    /// The partitions that it holds (KIP-429).
    pub owned: Vec<TopicPartition>,
    /// The generation in which it got them; -1 if that is not known (KIP-792).
    pub generation: i32,
    /// Its rack.
    pub rack: Option<Str>,
    /// Its static id; not part of the bytes that it sends.
    pub instance_id: Option<Str>,
}

/// Partitions for each member, by member id.
pub type Assignment = BTreeMap<Str, Vec<TopicPartition>>;

/// The rules by which partitions are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Each topic by itself: consecutive partitions, in the order of the members' ids. A rebalance
    /// takes all partitions away first.
    Range,
    /// Even over all topics, and as few moves as possible. A partition that moves is given to its new
    /// owner only once the old one has let go of it, in a second rebalance (KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// The name under which members agree on it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Range, Self::CooperativeSticky]
            .into_iter()
            .find(|a| a.name() == name)
    }

    /// Whether members keep their partitions during a rebalance.
    #[must_use]
    pub fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Divides the partitions of `counts` (how many each topic has) among `members`.
    #[must_use]
    pub fn assign(
        self,
        counts: &BTreeMap<Str, i32>,
        members: &BTreeMap<Str, Subscription>,
    ) -> Assignment {
        match self {
            Self::Range => range::assign(counts, members),
            Self::CooperativeSticky => sticky::assign_cooperatively(counts, members),
        }
    }
}
