//! From the configuration, all text, to what each part of the broker is told.

use std::{sync::Arc, time::Duration};

use ottla_core::{
    config::{Entries, Layers, listeners::Listener},
    limits::FRAME_BYTES_MAX,
};

use crate::{
    config::BrokerConfig,
    coordinator::GroupSettings,
    loggers::Loggers,
    metadata::{MetadataSettings, partition_config},
    net::{ListenerSettings, NetSettings},
    storage::{PartitionConfig, StorageSettings},
};

/// How long a clean shutdown waits for requests under way: longer than a consumer's usual long
/// poll (half a second), shorter than what a service manager waits for (ten seconds and more).
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How long a session must be idle before any other may take its place: Kafka's value.
const FETCH_SESSION_IDLE_MIN: Duration = Duration::from_secs(120);

/// What a broker is told when it starts.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// `node.id`.
    pub node_id: i32,
    /// Listeners and their bounds.
    pub net: NetSettings,
    /// Log directories and their bounds.
    pub storage: StorageSettings,
    /// The metadata quorum, and what this broker tells of itself.
    pub metadata: MetadataSettings,
    /// The groups.
    pub groups: GroupSettings,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_session_slots: usize,
    /// How long a fetch session must be idle before another may take its place. Kafka has no key for
    /// it.
    pub fetch_session_idle_min: Duration,
    /// `fetch.max.bytes`: what one answer to a fetch may hold.
    pub fetch_max_bytes: usize,
    /// The loggers of this process, for who wants to see or change their levels.
    pub loggers: Loggers,
}

impl BrokerSettings {
    /// From the broker's configuration.
    #[must_use]
    pub fn new(config: &BrokerConfig) -> Self {
        let none = Entries::new();
        let layers = Layers {
            broker: &none,
            cluster: &none,
            file: &config.entries,
        };
        Self {
            node_id: config.node_id,
            net: NetSettings::new(config),
            storage: storage(config, &layers),
            metadata: MetadataSettings::new(config),
            groups: GroupSettings::from_layers(config.node_id, &layers),
            fetch_session_slots: config.get_usize("max.incremental.fetch.session.cache.slots"),
            fetch_session_idle_min: FETCH_SESSION_IDLE_MIN,
            fetch_max_bytes: config.get_usize("fetch.max.bytes"),
            loggers: Loggers::default(),
        }
    }
}

impl NetSettings {
    /// From the broker's configuration.
    #[must_use]
    pub fn new(config: &BrokerConfig) -> Self {
        let listener = |listener: &Listener| ListenerSettings {
            name: Arc::from(listener.name.as_str()),
            host: listener.host.clone(),
            port: listener.port,
        };
        let frame_max = config.get_usize("socket.request.max.bytes");
        Self {
            listeners: config.listeners.iter().map(listener).collect(),
            socket_request_max_bytes: frame_max.min(FRAME_BYTES_MAX),
            connections_max_idle: idle(config.get_i64("connections.max.idle.ms")),
            shutdown_grace: SHUTDOWN_GRACE,
        }
    }
}

/// A negative time means never, as at Kafka.
fn idle(ms: i64) -> Duration {
    u64::try_from(ms).map_or(Duration::MAX, Duration::from_millis)
}

fn storage(config: &BrokerConfig, layers: &Layers<'_>) -> StorageSettings {
    let mut metadata_config = PartitionConfig::default();
    // Only a snapshot makes records of the metadata log superfluous.
    metadata_config.log.delete = false;
    metadata_config.log.retention_ms = None;
    metadata_config.log.segment_bytes = u32::try_from(config.get_i64("metadata.log.segment.bytes"))
        .unwrap_or(metadata_config.log.segment_bytes);
    StorageSettings {
        metadata_log_dir: Some(config.metadata_log_dir.clone()),
        cluster_id: config.cluster_id.clone(),
        recovery_threads_per_data_dir: config.get_usize("num.recovery.threads.per.data.dir").max(1),
        checkpoint_interval: config.get_ms("log.flush.offset.checkpoint.interval.ms"),
        delete_delay: config.get_ms("log.segment.delete.delay.ms"),
        default_config: partition_config(layers, &Entries::new()),
        metadata_config,
        ..StorageSettings::new(config.node_id, config.log_dirs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_kafkas() {
        let settings = BrokerSettings::new(&BrokerConfig::single_node(&[]).unwrap());
        assert_eq!(settings.net, NetSettings::default());
        assert!(!settings.storage.metadata_config.log.delete);
        assert_eq!(settings.storage.default_config.log.segment_bytes, 1 << 30);
    }

    #[test]
    fn a_small_segment_has_four_snapshots_and_a_large_one_as_many_as_the_limit_says() {
        let interval = |segment_bytes: u32| {
            let overrides = [format!("log.segment.bytes={segment_bytes}")];
            let config = BrokerConfig::single_node(&overrides).unwrap();
            let log = BrokerSettings::new(&config).storage.default_config.log;
            log.snapshot_interval_bytes
        };
        assert_eq!(interval(4 << 20), 1 << 20);
        assert_eq!(interval(1 << 30), 64 << 20);
    }

    #[test]
    fn groups_are_loaded_in_pieces_of_the_size_that_is_said_and_of_a_mebibyte_at_most() {
        let pieces = |bytes: u32| {
            let overrides = [format!("offsets.load.buffer.size={bytes}")];
            let config = BrokerConfig::single_node(&overrides).unwrap();
            BrokerSettings::new(&config).groups.load_read_bytes
        };
        assert_eq!(pieces(1), 1);
        assert_eq!(pieces(5_242_880), 1 << 20);
    }

    #[test]
    fn bounds_of_connections_are_taken() {
        let overrides = [
            "socket.request.max.bytes=1048576".to_owned(),
            "connections.max.idle.ms=-1".to_owned(),
        ];
        let settings = NetSettings::new(&BrokerConfig::single_node(&overrides).unwrap());
        assert_eq!(settings.socket_request_max_bytes, 1 << 20);
        assert_eq!(settings.connections_max_idle, Duration::MAX);
    }
}
