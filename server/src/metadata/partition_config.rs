//! A topic's configuration as its partitions' logs want it.

use std::time::Duration;

use ottla_core::{
    config::{Entries, Layers, Value},
    limits::SNAPSHOT_INTERVAL_BYTES,
    log::{LogConfig, TimestampType},
};
use ottla_wire::records::Compression;

use crate::storage::{FlushPolicy, PartitionConfig, TopicCompression};

/// What a partition of a topic with these `overrides` works by.
pub fn partition_config(layers: &Layers<'_>, overrides: &Entries) -> PartitionConfig {
    let integer = |name: &str| match value(layers, name, overrides) {
        Some(Value::Integer(number)) => number,
        _ => 0,
    };
    let u32_of = |name: &str| u32::try_from(integer(name).max(0)).unwrap_or(u32::MAX);
    let millis = |ms: i64| Duration::from_millis(ms.max(0).cast_unsigned());
    // Kafka's -1 is "no limit".
    let limit = |name: &str| Some(integer(name)).filter(|number| *number >= 0);
    let policies = match value(layers, "cleanup.policy", overrides) {
        Some(Value::List(list)) => list,
        _ => Vec::new(),
    };
    let has = |policy: &str| policies.iter().any(|p| p == policy);
    let append_time = matches!(
        value(layers, "message.timestamp.type", overrides),
        Some(Value::Text(text)) if text.eq_ignore_ascii_case("LogAppendTime")
    );
    let expiration = match layers.broker_value("producer.id.expiration.ms") {
        Some(Value::Integer(ms)) => millis(ms),
        _ => Duration::from_secs(24 * 3600),
    };
    let check = match layers.broker_value("log.retention.check.interval.ms") {
        Some(Value::Integer(ms)) => millis(ms),
        _ => Duration::from_secs(300),
    };
    let segment_bytes = match integer("internal.segment.bytes") {
        small if small > 0 => u32::try_from(small).unwrap_or(u32::MAX),
        _ => u32_of("segment.bytes"),
    };
    let log = LogConfig {
        segment_bytes,
        // A few in each segment, whatever its size.
        snapshot_interval_bytes: SNAPSHOT_INTERVAL_BYTES.min(u64::from(segment_bytes) / 4),
        segment_ms: millis(integer("segment.ms")),
        segment_jitter_ms: millis(integer("segment.jitter.ms")),
        segment_index_bytes: u32_of("segment.index.bytes"),
        index_interval_bytes: u32_of("index.interval.bytes"),
        max_message_bytes: u32_of("max.message.bytes"),
        timestamp_type: match append_time {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        },
        timestamp_before_max_ms: integer("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: integer("message.timestamp.after.max.ms"),
        retention_ms: limit("retention.ms").map(millis),
        retention_bytes: limit("retention.bytes").map(i64::cast_unsigned),
        delete: has("delete"),
        compact: has("compact"),
        producer_id_expiration: expiration,
    };
    PartitionConfig {
        log,
        flush: FlushPolicy::from_keys(integer("flush.messages"), Some(integer("flush.ms"))),
        compression: compression(layers, overrides),
        min_insync_replicas: usize::try_from(integer("min.insync.replicas")).unwrap_or(1),
        retention_check_interval: check,
        file_delete_delay: Some(millis(integer("file.delete.delay.ms"))),
        ..PartitionConfig::default()
    }
}

/// `compression.type`, with the level that its codec is configured with.
fn compression(layers: &Layers<'_>, overrides: &Entries) -> TopicCompression {
    let Some(Value::Text(name)) = value(layers, "compression.type", overrides) else {
        return TopicCompression::Producer;
    };
    let level = |key: &str| match value(layers, key, overrides) {
        Some(Value::Integer(level)) => i32::try_from(level).ok(),
        _ => None,
    };
    match name.to_ascii_lowercase().as_str() {
        "uncompressed" => TopicCompression::Codec(Compression::None, None),
        "gzip" => TopicCompression::Codec(Compression::Gzip, level("compression.gzip.level")),
        "snappy" => TopicCompression::Codec(Compression::Snappy, None),
        "lz4" => TopicCompression::Codec(Compression::Lz4, level("compression.lz4.level")),
        "zstd" => TopicCompression::Codec(Compression::Zstd, level("compression.zstd.level")),
        _ => TopicCompression::Producer,
    }
}

fn value(layers: &Layers<'_>, name: &str, overrides: &Entries) -> Option<Value> {
    let key = ottla_core::config::topic_key(name)?;
    let found = layers.topic(key.name, overrides);
    found
        .into_iter()
        .find_map(|found| key.parse(&found.value?).ok())
}

/// What the metadata partition works by: its own keys, and always synced.
pub(super) fn metadata_partition_config(file: &Entries) -> PartitionConfig {
    let none = Entries::new();
    let layers = Layers {
        broker: &none,
        cluster: &none,
        file,
    };
    let integer = |name: &str, default: i64| match layers.broker_value(name) {
        Some(Value::Integer(number)) => number,
        _ => default,
    };
    let log = LogConfig {
        segment_bytes: u32::try_from(integer("metadata.log.segment.bytes", 1 << 30))
            .unwrap_or(1 << 30),
        segment_ms: Duration::from_millis(
            integer("metadata.log.segment.ms", 7 * 24 * 3_600_000)
                .max(1)
                .cast_unsigned(),
        ),
        // Old records go when a snapshot has them, not by age or size.
        retention_ms: None,
        retention_bytes: None,
        max_message_bytes: 16 << 20,
        ..LogConfig::default()
    };
    PartitionConfig {
        log,
        flush: FlushPolicy::Synced,
        ..PartitionConfig::default()
    }
}
