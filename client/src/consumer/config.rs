//! The consumer's settings.

use std::time::Duration;

use ottla_wire::Str;

use super::assignor::Assignor;
use crate::{client::ClientConfig, types::IsolationLevel};

/// Where to begin in a partition without a committed offset, or whose offset is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoOffsetReset {
    /// At the first record.
    Earliest,
    /// Behind the last record.
    Latest,
    /// Nowhere: [`Consumer::poll`](super::Consumer::poll) fails.
    None,
}

/// Settings of a consumer, with Kafka's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// What producer, consumer and admin have in common.
    pub client: ClientConfig,
    /// `group.id`; needed to subscribe and to commit.
    pub group_id: Option<Str>,
    /// `group.instance.id`: makes the member static (KIP-345), so that a restart within
    /// `session.timeout.ms` causes no rebalance.
    pub group_instance_id: Option<Str>,
    /// `partition.assignment.strategy`. Members keep their partitions during a rebalance if all of
    /// these are cooperative.
    pub assignors: Vec<Assignor>,
    /// `session.timeout.ms`: without a heartbeat for this long the member is thought dead.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: a member that does not poll for this long leaves the group.
    pub max_poll_interval: Duration,
    /// `max.poll.records`: the most that one poll returns.
    pub max_poll_records: usize,
    /// `enable.auto.commit`: whether what earlier polls returned is committed now and then, when
    /// partitions are revoked, and at the close.
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval: Duration,
    /// `auto.offset.reset`.
    pub auto_offset_reset: AutoOffsetReset,
    /// `isolation.level`.
    pub isolation_level: IsolationLevel,
    /// `check.crcs`.
    pub check_crcs: bool,
    /// `fetch.min.bytes`: a broker waits for this much ...
    pub fetch_min_bytes: i32,
    /// `fetch.max.wait.ms`: ... but not longer than this.
    pub fetch_max_wait: Duration,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub max_partition_fetch_bytes: i32,
    /// The most that a compressed batch may unpack to.
    pub max_batch_bytes: usize,
    /// `client.rack`.
    pub client_rack: Option<Str>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        let ms = Duration::from_millis;
        let client = ClientConfig {
            client_id: "ottla-consumer".to_owned(),
            ..ClientConfig::default()
        };
        Self {
            client,
            group_id: None,
            group_instance_id: None,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            session_timeout: ms(45_000),
            heartbeat_interval: ms(3_000),
            max_poll_interval: ms(300_000),
            max_poll_records: 500,
            auto_commit: true,
            auto_commit_interval: ms(5_000),
            auto_offset_reset: AutoOffsetReset::Latest,
            isolation_level: IsolationLevel::default(),
            check_crcs: true,
            fetch_min_bytes: 1,
            fetch_max_wait: ms(500),
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            max_batch_bytes: 256 << 20,
            client_rack: None,
        }
    }
}

impl ConsumerConfig {
    /// Whether members keep their partitions during a rebalance.
    pub(crate) fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|a| a.is_cooperative())
    }
}
