//! DescribeConfigs (32): every key of a resource, its value in force, and where that comes from
//! (KIP-226).
//!
//! A key's synonyms are all places that could give its value, the strongest first. Kafka cuts those
//! that stand before the key's own name, and so does this; the first that is left is the source.

use std::{collections::BTreeSet, sync::Arc};

use ottla_core::{
    config::{
        BROKER_KEYS, Entries, Key, Kind, Layers, Source, TOPIC_KEYS, Update, broker_key, synonyms,
    },
    controller::{CLIENT_METRICS_KEYS, GROUP_KEYS, SmallKey, validate_topic_name},
    metadata::{ConfigResource, MetadataImage, ResourceType},
};
use ottla_io::Io;
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
};

use crate::{broker::Broker, context::RequestContext, loggers::Loggers};

/// `ConfigSource` of a logger's level.
const LOGGER_SOURCE: i8 = 6;

/// `ConfigSource` of client metrics subscriptions and of groups.
const CLIENT_METRICS_SOURCE: i8 = 7;
const GROUP_SOURCE: i8 = 8;

/// Families of broker keys that say one thing in several units, the strongest first.
static FAMILIES: [&[&str]; 4] = [
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    &[
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    ],
];

type Refusal = (ErrorCode, Option<String>);
type Described = Result<Vec<DescribeConfigsResourceResult>, Refusal>;

/// Answers a request.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let node_id = broker.metadata.node_id();
    let results = broker.metadata.with_broker_layers(|image, layers| {
        let describer = Describer {
            image,
            layers,
            loggers: &broker.settings.loggers,
            node_id,
            with_synonyms: request.include_synonyms,
            with_docs: request.include_documentation,
        };
        // The same question is answered once, however often it is asked.
        let mut seen = BTreeSet::new();
        request
            .resources
            .iter()
            .filter(|asked| {
                let keys = &asked.configuration_keys;
                seen.insert((asked.resource_type, &asked.resource_name, keys))
            })
            .map(|resource| describer.resource(resource))
            .collect()
    });
    DescribeConfigsResponse {
        results,
        ..Default::default()
    }
}

struct Describer<'a> {
    image: &'a MetadataImage,
    layers: &'a Layers<'a>,
    loggers: &'a Loggers,
    node_id: i32,
    with_synonyms: bool,
    with_docs: bool,
}

impl Describer<'_> {
    fn resource(&self, resource: &DescribeConfigsResource) -> DescribeConfigsResult {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        let name = resource.resource_name.as_str();
        let described = match ResourceType::from_number(resource.resource_type) {
            Some(ResourceType::Topic) => self.topic(name),
            Some(ResourceType::Broker) if name.is_empty() => Ok(self.broker_default()),
            Some(ResourceType::Broker) => self.broker(name),
            Some(ResourceType::BrokerLogger) => self.broker_logger(name),
            Some(ResourceType::Group) => {
                self.small(ResourceType::Group, name, "Group name must not be empty")
            }
            Some(ResourceType::ClientMetrics) => {
                let words = "Client metrics subscription name must not be empty";
                self.small(ResourceType::ClientMetrics, name, words)
            }
            None => refuse(format!(
                "Unexpected resource type {} for resource {name}",
                resource.resource_type
            )),
        };
        match described {
            Ok(mut configs) => {
                let wanted = resource.configuration_keys.iter().flatten();
                let wanted: BTreeSet<&Str> = wanted.collect();
                configs.retain(|config| wanted.is_empty() || wanted.contains(&config.name));
                result.configs = configs;
            }
            Err((code, words)) => {
                result.error_code = code as i16;
                result.error_message = words.map(Str::from);
            }
        }
        result
    }

    fn topic(&self, name: &str) -> Described {
        if let Err(why) = validate_topic_name(name) {
            return Err((ErrorCode::InvalidTopicException, Some(why.to_string())));
        }
        if self.image.topic(name).is_none() {
            return Err((ErrorCode::UnknownTopicOrPartition, None));
        }
        let overrides = self.image.topic_configs(name);
        let shown = TOPIC_KEYS
            .iter()
            .filter(|key| key.update != Update::Internal);
        Ok(shown.map(|key| self.topic_key(key, overrides)).collect())
    }

    fn topic_key(&self, key: &'static Key, overrides: &Entries) -> DescribeConfigsResourceResult {
        let found = self.layers.topic(key.name, overrides);
        let value = found
            .into_iter()
            .next()
            .and_then(|found| found.value)
            .map(|v| v.to_string());
        let mut all = Vec::new();
        if let Some(value) = overrides.get(key.name) {
            all.push((key.name.to_owned(), Some(value.clone()), Source::Topic));
        }
        let names: Vec<&str> = synonyms(key.name).iter().map(|(name, _)| *name).collect();
        if let Some(first) = names.first() {
            all.extend(self.broker_places(&names, first));
        }
        self.entry(key.name, Some(key), value, all, false)
    }

    fn broker(&self, name: &str) -> Described {
        match name.parse::<i32>() {
            Err(_) => return refuse(format!("Broker id must be an integer, but it is: {name}")),
            Ok(id) if id != self.node_id => {
                return refuse(format!(
                    "Unexpected broker id, expected {} or empty string, but received {name}",
                    self.node_id
                ));
            }
            Ok(_) => {}
        }
        let own = [self.layers.broker, self.layers.cluster, self.layers.file];
        let mut names: Vec<&str> = BROKER_KEYS
            .iter()
            .filter(|key| key.update != Update::Internal)
            .map(|key| key.name)
            .chain(
                own.iter()
                    .flat_map(|entries| entries.keys().map(String::as_str)),
            )
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names
            .into_iter()
            .map(|name| self.broker_entry(name))
            .collect())
    }

    fn broker_entry(&self, name: &str) -> DescribeConfigsResourceResult {
        let key = broker_key(name);
        let own = [name];
        let family = FAMILIES.iter().find(|family| family.contains(&name));
        let names = family.map_or(&own[..], |family| *family);
        let all = self.broker_places(names, name);
        let set = [self.layers.broker, self.layers.cluster, self.layers.file];
        let set = set.iter().find_map(|entries| entries.get(name)).cloned();
        let value = match name {
            // The two names of one thing, whatever the file says of either.
            "node.id" | "broker.id" => Some(self.node_id.to_string()),
            _ => set.or_else(|| key.and_then(|key| key.default).map(ToOwned::to_owned)),
        };
        let read_only =
            !key.is_some_and(|key| matches!(key.update, Update::Broker | Update::Cluster));
        self.entry(name, key, value, all, read_only)
    }

    fn broker_default(&self) -> Vec<DescribeConfigsResourceResult> {
        let set = self.layers.cluster.iter();
        set.map(|(name, value)| {
            let key = broker_key(name);
            let read_only =
                !key.is_some_and(|key| matches!(key.update, Update::Broker | Update::Cluster));
            let places = vec![(
                name.clone(),
                Some(value.clone()),
                Source::DynamicDefaultBroker,
            )];
            self.entry(name, key, Some(value.clone()), places, read_only)
        })
        .collect()
    }

    fn broker_logger(&self, name: &str) -> Described {
        match name.parse::<i32>() {
            _ if name.is_empty() => refuse("Broker id must not be empty".into()),
            Ok(id) if id == self.node_id => {
                let levels = self.loggers.levels().into_iter();
                Ok(levels.map(|(name, level)| logger(&name, level)).collect())
            }
            Ok(_) => refuse(format!(
                "Unexpected broker id, expected {} but received {name}",
                self.node_id
            )),
            Err(_) => refuse(format!("Broker id must be an integer, but it is: {name}")),
        }
    }

    /// A group or a client metrics subscription.
    fn small(&self, kind: ResourceType, name: &str, if_empty: &str) -> Described {
        if name.is_empty() {
            return refuse(if_empty.to_owned());
        }
        let (keys, own) = match kind {
            ResourceType::Group => (GROUP_KEYS, GROUP_SOURCE),
            _ => (CLIENT_METRICS_KEYS, CLIENT_METRICS_SOURCE),
        };
        let set = self.image.configs(&ConfigResource {
            kind,
            name: name.into(),
        });
        Ok(keys
            .iter()
            .map(|key| self.small_key(key, set, own))
            .collect())
    }

    fn small_key(&self, key: &SmallKey, set: &Entries, own: i8) -> DescribeConfigsResourceResult {
        let given = set.get(key.name);
        let mut places: Vec<(String, Option<String>, i8)> = Vec::new();
        places.extend(given.map(|value| (key.name.to_owned(), Some(value.clone()), own)));
        if own == GROUP_SOURCE && key.synonym.is_empty() {
            let default = Some(key.default.to_owned());
            places.push((key.name.to_owned(), default, Source::Default as i8));
        } else if own == GROUP_SOURCE {
            let broker = self.broker_places(&[key.synonym], key.synonym);
            places.extend(
                broker
                    .into_iter()
                    .map(|(n, v, source)| (n, v, source as i8)),
            );
        }
        let in_force = given.map(String::as_str);
        let value = in_force.or(places.first().and_then(|(_, value, _)| value.as_deref()));
        DescribeConfigsResourceResult {
            name: Str::from_static(key.name),
            value: Some(value.unwrap_or(key.default).into()),
            config_source: places
                .first()
                .map_or(Source::Default as i8, |place| place.2),
            synonyms: self.synonyms(places),
            config_type: type_number(Some(key.kind)),
            documentation: self.with_docs.then(|| Str::from_static(key.doc)),
            ..Default::default()
        }
    }

    /// Every place that gives one of `names` a value, from `first`'s on.
    fn broker_places(&self, names: &[&str], first: &str) -> Vec<(String, Option<String>, Source)> {
        let mut all = Vec::new();
        let layers = [
            (self.layers.broker, Source::DynamicBroker),
            (self.layers.cluster, Source::DynamicDefaultBroker),
            (self.layers.file, Source::StaticBroker),
        ];
        for (entries, source) in layers {
            for name in names {
                if let Some(value) = entries.get(*name) {
                    all.push(((*name).to_owned(), Some(value.clone()), source));
                }
            }
        }
        for name in names {
            if let Some(default) = broker_key(name).and_then(|key| key.default) {
                all.push((
                    (*name).to_owned(),
                    Some(default.to_owned()),
                    Source::Default,
                ));
            }
        }
        all.into_iter()
            .skip_while(|(name, ..)| name != first)
            .collect()
    }

    fn entry(
        &self,
        name: &str,
        key: Option<&Key>,
        value: Option<String>,
        places: Vec<(String, Option<String>, Source)>,
        read_only: bool,
    ) -> DescribeConfigsResourceResult {
        // A key that nobody knows may be a secret.
        let is_sensitive = key.is_none_or(Key::is_sensitive);
        let places: Vec<_> = places
            .into_iter()
            .map(|(name, value, source)| (name, value.filter(|_| !is_sensitive), source as i8))
            .collect();
        let docs = key.map(|key| key.doc).filter(|_| self.with_docs);
        DescribeConfigsResourceResult {
            name: name.into(),
            value: value.filter(|_| !is_sensitive).map(Str::from),
            read_only,
            config_source: places
                .first()
                .map_or(Source::Default as i8, |place| place.2),
            is_sensitive,
            synonyms: self.synonyms(places),
            config_type: type_number(key.map(|key| key.kind)),
            documentation: docs.map(Str::from),
            ..Default::default()
        }
    }

    fn synonyms(&self, places: Vec<(String, Option<String>, i8)>) -> Vec<DescribeConfigsSynonym> {
        if !self.with_synonyms {
            return Vec::new();
        }
        let synonym =
            |(name, value, source): (String, Option<String>, i8)| DescribeConfigsSynonym {
                name: name.into(),
                value: value.map(Str::from),
                source,
                ..Default::default()
            };
        places.into_iter().map(synonym).collect()
    }
}

/// Kafka says nothing more of a logger: neither a type nor synonyms.
fn logger(name: &str, level: &'static str) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: name.into(),
        value: Some(Str::from_static(level)),
        config_source: LOGGER_SOURCE,
        ..Default::default()
    }
}

fn refuse(words: String) -> Described {
    Err((ErrorCode::InvalidRequest, Some(words)))
}

/// `ConfigType`, as Kafka numbers it.
fn type_number(kind: Option<Kind>) -> i8 {
    match kind {
        None => 0,
        Some(Kind::Boolean) => 1,
        Some(Kind::String) => 2,
        Some(Kind::Int) => 3,
        Some(Kind::Short) => 4,
        Some(Kind::Long) => 5,
        Some(Kind::Double) => 6,
        Some(Kind::List) => 7,
        Some(Kind::Class) => 8,
        Some(Kind::Password) => 9,
    }
}
