//! The broker's configuration, as it is when the broker starts.
//!
//! The text comes from a `server.properties` file written for Apache Kafka and from `--override`s.
//! [`BrokerConfig::from_entries`] checks every value against Kafka's table of keys
//! ([`ottla_core::config`]), refuses a wrong one with key, value and reason, and names the keys it
//! does not know. What the rest of the server needs often has a typed field; anything else is read
//! through [`BrokerConfig::get_i64`] and its like, which look at the dynamic layers' static base.
//!
//! A file that Kafka would refuse for lack of `process.roles`, `node.id` or a controller quorum is
//! taken for a single node: both roles, node 1, a quorum of itself.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ottla_core::config::{
    Entries, InvalidValue, Layers, Reason, Value, broker_key,
    listeners::{self, Listener},
    properties::{self, PropertiesError},
};

/// What a process of this configuration is in the cluster (KIP-500).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It holds partitions and serves clients.
    pub broker: bool,
    /// It takes part in the metadata quorum.
    pub controller: bool,
}

/// The configuration of one node.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// All that was given, text as it stood, for DescribeConfigs and for the keys without a field.
    pub entries: Entries,
    /// Keys that Kafka does not know either; the caller warns of them once.
    pub unknown_keys: Vec<String>,
    /// `node.id`, or the old `broker.id`.
    pub node_id: i32,
    /// `process.roles`.
    pub roles: Roles,
    /// The cluster to format an empty directory for; a random one if not said (`ottla.cluster.id`).
    pub cluster_id: Option<String>,
    /// Where clients and brokers connect: `listeners` without the controller's.
    pub listeners: Vec<Listener>,
    /// Where other controllers and brokers connect to the controller.
    pub controller_listeners: Vec<Listener>,
    /// What is told to clients: `advertised.listeners`, or the listeners themselves.
    pub advertised_listeners: Vec<Listener>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `log.dirs`, or `log.dir`.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, or the first of the log directories.
    pub metadata_log_dir: PathBuf,
    /// `ottla.metrics.listeners`: where `/metrics` is served; nowhere if not said.
    pub metrics_address: Option<String>,
}

/// A configuration that is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is no properties file.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// A value is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    /// An `--override` is not `key=value`.
    #[error("expected key=value, got {got}")]
    WrongOverride {
        /// What was there.
        got: String,
    },
    /// `controller.listener.names` names a listener that `listeners` does not have.
    #[error("controller.listener.names names {name}, which is not in listeners")]
    NoControllerListener {
        /// The listener's name.
        name: String,
    },
    /// No listener is left for clients.
    #[error("listeners has no listener for clients: all are in controller.listener.names")]
    NoListener,
    /// What is advertised cannot be connected to.
    #[error(
        "advertised.listeners cannot use the wildcard address of {name}: name a host that clients can reach"
    )]
    WildcardAdvertised {
        /// The listener's name.
        name: String,
    },
    /// `node.id` and `broker.id` differ.
    #[error("broker.id ({broker_id}) and node.id ({node_id}) must be the same, or only one be set")]
    TwoIds {
        /// `node.id`.
        node_id: i32,
        /// `broker.id`.
        broker_id: i32,
    },
    /// A feature that this build does not have yet.
    #[error("{key}={value} is not supported yet")]
    NotSupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
}

/// Keys of Ottla's own. They start with `ottla.`, so that Kafka's never collide with them.
const OWN_KEYS: [&str; 2] = ["ottla.cluster.id", "ottla.metrics.listeners"];

impl BrokerConfig {
    /// Reads a properties file and `key=value` overrides, the later ones stronger.
    pub fn from_properties(file: &[u8], overrides: &[String]) -> Result<Self, ConfigError> {
        let mut entries = properties::parse(file)?;
        for given in overrides {
            let (key, value) = given
                .split_once('=')
                .filter(|(key, _)| !key.trim().is_empty())
                .ok_or_else(|| ConfigError::WrongOverride { got: given.clone() })?;
            entries.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        Self::from_entries(entries)
    }

    /// The configuration of `cargo run --release`: one node on 127.0.0.1:9092 with its data in
    /// `./ottla-data`; `overrides` change it.
    pub fn single_node(overrides: &[String]) -> Result<Self, ConfigError> {
        let file = "listeners=PLAINTEXT://127.0.0.1:9092\nlog.dirs=./ottla-data\n\
                    offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
                    transaction.state.log.min.isr=1\n";
        Self::from_properties(file.as_bytes(), overrides)
    }

    /// Checks the entries and takes what has a field.
    pub fn from_entries(entries: Entries) -> Result<Self, ConfigError> {
        let mut unknown_keys = Vec::new();
        for (name, value) in &entries {
            match broker_key(name) {
                Some(key) => drop(key.parse(value)?),
                None if OWN_KEYS.contains(&name.as_str()) => {}
                None => unknown_keys.push(name.clone()),
            }
        }
        let text = Given { entries: &entries };
        let roles = roles(&text);
        let (listeners, controller_listeners) = split_listeners(&text, roles)?;
        let advertised_listeners = advertised(&text, &listeners)?;
        let log_dirs: Vec<PathBuf> = match text.list("log.dirs") {
            dirs if dirs.is_empty() => text.list("log.dir"),
            dirs => dirs,
        }
        .into_iter()
        .map(PathBuf::from)
        .collect();
        let metadata_log_dir = text.text("metadata.log.dir").map(PathBuf::from);
        Ok(Self {
            node_id: node_id(&text)?,
            roles,
            cluster_id: entries.get("ottla.cluster.id").cloned(),
            metrics_address: entries.get("ottla.metrics.listeners").cloned(),
            rack: text.text("broker.rack"),
            metadata_log_dir: metadata_log_dir.unwrap_or_else(|| log_dirs[0].clone()),
            log_dirs,
            listeners,
            controller_listeners,
            advertised_listeners,
            unknown_keys,
            entries,
        })
    }

    /// The value of a number key, from the file or its default. Panics on a key that is no number
    /// key with a default: that is a mistake in the caller.
    #[must_use]
    pub fn get_i64(&self, name: &str) -> i64 {
        Given {
            entries: &self.entries,
        }
        .integer(name)
        .unwrap_or_else(|| panic!("{name} is no number key with a default"))
    }

    /// As [`BrokerConfig::get_i64`], for sizes and counts; a negative value is 0.
    #[must_use]
    pub fn get_usize(&self, name: &str) -> usize {
        usize::try_from(self.get_i64(name)).unwrap_or(0)
    }

    /// As [`BrokerConfig::get_i64`], for keys in milliseconds; a negative value is 0.
    #[must_use]
    pub fn get_ms(&self, name: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.get_i64(name)).unwrap_or(0))
    }

    /// The value of a key that is true or false; false where there is none.
    #[must_use]
    pub fn get_bool(&self, name: &str) -> bool {
        matches!(
            Given {
                entries: &self.entries
            }
            .value(name),
            Some(Value::Boolean(true))
        )
    }

    /// The value of a text key; `None` where there is none.
    #[must_use]
    pub fn get_text(&self, name: &str) -> Option<String> {
        Given {
            entries: &self.entries,
        }
        .text(name)
    }

    /// The value of a list key; empty where there is none.
    #[must_use]
    pub fn get_list(&self, name: &str) -> Vec<String> {
        Given {
            entries: &self.entries,
        }
        .list(name)
    }
}

/// The entries with the keys' defaults behind them.
struct Given<'a> {
    entries: &'a Entries,
}

impl Given<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        let none = BTreeMap::new();
        Layers {
            broker: &none,
            cluster: &none,
            file: self.entries,
        }
        .broker_value(name)
    }

    fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Value::Integer(number)) => Some(number),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(list)) => list,
            // listener.security.protocol.map is a text at Kafka, though it holds a list.
            Some(Value::Text(text)) => text
                .split(',')
                .map(|word| word.trim().to_owned())
                .filter(|w| !w.is_empty())
                .collect(),
            _ => Vec::new(),
        }
    }

    fn refuse(&self, name: &str, reason: Reason) -> ConfigError {
        let value = self.entries.get(name).cloned().unwrap_or_default();
        ConfigError::Invalid(InvalidValue {
            key: name.to_owned(),
            value,
            reason,
        })
    }
}

fn roles(text: &Given<'_>) -> Roles {
    let roles = text.list("process.roles");
    let has = |role: &str| roles.is_empty() || roles.iter().any(|given| given == role);
    Roles {
        broker: has("broker"),
        controller: has("controller"),
    }
}

fn node_id(text: &Given<'_>) -> Result<i32, ConfigError> {
    let id = |name: &str| text.integer(name).and_then(|id| i32::try_from(id).ok());
    match (id("node.id"), id("broker.id").filter(|id| *id >= 0)) {
        (Some(node_id), Some(broker_id)) if node_id != broker_id => {
            Err(ConfigError::TwoIds { node_id, broker_id })
        }
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => Ok(1),
    }
}

fn split_listeners(
    text: &Given<'_>,
    roles: Roles,
) -> Result<(Vec<Listener>, Vec<Listener>), ConfigError> {
    let controllers = text.list("controller.listener.names");
    let mut protocols = text.list("listener.security.protocol.map");
    if !text.entries.contains_key("listener.security.protocol.map") {
        // As Kafka does: without a map of the user's own a controller listener is plaintext.
        protocols.extend(controllers.iter().map(|name| format!("{name}:PLAINTEXT")));
    }
    let all = listeners::parse(&text.list("listeners"), &protocols)
        .map_err(|error| text.refuse("listeners", Reason::Listener(error)))?;
    if roles.controller {
        for name in &controllers {
            if !all
                .iter()
                .any(|listener| listener.name.eq_ignore_ascii_case(name))
            {
                return Err(ConfigError::NoControllerListener { name: name.clone() });
            }
        }
    }
    let is_controller = |listener: &Listener| {
        controllers
            .iter()
            .any(|name| listener.name.eq_ignore_ascii_case(name))
    };
    let (controller, broker): (Vec<_>, Vec<_>) = all.into_iter().partition(is_controller);
    if roles.broker && broker.is_empty() {
        return Err(ConfigError::NoListener);
    }
    for listener in broker.iter().chain(&controller) {
        if listener.protocol != listeners::SecurityProtocol::Plaintext {
            return Err(ConfigError::NotSupported {
                key: format!("security protocol of listener {}", listener.name),
                value: listener.protocol.name().to_owned(),
            });
        }
    }
    Ok((broker, controller))
}

fn advertised(text: &Given<'_>, listeners: &[Listener]) -> Result<Vec<Listener>, ConfigError> {
    let given = text.list("advertised.listeners");
    let mut protocols = text.list("listener.security.protocol.map");
    protocols.extend(
        text.list("controller.listener.names")
            .iter()
            .map(|name| format!("{name}:PLAINTEXT")),
    );
    let mut advertised = if given.is_empty() {
        listeners.to_vec()
    } else {
        let parsed = listeners::parse(&given, &protocols)
            .map_err(|error| text.refuse("advertised.listeners", Reason::Listener(error)))?;
        // A controller's listener may stand there too; clients are not told of it.
        parsed
            .into_iter()
            .filter(|one| listeners.iter().any(|listener| listener.name == one.name))
            .collect()
    };
    for listener in &mut advertised {
        match listener.host.as_str() {
            "0.0.0.0" | "::" if !given.is_empty() => {
                return Err(ConfigError::WildcardAdvertised {
                    name: listener.name.clone(),
                });
            }
            // Bound to every address of the machine: its own clients can always use this one.
            "" | "0.0.0.0" | "::" => listener.host = "localhost".to_owned(),
            _ => {}
        }
    }
    Ok(advertised)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::from_properties(file.as_bytes(), &[])
    }

    #[test]
    fn without_a_file_one_node_listens_on_loopback() {
        let config = BrokerConfig::single_node(&[]).unwrap();
        assert_eq!(
            (config.node_id, config.roles.broker, config.roles.controller),
            (1, true, true)
        );
        assert_eq!(
            (config.listeners[0].host.as_str(), config.listeners[0].port),
            ("127.0.0.1", 9092)
        );
        assert_eq!(config.log_dirs, [PathBuf::from("./ottla-data")]);
        assert!(config.unknown_keys.is_empty());
    }

    #[test]
    fn a_file_written_for_kafka_is_taken_as_it_is() {
        let config = read(
            "process.roles=broker,controller\nnode.id=7\n\
             controller.quorum.bootstrap.servers=localhost:9093\n\
             listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
             inter.broker.listener.name=PLAINTEXT\n\
             advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n\
             num.network.threads=3\nnum.io.threads=8\nlog.dirs=/tmp/a,/tmp/b\n\
             share.coordinator.state.topic.replication.factor=1\nlog.retention.hours=168\n",
        )
        .unwrap();
        assert_eq!(config.node_id, 7);
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(config.controller_listeners[0].port, 9093);
        assert_eq!(config.advertised_listeners[0].host, "localhost");
        assert_eq!(config.metadata_log_dir, PathBuf::from("/tmp/a"));
        assert!(config.unknown_keys.is_empty());
    }

    #[test]
    fn overrides_are_stronger_than_the_file() {
        let overrides = ["node.id=3".to_owned(), " num.partitions = 4 ".to_owned()];
        let config = BrokerConfig::from_properties(b"node.id=2", &overrides).unwrap();
        assert_eq!((config.node_id, config.get_i64("num.partitions")), (3, 4));
        let wrong = BrokerConfig::from_properties(b"", &["num.partitions".to_owned()]);
        assert!(matches!(wrong, Err(ConfigError::WrongOverride { .. })));
    }

    #[test]
    fn a_wrong_value_is_refused_with_key_value_and_reason() {
        let error = read("num.partitions=0").unwrap_err().to_string();
        assert_eq!(
            error,
            "Invalid value 0 for configuration num.partitions: Value must be at least 1"
        );
    }

    #[test]
    fn keys_that_nobody_knows_are_named_not_refused() {
        assert_eq!(
            read("zookeeper.connect=x\nfoo=1").unwrap().unknown_keys,
            ["foo", "zookeeper.connect"]
        );
    }

    #[test]
    fn a_listener_that_is_encrypted_is_refused_as_not_supported_yet() {
        assert!(matches!(
            read("listeners=SSL://:9092"),
            Err(ConfigError::NotSupported { .. })
        ));
    }

    #[test]
    fn a_wildcard_may_be_bound_but_not_advertised() {
        assert_eq!(
            read("listeners=PLAINTEXT://:9092")
                .unwrap()
                .advertised_listeners[0]
                .host,
            "localhost"
        );
        let error = read("advertised.listeners=PLAINTEXT://0.0.0.0:9092").unwrap_err();
        assert!(matches!(error, ConfigError::WildcardAdvertised { .. }));
    }

    #[test]
    fn node_id_and_broker_id_must_agree() {
        assert_eq!(read("broker.id=4").unwrap().node_id, 4);
        assert!(matches!(
            read("broker.id=4\nnode.id=5"),
            Err(ConfigError::TwoIds { .. })
        ));
    }
}
