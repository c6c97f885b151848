//! What the configuration says about groups.

use std::time::Duration;

use ottla_core::{
    config::{Layers, Value},
    group::GroupConfig,
    limits::GROUP_LOAD_READ_BYTES,
};

/// The settings of the group coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `node.id`
    pub node_id: i32,
    /// `offsets.commit.timeout.ms`
    pub commit_timeout: Duration,
    /// `offsets.load.buffer.size`: how many bytes of a partition are read at once when it is loaded,
    /// [`GROUP_LOAD_READ_BYTES`] at most.
    pub load_read_bytes: usize,
    /// What the machine needs.
    pub groups: GroupConfig,
}

impl GroupSettings {
    /// Kafka's defaults.
    #[must_use]
    pub fn new(node_id: i32) -> Self {
        Self {
            node_id,
            commit_timeout: Duration::from_millis(5_000),
            load_read_bytes: GROUP_LOAD_READ_BYTES,
            groups: GroupConfig::default(),
        }
    }

    /// What is in force.
    #[must_use]
    pub fn from_layers(node_id: i32, layers: &Layers<'_>) -> Self {
        let plain = Self::new(node_id);
        let number = |name, default: i64| match layers.broker_value(name) {
            Some(Value::Integer(value)) => value,
            _ => default,
        };
        let span = |name, unit: u64, default: Duration| {
            let default_count = i64::try_from(default.as_millis()).unwrap_or(i64::MAX);
            let count = number(name, default_count / i64::try_from(unit).unwrap_or(1));
            Duration::from_millis(u64::try_from(count).unwrap_or(0).saturating_mul(unit))
        };
        let groups = &plain.groups;
        Self {
            commit_timeout: span("offsets.commit.timeout.ms", 1, plain.commit_timeout),
            load_read_bytes: usize::try_from(number("offsets.load.buffer.size", i64::MAX))
                .unwrap_or(usize::MAX)
                .min(plain.load_read_bytes),
            groups: GroupConfig {
                initial_rebalance_delay: span(
                    "group.initial.rebalance.delay.ms",
                    1,
                    groups.initial_rebalance_delay,
                ),
                min_session_timeout: span(
                    "group.min.session.timeout.ms",
                    1,
                    groups.min_session_timeout,
                ),
                max_session_timeout: span(
                    "group.max.session.timeout.ms",
                    1,
                    groups.max_session_timeout,
                ),
                max_size: usize::try_from(number("group.max.size", i64::from(i32::MAX)))
                    .unwrap_or(usize::MAX),
                offset_metadata_max_bytes: usize::try_from(number(
                    "offset.metadata.max.bytes",
                    4096,
                ))
                .unwrap_or(usize::MAX),
                offsets_retention: span(
                    "offsets.retention.minutes",
                    60_000,
                    groups.offsets_retention,
                ),
                offsets_retention_check_interval: span(
                    "offsets.retention.check.interval.ms",
                    1,
                    groups.offsets_retention_check_interval,
                ),
            },
            node_id,
        }
    }
}
