//! What the client knows of the cluster: its brokers, topics and leaders.
//!
//! A snapshot is immutable; a refresh makes a new one. A leader with an older epoch than the one
//! known never replaces it (KIP-320), unless the topic was made anew under its name, which its id
//! tells (KIP-516).

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::time::Instant;
use ottla_wire::{ErrorCode, Str, Uuid, messages::MetadataResponse};

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// The host that it advertises.
    pub host: Str,
    /// The port that it advertises.
    pub port: u16,
    /// Its rack, if it has one.
    pub rack: Option<Str>,
}

/// A topic, as the last refresh saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Str,
    /// Its id; zero where the broker tells none.
    pub id: Uuid,
    /// Whether it belongs to Kafka itself.
    pub is_internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<Partition>,
}

/// A partition, as the last refresh saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// Its leader, if it has one.
    pub leader: Option<i32>,
    /// The leader's epoch; -1 where the broker tells none.
    pub leader_epoch: i32,
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub isr: Vec<i32>,
    /// Those of them that are offline.
    pub offline: Vec<i32>,
}

/// A snapshot of what is known of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Counts the refreshes.
    pub version: u64,
    /// When the last refresh was.
    pub refreshed_at: Instant,
    /// The cluster's id.
    pub cluster_id: Option<Str>,
    /// The broker to ask for what the controller decides.
    pub controller: Option<i32>,
    /// The brokers, by id.
    pub brokers: BTreeMap<i32, Broker>,
    /// The topics that were asked for and exist, by name.
    pub topics: BTreeMap<Str, Topic>,
    /// Why a topic that was asked for is not among them.
    pub topic_errors: BTreeMap<Str, ErrorCode>,
}

impl Metadata {
    /// A partition's leader and its epoch.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        let partition = self.partition(topic, partition)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// A partition.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics
            .get(topic)?
            .partitions
            .get(usize::try_from(partition).ok()?)
    }

    /// A topic's name by its id.
    #[must_use]
    pub fn topic_name(&self, id: Uuid) -> Option<&Str> {
        self.topics.values().find(|t| t.id == id).map(|t| &t.name)
    }

    /// The snapshot after a refresh. Topics that the response does not mention are kept.
    pub(crate) fn refreshed(&self, response: &MetadataResponse, now: Instant) -> Self {
        let mut next = Self {
            version: self.version + 1,
            refreshed_at: now,
            cluster_id: response.cluster_id.as_ref().map(Str::detach),
            controller: Some(response.controller_id).filter(|id| *id >= 0),
            brokers: BTreeMap::new(),
            topics: self.topics.clone(),
            topic_errors: self.topic_errors.clone(),
        };
        for broker in &response.brokers {
            let Ok(port) = u16::try_from(broker.port) else {
                continue;
            };
            next.brokers.insert(
                broker.node_id,
                Broker {
                    id: broker.node_id,
                    host: broker.host.detach(),
                    port,
                    rack: broker.rack.as_ref().map(Str::detach),
                },
            );
        }
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref().map(Str::detach) else {
                continue;
            };
            let error = ErrorCode::from(topic.error_code);
            if error != ErrorCode::None && error != ErrorCode::LeaderNotAvailable {
                // A topic in trouble for a moment keeps what was known; one that is gone does not.
                if !matches!(error, ErrorCode::UnknownServerError) {
                    next.topics.remove(&name);
                }
                next.topic_errors.insert(name, error);
                continue;
            }
            let known = self.topics.get(&name).filter(|k| k.id == topic.topic_id);
            let mut partitions: Vec<Partition> = topic
                .partitions
                .iter()
                .map(|p| Partition {
                    index: p.partition_index,
                    leader: Some(p.leader_id).filter(|id| *id >= 0),
                    leader_epoch: p.leader_epoch,
                    replicas: p.replica_nodes.clone(),
                    isr: p.isr_nodes.clone(),
                    offline: p.offline_replicas.clone(),
                })
                .collect();
            partitions.sort_by_key(|p| p.index);
            // Partitions are numbered without gaps; what is not would be looked up wrongly.
            let whole = partitions
                .iter()
                .enumerate()
                .take_while(|(i, p)| *i as i32 == p.index);
            let whole = whole.count();
            partitions.truncate(whole);
            if let Some(known) = known {
                for (new, old) in partitions.iter_mut().zip(&known.partitions) {
                    if new.leader_epoch >= 0 && new.leader_epoch < old.leader_epoch {
                        *new = old.clone();
                    }
                }
            }
            next.topic_errors.remove(&name);
            let (id, is_internal) = (topic.topic_id, topic.is_internal);
            next.topics.insert(
                name.clone(),
                Topic {
                    name,
                    id,
                    is_internal,
                    partitions,
                },
            );
        }
        next
    }

    /// Without the topics that an answer about all of them does not mention: they are gone.
    pub(crate) fn only_in(mut self, response: &MetadataResponse) -> Self {
        let named: BTreeSet<&Str> = response
            .topics
            .iter()
            .filter_map(|t| t.name.as_ref())
            .collect();
        self.topics.retain(|name, _| named.contains(name));
        self
    }

    /// The snapshot after a broker said who leads a partition now (KIP-951); `None` if that is not
    /// news.
    pub(crate) fn with_leader(
        &self,
        topic: &str,
        partition: i32,
        leader: i32,
        epoch: i32,
    ) -> Option<Self> {
        let known = self.partition(topic, partition)?;
        if leader < 0 || epoch <= known.leader_epoch || !self.brokers.contains_key(&leader) {
            return None;
        }
        let mut next = self.clone();
        let index = usize::try_from(partition).ok()?;
        let entry = next.topics.get_mut(topic)?.partitions.get_mut(index)?;
        entry.leader = Some(leader);
        entry.leader_epoch = epoch;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };

    use super::*;

    fn response(topic_id: u64, leader: i32, epoch: i32, error: ErrorCode) -> MetadataResponse {
        MetadataResponse {
            brokers: [1, 2]
                .map(|id| MetadataResponseBroker {
                    node_id: id,
                    host: "h".into(),
                    port: 9092,
                    ..Default::default()
                })
                .to_vec(),
            topics: vec![MetadataResponseTopic {
                error_code: error.code(),
                name: Some("t".into()),
                topic_id: Uuid::from_parts(0, topic_id),
                partitions: vec![MetadataResponsePartition {
                    leader_id: leader,
                    leader_epoch: epoch,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn an_older_leader_never_replaces_a_newer_one_unless_the_topic_is_another() {
        let none = ErrorCode::None;
        let first = Metadata::default().refreshed(&response(9, 1, 5, none), Instant(1));
        assert_eq!(first.leader("t", 0), Some((1, 5)));
        let stale = first.refreshed(&response(9, 2, 4, none), Instant(2));
        assert_eq!(stale.leader("t", 0), Some((1, 5)));
        let newer = first.refreshed(&response(9, 2, 6, none), Instant(2));
        assert_eq!(newer.leader("t", 0), Some((2, 6)));
        let other = first.refreshed(&response(10, 2, 0, none), Instant(2));
        assert_eq!(other.leader("t", 0), Some((2, 0)));
        assert_eq!(first.leader("t", 1), None);
    }

    #[test]
    fn a_topic_that_is_gone_is_forgotten_and_its_error_kept() {
        let first = Metadata::default().refreshed(&response(9, 1, 5, ErrorCode::None), Instant(1));
        let gone = first.refreshed(
            &response(0, 0, 0, ErrorCode::UnknownTopicOrPartition),
            Instant(2),
        );
        assert_eq!(gone.leader("t", 0), None);
        assert_eq!(
            gone.topic_errors.get("t"),
            Some(&ErrorCode::UnknownTopicOrPartition)
        );
        let back = gone.refreshed(&response(9, 1, 5, ErrorCode::None), Instant(3));
        assert!(back.topic_errors.is_empty());
    }

    #[test]
    fn a_topic_that_an_answer_about_all_leaves_out_is_forgotten() {
        let answer = response(9, 1, 5, ErrorCode::None);
        let first = Metadata::default().refreshed(&answer, Instant(1));
        let nothing = MetadataResponse::default();
        let same = first.refreshed(&answer, Instant(2)).only_in(&answer);
        assert_eq!(same.leader("t", 0), Some((1, 5)));
        let gone = same.refreshed(&nothing, Instant(3)).only_in(&nothing);
        assert_eq!(gone.leader("t", 0), None);
    }

    #[test]
    fn a_leader_told_in_passing_is_taken_only_if_newer() {
        let first = Metadata::default().refreshed(&response(9, 1, 5, ErrorCode::None), Instant(1));
        assert_eq!(first.with_leader("t", 0, 2, 5), None);
        assert_eq!(first.with_leader("t", 0, 7, 6), None);
        let moved = first.with_leader("t", 0, 2, 6).unwrap();
        assert_eq!(moved.leader("t", 0), Some((2, 6)));
    }
}
