//! How a topic is made that nobody described: by the broker's defaults, or, if it is one of the
//! brokers' own, by the keys that are there for it.

use ottla_core::config::{Valid, Value, topic_key};
use ottla_io::Io;
use ottla_wire::{
    Str,
    messages::create_topics_request::{CreatableTopic, CreatableTopicConfig},
};

use crate::metadata::Metadata;

/// One of the brokers' own topics, and the broker keys that say how it is made.
struct Internal {
    name: &'static str,
    partitions: &'static str,
    replication: &'static str,
    /// Topic keys that take a broker key's value.
    from_broker: &'static [(&'static str, &'static str)],
    /// Topic keys with a value of their own.
    fixed: &'static [(&'static str, &'static str)],
}

static INTERNAL: [Internal; 3] = [
    Internal {
        name: "__consumer_offsets",
        partitions: "offsets.topic.num.partitions",
        replication: "offsets.topic.replication.factor",
        from_broker: &[("segment.bytes", "offsets.topic.segment.bytes")],
        fixed: &[
            ("cleanup.policy", "compact"),
            ("compression.type", "producer"),
        ],
    },
    Internal {
        name: "__transaction_state",
        partitions: "transaction.state.log.num.partitions",
        replication: "transaction.state.log.replication.factor",
        from_broker: &[
            ("segment.bytes", "transaction.state.log.segment.bytes"),
            ("min.insync.replicas", "transaction.state.log.min.isr"),
        ],
        fixed: &[
            ("cleanup.policy", "compact"),
            ("compression.type", "uncompressed"),
            ("unclean.leader.election.enable", "false"),
        ],
    },
    Internal {
        name: "__share_group_state",
        partitions: "share.coordinator.state.topic.num.partitions",
        replication: "share.coordinator.state.topic.replication.factor",
        from_broker: &[
            (
                "segment.bytes",
                "share.coordinator.state.topic.segment.bytes",
            ),
            (
                "min.insync.replicas",
                "share.coordinator.state.topic.min.isr",
            ),
        ],
        fixed: &[
            ("cleanup.policy", "delete"),
            ("compression.type", "producer"),
            ("retention.ms", "-1"),
        ],
    },
];

/// The topic `name`, as this broker makes it where nobody says how.
pub(crate) fn new_topic<I: Io>(metadata: &Metadata<I>, name: &Str) -> CreatableTopic {
    let number = |key: &str| match metadata.broker_value(key) {
        Some(Value::Integer(number)) => Some(number),
        _ => None,
    };
    let config = |name: &'static str, value: String| CreatableTopicConfig {
        name: Str::from_static(name),
        value: Some(Str::from(value)),
        ..Default::default()
    };
    let mut topic = CreatableTopic {
        name: name.clone(),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    };
    if let Some(internal) = INTERNAL.iter().find(|internal| *name == internal.name) {
        let partitions = number(internal.partitions).and_then(|n| i32::try_from(n).ok());
        topic.num_partitions = partitions.unwrap_or(-1);
        let factor = number(internal.replication).and_then(|n| i16::try_from(n).ok());
        topic.replication_factor = factor.unwrap_or(-1);
        let fixed = internal
            .fixed
            .iter()
            .map(|(key, value)| config(key, (*value).to_owned()));
        topic.configs.extend(fixed);
        for (key, from) in internal.from_broker {
            let value = number(from).map(|value| at_least(key, value));
            topic
                .configs
                .extend(value.map(|value| config(key, value.to_string())));
        }
    }
    topic
}

/// A broker key may be lower than the topic key may be: its topic could not be made, and no group be
/// served, so it gets the least.
fn at_least(key: &str, value: i64) -> i64 {
    match topic_key(key).map(|key| key.valid) {
        Some(Valid::AtLeast(least)) => value.max(least),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_key_below_what_the_topic_key_may_be_gives_the_least() {
        let least = at_least("segment.bytes", 1);
        assert!(least > 1, "segment.bytes has a lower bound");
        assert_eq!(at_least("segment.bytes", least), least);
        assert_eq!(at_least("segment.bytes", least + 7), least + 7);
        assert_eq!(at_least("no.such.key", 1), 1);
    }
}
