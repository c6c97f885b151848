//! What this version does with Kafka's keys: acts on them, refuses them, or takes them without
//! effect, which is then told.

use ottla_core::config::{Entries, broker_key, listeners::Listener};

use super::{ConfigError, Given, Roles};

/// The keys that are acted on, sorted. Every other key of Kafka's changes nothing yet.
const ACTED_ON: &[&str] = &[
    "advertised.listeners",
    "auto.create.topics.enable",
    "broker.id",
    "broker.rack",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "connections.max.idle.ms",
    "controller.listener.names",
    "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
    "default.replication.factor",
    "delete.topic.enable",
    "fetch.max.bytes",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "group.min.session.timeout.ms",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.cleanup.policy",
    "log.dir",
    "log.dirs",
    "log.flush.interval.messages",
    "log.flush.interval.ms",
    "log.flush.offset.checkpoint.interval.ms",
    "log.flush.scheduler.interval.ms",
    "log.index.interval.bytes",
    "log.index.size.max.bytes",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.type",
    "log.retention.bytes",
    "log.retention.check.interval.ms",
    "log.retention.hours",
    "log.retention.minutes",
    "log.retention.ms",
    "log.roll.hours",
    "log.roll.jitter.hours",
    "log.roll.jitter.ms",
    "log.roll.ms",
    "log.segment.bytes",
    "log.segment.delete.delay.ms",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "max.incremental.fetch.session.cache.slots",
    "max.request.partition.size.limit",
    "message.max.bytes",
    "metadata.log.dir",
    "metadata.log.max.record.bytes.between.snapshots",
    "metadata.log.max.snapshot.interval.ms",
    "metadata.log.segment.bytes",
    "metadata.log.segment.ms",
    "min.insync.replicas",
    "node.id",
    "num.partitions",
    "num.recovery.threads.per.data.dir",
    "offset.metadata.max.bytes",
    "offsets.commit.timeout.ms",
    "offsets.load.buffer.size",
    "offsets.retention.check.interval.ms",
    "offsets.retention.minutes",
    "offsets.topic.num.partitions",
    "offsets.topic.replication.factor",
    "offsets.topic.segment.bytes",
    "process.roles",
    "producer.id.expiration.ms",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.num.partitions",
    "share.coordinator.state.topic.replication.factor",
    "share.coordinator.state.topic.segment.bytes",
    "socket.request.max.bytes",
    "transaction.state.log.min.isr",
    "transaction.state.log.num.partitions",
    "transaction.state.log.replication.factor",
    "transaction.state.log.segment.bytes",
];

/// Classes that decide who may do what: a broker that started without them would let in what its
/// owner keeps out.
const REFUSED_CLASSES: [&str; 3] = [
    "alter.config.policy.class.name",
    "authorizer.class.name",
    "create.topic.policy.class.name",
];

/// Whether a change of this key changes anything.
pub(crate) fn acts_on(key: &str) -> bool {
    ACTED_ON.binary_search(&key).is_ok()
}

/// The keys of Kafka's that are given, other than at their default, and have no effect.
pub(super) fn without_effect(entries: &Entries) -> Vec<String> {
    let changes = |(name, value): &(&String, &String)| {
        let Some(key) = broker_key(name) else {
            return false;
        };
        let default = key.default.and_then(|text| key.parse(text).ok());
        !acts_on(key.name) && key.parse(value).ok() != default
    };
    entries
        .iter()
        .filter(changes)
        .map(|(name, _)| name.clone())
        .collect()
}

/// Refuses what this version cannot be: anything but a node that is broker and controller of a
/// cluster of its own, without classes of Java's.
pub(super) fn refuse_unsupported(
    text: &Given<'_>,
    node_id: i32,
    roles: Roles,
    controllers: &[Listener],
) -> Result<(), ConfigError> {
    let not_supported = |key: &str| {
        Err(ConfigError::NotSupported {
            key: key.to_owned(),
            value: text.entries.get(key).cloned().unwrap_or_default(),
        })
    };
    if !(roles.broker && roles.controller) {
        return not_supported("process.roles");
    }
    for key in REFUSED_CLASSES {
        if text.text(key).is_some() {
            return not_supported(key);
        }
    }
    let tiered = "remote.log.storage.system.enable";
    if text.value(tiered) == Some(ottla_core::config::Value::Boolean(true)) {
        return not_supported(tiered);
    }
    let this_node = |voter: &String| voter.split_once('@').map(|(id, _)| id.trim().parse());
    let voters = text.list("controller.quorum.voters");
    if !voters.is_empty() && !matches!(&voters[..], [one] if this_node(one) == Some(Ok(node_id))) {
        return not_supported("controller.quorum.voters");
    }
    // A host has many names, but only one controller listens on a port of it.
    let ours = |server: &String| {
        let port = server.rsplit_once(':').map(|(_, port)| port.parse());
        controllers.iter().any(|own| port == Some(Ok(own.port)))
    };
    let servers = text.list("controller.quorum.bootstrap.servers");
    if !servers.is_empty() && !matches!(&servers[..], [one] if ours(one)) {
        return not_supported("controller.quorum.bootstrap.servers");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::BrokerConfig, *};

    #[test]
    fn the_keys_that_are_acted_on_are_kafkas_and_sorted() {
        assert!(ACTED_ON.windows(2).all(|pair| pair[0] < pair[1]));
        for key in ACTED_ON {
            assert!(broker_key(key).is_some(), "{key}");
        }
    }

    fn read(file: &str) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::from_properties(file.as_bytes(), &[])
    }

    #[test]
    fn a_key_that_is_known_and_changes_nothing_is_named_unless_it_is_at_its_default() {
        let config =
            read("num.io.threads=8\nnum.network.threads=7\nlog.preallocate=true\nfoo=1").unwrap();
        assert_eq!(
            config.without_effect,
            ["log.preallocate", "num.network.threads"]
        );
        let alone = BrokerConfig::single_node(&[]).unwrap();
        assert!(alone.without_effect.is_empty() && alone.warnings().is_empty());
    }

    #[test]
    fn what_this_version_cannot_do_is_refused_with_key_and_value() {
        let controller = "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                          controller.listener.names=CONTROLLER\nnode.id=1\n";
        for refused in [
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "create.topic.policy.class.name=a.B",
            "alter.config.policy.class.name=a.B",
            "remote.log.storage.system.enable=true",
            "process.roles=broker",
            "process.roles=controller",
            "controller.quorum.voters=2@localhost:9093",
            "controller.quorum.voters=1@a:9093,2@b:9093",
            "controller.quorum.bootstrap.servers=a:9093,b:9093",
            "controller.quorum.bootstrap.servers=a:9193",
        ] {
            let error = read(&format!("{controller}{refused}")).unwrap_err();
            assert_eq!(error.to_string(), format!("{refused} is not supported yet"));
        }
        for taken in [
            "controller.quorum.voters=1@localhost:9093",
            "controller.quorum.bootstrap.servers=localhost:9093",
            "authorizer.class.name=",
            "process.roles=controller,broker",
        ] {
            let config = read(&format!("{controller}{taken}")).unwrap();
            assert!(config.without_effect.is_empty(), "{taken}");
        }
    }
}
