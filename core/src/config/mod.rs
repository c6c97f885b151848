//! Configuration: Kafka's keys, what their values may be, and which value is in force.
//!
//! The tables hold facts (name, type, default, bounds, who may change it when); [`Key::parse`] is
//! the one place where text becomes a [`Value`] or a refusal that names key, value and reason.
//! A value comes from one of five places, the strongest first: the topic, the broker's dynamic
//! configuration, the cluster-wide dynamic configuration, the properties file, the default
//! (KIP-226). [`Layers`] finds it and says where it was found, as DescribeConfigs reports.
//!
//! [`properties`] reads the file format; [`listeners`] the listener syntax.

use alloc::{
    borrow::Cow,
    collections::BTreeMap,
    string::{String as Text, ToString},
    vec::Vec,
};

mod broker_keys;
mod layers;
pub mod listeners;
pub mod properties;
mod topic_keys;

pub use broker_keys::BROKER_KEYS;
pub use layers::{Found, Layers, Source};
pub use topic_keys::{TOPIC_KEYS, TOPIC_SYNONYMS};

/// Configuration as it is written: key and value, both text, in the order of the keys.
pub type Entries = BTreeMap<Text, Text>;

/// A value's type, with Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Any text.
    String,
    /// A 32-bit number.
    Int,
    /// A 16-bit number.
    Short,
    /// A 64-bit number.
    Long,
    /// A floating-point number.
    Double,
    /// Words separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// Text that is never shown.
    Password,
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// Nothing more.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number from the first to the second, both included.
    Between(i64, i64),
    /// A fraction from 0 to 1.
    Fraction,
    /// -1, or 1 to 9.
    GzipLevel,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of these words.
    EachOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
}

/// Who may change a key while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nobody: it is read when the broker starts.
    ReadOnly,
    /// For one broker.
    Broker,
    /// For one broker, or as the default of all.
    Cluster,
    /// For one topic.
    Topic,
    /// Kafka's own tests; accepted, never shown.
    Internal,
}

/// One configuration key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default, as text; `None` where there is none.
    pub default: Option<&'static str>,
    /// What its values must satisfy.
    pub valid: Valid,
    /// Who may change it while the broker runs.
    pub update: Update,
    /// What it sets, in a sentence or two, as DescribeConfigs shows it.
    pub doc: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    valid: Valid,
    update: Update,
) -> Key {
    Key {
        name,
        kind,
        default,
        valid,
        update,
        doc: "",
    }
}

/// A value, parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::Boolean`].
    Boolean(bool),
    /// Of the three integer kinds.
    Integer(i64),
    /// Of [`Kind::Double`].
    Double(f64),
    /// Of [`Kind::String`], [`Kind::Class`] and [`Kind::Password`].
    Text(Text),
    /// Of [`Kind::List`].
    List(Vec<Text>),
}

/// A value that its key does not take.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("Invalid value {value} for configuration {key}: {reason}")]
pub struct InvalidValue {
    /// The key.
    pub key: Text,
    /// What was given; `[hidden]` for a password.
    pub value: Text,
    /// Why not.
    pub reason: Reason,
}

/// Why a value is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It does not parse as the key's type.
    #[error("Not a {}", kind_in_words(*.0))]
    NotA(Kind),
    /// It is below the bound.
    #[error("Value must be at least {0}")]
    Below(i64),
    /// It is outside the bounds.
    #[error("Value must be from {0} to {1}")]
    Outside(i64, i64),
    /// It is not a fraction.
    #[error("Value must be from 0 to 1")]
    NotAFraction,
    /// It is not one of the words.
    #[error("String must be one of: {}", .0.join(", "))]
    NotOneOf(&'static [&'static str]),
    /// It is no list of throttled replicas.
    #[error("Must be '*' or a list of partition:broker pairs")]
    NotThrottledReplicas,
    /// The key needs a value.
    #[error("Must be set")]
    Missing,
    /// A list of names without a name, or with an empty one.
    #[error("Must be a list of names, none of them empty")]
    EmptyName,
    /// A name is there twice.
    #[error("Must be a list of different names, {0} is there twice")]
    Twice(Text),
    /// It is no list of bounds for addresses.
    #[error("Must be a list of ADDRESS:COUNT pairs")]
    NotPerIp,
    /// A listener that does not parse.
    #[error("{0}")]
    Listener(listeners::ListenerError),
}

fn kind_in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean: expected true or false",
        Kind::Int => "32-bit number",
        Kind::Short => "16-bit number",
        Kind::Long => "64-bit number",
        Kind::Double => "number",
        Kind::String | Kind::List | Kind::Class | Kind::Password => "text",
    }
}

impl Key {
    const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// Whether its values are secrets.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Reads `text` as a value of this key.
    pub fn parse(&self, text: &str) -> Result<Value, InvalidValue> {
        let text = if self.kind == Kind::Password {
            text
        } else {
            text.trim()
        };
        self.parse_kind(text)
            .and_then(|value| self.check(value))
            .map_err(|reason| InvalidValue {
                key: self.name.to_string(),
                value: if self.is_sensitive() {
                    "[hidden]".to_string()
                } else {
                    text.to_string()
                },
                reason,
            })
    }

    fn parse_kind(&self, text: &str) -> Result<Value, Reason> {
        let integer = |min: i64, max: i64| match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Integer(number)),
            _ => Err(Reason::NotA(self.kind)),
        };
        match self.kind {
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Kind::Boolean => Err(Reason::NotA(Kind::Boolean)),
            Kind::Short => integer(i16::MIN.into(), i16::MAX.into()),
            Kind::Int => integer(i32::MIN.into(), i32::MAX.into()),
            Kind::Long => integer(i64::MIN, i64::MAX),
            Kind::Double => match text.parse::<f64>() {
                Ok(number) if !number.is_nan() => Ok(Value::Double(number)),
                _ => Err(Reason::NotA(Kind::Double)),
            },
            Kind::String | Kind::Class | Kind::Password => Ok(Value::Text(text.to_string())),
            Kind::List if text.is_empty() => Ok(Value::List(Vec::new())),
            Kind::List => Ok(Value::List(
                text.split(',')
                    .map(|word| word.trim().to_string())
                    .collect(),
            )),
        }
    }

    fn check(&self, value: Value) -> Result<Value, Reason> {
        match (self.valid, &value) {
            (Valid::AtLeast(min), Value::Integer(number)) if *number < min => {
                Err(Reason::Below(min))
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "the bounds of doubles are small"
            )]
            (Valid::AtLeast(min), Value::Double(number)) if *number < min as f64 => {
                Err(Reason::Below(min))
            }
            (Valid::Between(min, max), Value::Integer(number)) if !(min..=max).contains(number) => {
                Err(Reason::Outside(min, max))
            }
            (Valid::Fraction, Value::Double(number)) if !(0.0..=1.0).contains(number) => {
                Err(Reason::NotAFraction)
            }
            (Valid::GzipLevel, Value::Integer(number))
                if *number != -1 && !(1..=9).contains(number) =>
            {
                Err(Reason::Outside(1, 9))
            }
            (Valid::OneOf(words), Value::Text(text))
                if !words.iter().any(|word| word.eq_ignore_ascii_case(text)) =>
            {
                Err(Reason::NotOneOf(words))
            }
            (Valid::EachOf(words), Value::List(list))
                if !list.iter().all(|text| words.contains(&text.as_str())) =>
            {
                Err(Reason::NotOneOf(words))
            }
            (Valid::ThrottledReplicas, Value::List(list)) if !throttled_replicas(list) => {
                Err(Reason::NotThrottledReplicas)
            }
            _ => Ok(value),
        }
    }
}

fn throttled_replicas(list: &[Text]) -> bool {
    let pair = |text: &Text| {
        text.split_once(':').is_some_and(|(partition, broker)| {
            partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
        })
    };
    list.is_empty() || (list.len() == 1 && list[0] == "*") || list.iter().all(pair)
}

fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.binary_search_by(|key| key.name.cmp(name))
        .ok()
        .map(|at| &keys[at])
}

/// The broker key of that name. A listener's own key (`listener.name.NAME.KEY`) is `KEY`'s.
#[must_use]
pub fn broker_key(name: &str) -> Option<&'static Key> {
    find(BROKER_KEYS, name).or_else(|| {
        let rest = name.strip_prefix("listener.name.")?;
        find(BROKER_KEYS, rest.split_once('.')?.1)
    })
}

/// The topic key of that name.
#[must_use]
pub fn topic_key(name: &str) -> Option<&'static Key> {
    find(TOPIC_KEYS, name)
}

/// The broker keys that stand for a topic key, the strongest first, with their factors.
#[must_use]
pub fn synonyms(topic_key: &str) -> &'static [(&'static str, i64)] {
    TOPIC_SYNONYMS
        .binary_search_by(|(name, _)| name.cmp(&topic_key))
        .map_or(&[], |at| TOPIC_SYNONYMS[at].1)
}

/// A value scaled from a synonym's unit.
fn scaled(value: &str, factor: i64) -> Cow<'_, str> {
    match (factor, value.trim().parse::<i64>()) {
        (1, _) | (_, Err(_)) => Cow::Borrowed(value),
        // Negative means "no limit" in every unit.
        (_, Ok(number)) if number < 0 => Cow::Borrowed(value),
        (factor, Ok(number)) => Cow::Owned(number.saturating_mul(factor).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{CLIENT_METRICS_KEYS, GROUP_KEYS};

    #[test]
    fn the_tables_are_sorted_so_that_look_ups_find_every_key() {
        for keys in [BROKER_KEYS, TOPIC_KEYS] {
            assert!(keys.windows(2).all(|pair| pair[0].name < pair[1].name));
        }
        assert!(TOPIC_SYNONYMS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn every_default_is_a_value_that_its_key_takes() {
        for key in BROKER_KEYS.iter().chain(TOPIC_KEYS) {
            if let Some(default) = key.default {
                key.parse(default).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    #[test]
    fn every_key_that_is_shown_says_what_it_sets() {
        let keys = BROKER_KEYS.iter().chain(TOPIC_KEYS);
        let shown = keys.filter(|key| key.update != Update::Internal);
        let small = GROUP_KEYS.iter().chain(CLIENT_METRICS_KEYS);
        let docs = shown
            .map(|key| (key.name, key.doc))
            .chain(small.map(|key| (key.name, key.doc)));
        for (name, doc) in docs {
            assert!(doc.len() > 1 && doc.ends_with('.'), "{name}: {doc:?}");
        }
    }

    #[test]
    fn every_synonym_is_a_broker_key() {
        for (topic, brokers) in TOPIC_SYNONYMS {
            assert!(topic_key(topic).is_some(), "{topic}");
            assert!(
                brokers.iter().all(|(name, _)| broker_key(name).is_some()),
                "{topic}"
            );
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_key_value_and_reason() {
        let refuse = |key: &str, value: &str| topic_key(key).unwrap().parse(value).unwrap_err();
        assert_eq!(
            refuse("retention.ms", "soon").to_string(),
            "Invalid value soon for configuration retention.ms: Not a 64-bit number"
        );
        assert_eq!(
            refuse("segment.bytes", "1").reason,
            Reason::Below(1_048_576)
        );
        assert_eq!(
            refuse("min.cleanable.dirty.ratio", "1.5").reason,
            Reason::NotAFraction
        );
        assert!(matches!(
            refuse("cleanup.policy", "shred").reason,
            Reason::NotOneOf(_)
        ));
        assert_eq!(
            refuse("leader.replication.throttled.replicas", "a:b").reason,
            Reason::NotThrottledReplicas
        );
    }

    #[test]
    fn a_password_is_not_shown_when_it_is_refused() {
        let key = Key {
            valid: Valid::OneOf(&["x"]),
            ..*broker_key("ssl.key.password").unwrap()
        };
        assert!(
            !key.parse("secret")
                .unwrap_err()
                .to_string()
                .contains("secret")
        );
    }

    #[test]
    fn a_listeners_own_key_is_known_by_its_last_part() {
        assert!(broker_key("listener.name.internal.ssl.keystore.location").is_some());
        assert!(broker_key("listener.name.internal.nothing").is_none());
    }
}
