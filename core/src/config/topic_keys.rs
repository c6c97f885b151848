//! The topic's configuration keys (Kafka 4.3's `LogConfig`), and the broker keys that stand for a
//! topic key where the topic does not set it.

use super::{
    Key,
    Kind::{Boolean, Double, Int, List, Long, String},
    Update::{Internal, Topic},
    Valid::{Any, AtLeast, Between, EachOf, Fraction, GzipLevel, OneOf, ThrottledReplicas},
    key,
};

/// Every topic key, sorted by name.
#[rustfmt::skip]
pub static TOPIC_KEYS: &[Key] = &[
    key("cleanup.policy", List, Some("delete"), EachOf(&["compact", "delete"]), Topic).doc("What happens to old segments: `delete` by age and size, `compact` to the last value of each key, or both."),
    key("compression.gzip.level", Int, Some("-1"), GzipLevel, Topic).doc("The gzip level used where this topic's `compression.type` is gzip."),
    key("compression.lz4.level", Int, Some("9"), Between(1, 17), Topic).doc("The lz4 level used where this topic's `compression.type` is lz4."),
    key("compression.type", String, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Topic).doc("How batches are stored: as the producer sent them, or compressed anew with the named codec."),
    key("compression.zstd.level", Int, Some("3"), Between(-131072, 22), Topic).doc("The zstd level used where this topic's `compression.type` is zstd."),
    key("delete.retention.ms", Long, Some("86400000"), AtLeast(0), Topic).doc("How long a tombstone stays readable in a compacted topic."),
    key("file.delete.delay.ms", Long, Some("60000"), AtLeast(0), Topic).doc("How long a deleted segment's files stay on disk."),
    key("flush.messages", Long, Some("1"), AtLeast(1), Topic).doc("After how many records a sync is due. 1: acknowledged means synced. The largest value leaves syncing to the operating system."),
    key("flush.ms", Long, Some("9223372036854775807"), AtLeast(0), Topic).doc("After how much time a sync is due."),
    key("follower.replication.throttled.replicas", List, Some(""), ThrottledReplicas, Topic).doc("Replicas whose replication is throttled on the follower's side."),
    key("index.interval.bytes", Int, Some("4096"), AtLeast(0), Topic).doc("How many bytes of log lie between two index entries."),
    key("internal.segment.bytes", Int, None, Any, Internal).doc("The segment size, without the lower bound; for tests."),
    key("leader.replication.throttled.replicas", List, Some(""), ThrottledReplicas, Topic).doc("Replicas whose replication is throttled on the leader's side."),
    key("local.retention.bytes", Long, Some("-2"), AtLeast(-2), Topic).doc("The size that stays on local disk with tiered storage; -2 follows retention.bytes."),
    key("local.retention.ms", Long, Some("-2"), AtLeast(-2), Topic).doc("The time that stays on local disk with tiered storage; -2 follows retention.ms."),
    key("max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), Topic).doc("How long a record may stay without being considered for compaction."),
    key("max.message.bytes", Int, Some("1048588"), AtLeast(0), Topic).doc("The largest record batch that is taken."),
    key("message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0), Topic).doc("How far a record's timestamp may lie ahead of the broker's clock."),
    key("message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Topic).doc("How far a record's timestamp may lie behind the broker's clock."),
    key("message.timestamp.type", String, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Topic).doc("Whose timestamp a record carries: the producer's or the broker's."),
    key("min.cleanable.dirty.ratio", Double, Some("0.5"), Fraction, Topic).doc("How much of a log must be uncompacted before it is compacted."),
    key("min.compaction.lag.ms", Long, Some("0"), AtLeast(0), Topic).doc("How long a record stays uncompacted at the least."),
    key("min.insync.replicas", Int, Some("1"), AtLeast(1), Topic).doc("How many replicas must have a write before acks=all is answered."),
    key("preallocate", Boolean, Some("false"), Any, Topic).doc("Whether a segment's file is given its full size when it is made."),
    key("remote.log.copy.disable", Boolean, Some("false"), Any, Topic).doc("Stops copying to tiered storage."),
    key("remote.log.delete.on.disable", Boolean, Some("false"), Any, Topic).doc("Whether tiered data goes when tiering is switched off."),
    key("remote.storage.enable", Boolean, Some("false"), Any, Topic).doc("Whether tiered storage is on."),
    key("retention.bytes", Long, Some("-1"), Any, Topic).doc("The size beyond which a partition's oldest segments go; -1 is no limit."),
    key("retention.ms", Long, Some("604800000"), AtLeast(-1), Topic).doc("The age beyond which segments go; -1 is no limit."),
    key("segment.bytes", Int, Some("1073741824"), AtLeast(1048576), Topic).doc("The size at which a new segment starts."),
    key("segment.index.bytes", Int, Some("10485760"), AtLeast(4), Topic).doc("The size at which a segment's index is full."),
    key("segment.jitter.ms", Long, Some("0"), AtLeast(0), Topic).doc("How much segment.ms is shortened at random, so that segments do not all roll at once."),
    key("segment.ms", Long, Some("604800000"), AtLeast(1), Topic).doc("The age at which a new segment starts."),
    key("unclean.leader.election.enable", Boolean, Some("false"), Any, Topic).doc("Whether a replica outside the in-sync set may lead, losing data."),
];

/// For each topic key the broker keys that give its default, the strongest first, with the factor
/// that turns the broker key's unit into the topic key's. Sorted by topic key.
#[rustfmt::skip]
pub static TOPIC_SYNONYMS: &[(&str, &[(&str, i64)])] = &[
    ("cleanup.policy", &[("log.cleanup.policy", 1)]),
    ("compression.gzip.level", &[("compression.gzip.level", 1)]),
    ("compression.lz4.level", &[("compression.lz4.level", 1)]),
    ("compression.type", &[("compression.type", 1)]),
    ("compression.zstd.level", &[("compression.zstd.level", 1)]),
    ("delete.retention.ms", &[("log.cleaner.delete.retention.ms", 1)]),
    ("file.delete.delay.ms", &[("log.segment.delete.delay.ms", 1)]),
    ("flush.messages", &[("log.flush.interval.messages", 1)]),
    ("flush.ms", &[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)]),
    ("index.interval.bytes", &[("log.index.interval.bytes", 1)]),
    ("local.retention.bytes", &[("log.local.retention.bytes", 1)]),
    ("local.retention.ms", &[("log.local.retention.ms", 1)]),
    ("max.compaction.lag.ms", &[("log.cleaner.max.compaction.lag.ms", 1)]),
    ("max.message.bytes", &[("message.max.bytes", 1)]),
    ("message.timestamp.after.max.ms", &[("log.message.timestamp.after.max.ms", 1)]),
    ("message.timestamp.before.max.ms", &[("log.message.timestamp.before.max.ms", 1)]),
    ("message.timestamp.type", &[("log.message.timestamp.type", 1)]),
    ("min.cleanable.dirty.ratio", &[("log.cleaner.min.cleanable.ratio", 1)]),
    ("min.compaction.lag.ms", &[("log.cleaner.min.compaction.lag.ms", 1)]),
    ("min.insync.replicas", &[("min.insync.replicas", 1)]),
    ("preallocate", &[("log.preallocate", 1)]),
    ("retention.bytes", &[("log.retention.bytes", 1)]),
    ("retention.ms", &[("log.retention.ms", 1), ("log.retention.minutes", 60000), ("log.retention.hours", 3600000)]),
    ("segment.bytes", &[("log.segment.bytes", 1)]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", 1)]),
    ("segment.jitter.ms", &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3600000)]),
    ("segment.ms", &[("log.roll.ms", 1), ("log.roll.hours", 3600000)]),
    ("unclean.leader.election.enable", &[("unclean.leader.election.enable", 1)]),
];
