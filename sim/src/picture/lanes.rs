//! The lanes of a picture, and their order.

use std::collections::BTreeMap;

use crate::event::{NodeId, Recording};

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// What it is called.
    pub name: String,
    /// What it shows.
    pub kind: LaneKind,
}

/// What a lane shows. The order is that of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneKind {
    /// The world itself: what befalls no node alone.
    World,
    /// A node that runs the broker.
    Broker,
    /// One replica of a partition of the workload.
    Partition,
    /// A node that runs a client.
    Client,
    /// A consumer group.
    Group,
    /// Who reads everything at the end.
    Judge,
    /// One replica of a partition that the broker keeps for itself.
    Internal,
}

impl LaneKind {
    /// The heading that its lanes stand under.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::World | Self::Broker => "Nodes",
            Self::Partition => "Partitions",
            Self::Client => "Clients",
            Self::Group => "Groups",
            Self::Judge => "Last reading",
            Self::Internal => "Internal partitions",
        }
    }
}

/// What a lane is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LaneKey {
    Node(NodeId),
    /// A partition on one of the nodes that have it.
    Replica(String, NodeId),
    Group(String),
}

/// Lanes in the making: numbered as they are met, put in order at the end.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    numbers: BTreeMap<LaneKey, usize>,
}

impl Lanes {
    pub(super) fn number(&mut self, key: LaneKey) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(key).or_insert(next)
    }

    /// The lanes in order, and for each number the place that its lane has there.
    pub(super) fn sorted(
        self,
        recording: &Recording,
        is_broker: impl Fn(NodeId) -> bool,
    ) -> (Vec<Lane>, Vec<usize>) {
        let mut replicas: BTreeMap<String, usize> = BTreeMap::new();
        for key in self.numbers.keys() {
            if let LaneKey::Replica(partition, _) = key {
                *replicas.entry(partition.clone()).or_default() += 1;
            }
        }
        let lane = |key: &LaneKey| match key {
            LaneKey::Node(node) => node_lane(recording.name(*node), is_broker(*node)),
            LaneKey::Group(name) => Lane {
                name: name.clone(),
                kind: LaneKind::Group,
            },
            LaneKey::Replica(partition, node) => {
                let alone = replicas.get(partition).is_none_or(|count| *count < 2);
                let name = match alone {
                    true => partition.clone(),
                    false => format!("{partition} on {}", recording.name(*node)),
                };
                let kind = match partition.starts_with("__") {
                    true => LaneKind::Internal,
                    false => LaneKind::Partition,
                };
                Lane { name, kind }
            }
        };
        let mut lanes: Vec<(Lane, usize)> = self
            .numbers
            .iter()
            .map(|(key, number)| (lane(key), *number))
            .collect();
        lanes.sort_by_cached_key(|(lane, number)| (lane.kind, natural(&lane.name), *number));
        let mut places = vec![0; lanes.len()];
        for (place, (_, number)) in lanes.iter().enumerate() {
            places[*number] = place;
        }
        (lanes.into_iter().map(|(lane, _)| lane).collect(), places)
    }
}

fn node_lane(name: &str, is_broker: bool) -> Lane {
    let kind = match name {
        "world" => LaneKind::World,
        "judge" => LaneKind::Judge,
        _ if is_broker => LaneKind::Broker,
        _ => LaneKind::Client,
    };
    Lane {
        name: name.to_owned(),
        kind,
    }
}

/// A name as people sort it: `events-2` before `events-10`, producers before who reads.
fn natural(name: &str) -> (bool, String, u64) {
    let letters = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = name[letters.len()..].parse().unwrap_or(0);
    (!name.starts_with("producer"), letters.to_owned(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_in_order_of_what_they_show_and_of_their_numbers() {
        let recording = Recording::default();
        let mut lanes = Lanes::default();
        let replica = |name: &str| LaneKey::Replica(name.to_owned(), NodeId(1));
        for key in [
            LaneKey::Group("g".to_owned()),
            replica("__consumer_offsets-0"),
            replica("t-10"),
            replica("t-2"),
            LaneKey::Node(NodeId(1)),
        ] {
            lanes.number(key);
        }
        assert_eq!(lanes.number(replica("t-2")), 3);
        let (sorted, places) = lanes.sorted(&recording, |node| node == NodeId(1));
        let names: Vec<&str> = sorted.iter().map(|lane| &*lane.name).collect();
        assert_eq!(names, ["?", "t-2", "t-10", "g", "__consumer_offsets-0"]);
        assert_eq!(places, [3, 4, 2, 1, 0]);
    }

    #[test]
    fn a_partition_on_two_nodes_has_a_lane_for_each() {
        let mut lanes = Lanes::default();
        lanes.number(LaneKey::Replica("t-0".to_owned(), NodeId(1)));
        lanes.number(LaneKey::Replica("t-0".to_owned(), NodeId(2)));
        let (sorted, _) = lanes.sorted(&Recording::default(), |_| true);
        assert!(sorted.iter().all(|lane| lane.name == "t-0 on ?"));
        assert_eq!(sorted.len(), 2);
    }
}
