//! Which value of a key is in force, and where it comes from (KIP-226's order).

use alloc::{borrow::Cow, string::String, vec::Vec};

use super::{Entries, Value, broker_key, scaled, synonyms, topic_key};

/// Where a value was found. The numbers are DescribeConfigs' `ConfigSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Set for the topic.
    Topic = 1,
    /// Set for this broker while it runs.
    DynamicBroker = 2,
    /// Set for all brokers while they run.
    DynamicDefaultBroker = 3,
    /// In the properties file.
    StaticBroker = 4,
    /// Nowhere: the default.
    Default = 5,
}

/// One place where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The key under which it stands there.
    pub name: &'a str,
    /// The value, in the unit of the key that was asked for; `None` is "no default".
    pub value: Option<Cow<'a, str>>,
    /// The place.
    pub source: Source,
}

/// The places that may set a broker key.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// Set for this broker while it runs.
    pub broker: &'a Entries,
    /// Set for all brokers while they run.
    pub cluster: &'a Entries,
    /// The properties file and its overrides.
    pub file: &'a Entries,
}

impl<'a> Layers<'a> {
    /// Every place that gives the broker key `name` a value, the one in force first.
    #[must_use]
    pub fn broker(&self, name: &'a str) -> Vec<Found<'a>> {
        let mut found = Vec::new();
        self.push_broker(name, 1, &mut found);
        self.push_default(name, 1, &mut found);
        found
    }

    /// Every place that gives the topic key `name` a value, the one in force first. `overrides` is
    /// what the topic itself sets.
    #[must_use]
    pub fn topic(&self, name: &'a str, overrides: &'a Entries) -> Vec<Found<'a>> {
        let mut found = Vec::new();
        if let Some(value) = overrides.get(name) {
            found.push(Found {
                name,
                value: Some(value.as_str().into()),
                source: Source::Topic,
            });
        }
        for (synonym, factor) in synonyms(name) {
            self.push_broker(synonym, *factor, &mut found);
        }
        // The weakest synonym that has a default gives it (log.retention.hours for retention.ms).
        let default = synonyms(name)
            .iter()
            .rev()
            .find(|(synonym, _)| broker_key(synonym).is_some_and(|key| key.default.is_some()));
        match default {
            Some((synonym, factor)) => self.push_default(synonym, *factor, &mut found),
            None => {
                let value = topic_key(name)
                    .and_then(|key| key.default)
                    .map(Cow::Borrowed);
                found.push(Found {
                    name,
                    value,
                    source: Source::Default,
                });
            }
        }
        found
    }

    /// The topic key's value in force, parsed. `None` for a key that does not exist or has no
    /// value; a text that is no value of the key (only a properties file written by hand can hold
    /// one, and the start refuses it) counts as not there.
    #[must_use]
    pub fn topic_value(&self, name: &'a str, overrides: &'a Entries) -> Option<Value> {
        let key = topic_key(name)?;
        self.topic(name, overrides)
            .into_iter()
            .find_map(|found| key.parse(&found.value?).ok())
    }

    /// The broker key's value in force, parsed; as [`Layers::topic_value`].
    #[must_use]
    pub fn broker_value(&self, name: &'a str) -> Option<Value> {
        let key = broker_key(name)?;
        self.broker(name)
            .into_iter()
            .find_map(|found| key.parse(&found.value?).ok())
    }

    fn push_broker(&self, name: &'a str, factor: i64, found: &mut Vec<Found<'a>>) {
        let places = [
            (self.broker, Source::DynamicBroker),
            (self.cluster, Source::DynamicDefaultBroker),
            (self.file, Source::StaticBroker),
        ];
        for (entries, source) in places {
            if let Some(value) = entries.get::<String>(&name.into()) {
                found.push(Found {
                    name,
                    value: Some(scaled(value, factor)),
                    source,
                });
            }
        }
    }

    fn push_default(&self, name: &'a str, factor: i64, found: &mut Vec<Found<'a>>) {
        let value = broker_key(name).and_then(|key| key.default);
        let value = value.map(|value| scaled(value, factor));
        found.push(Found {
            name,
            value,
            source: Source::Default,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Entries {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn the_topics_own_value_is_stronger_than_every_broker_layer() {
        let (broker, cluster) = (entries(&[("log.retention.ms", "2")]), entries(&[]));
        let file = entries(&[("log.retention.hours", "1")]);
        let layers = Layers {
            broker: &broker,
            cluster: &cluster,
            file: &file,
        };
        let overrides = entries(&[("retention.ms", "1")]);
        let found: Vec<_> = layers
            .topic("retention.ms", &overrides)
            .into_iter()
            .collect();
        let sources: Vec<_> = found.iter().map(|found| found.source).collect();
        assert_eq!(
            sources,
            [
                Source::Topic,
                Source::DynamicBroker,
                Source::StaticBroker,
                Source::Default
            ]
        );
        assert_eq!(found[2].value.as_deref(), Some("3600000"));
        assert_eq!(found[3].value.as_deref(), Some("604800000"));
        assert_eq!(
            layers.topic_value("retention.ms", &overrides),
            Some(Value::Integer(1))
        );
    }

    #[test]
    fn no_limit_in_hours_is_no_limit_in_milliseconds() {
        let (none, file) = (entries(&[]), entries(&[("log.retention.hours", "-1")]));
        let layers = Layers {
            broker: &none,
            cluster: &none,
            file: &file,
        };
        assert_eq!(
            layers.topic_value("retention.ms", &none),
            Some(Value::Integer(-1))
        );
    }

    #[test]
    fn every_topic_key_but_the_internal_one_has_a_value_in_force() {
        let none = entries(&[]);
        let layers = Layers {
            broker: &none,
            cluster: &none,
            file: &none,
        };
        for key in super::super::TOPIC_KEYS {
            let value = layers.topic_value(key.name, &none);
            assert_eq!(
                value.is_some(),
                key.name != "internal.segment.bytes",
                "{}",
                key.name
            );
        }
    }
}
