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

mod acted_on;

pub(crate) use acted_on::acts_on;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use ottla_core::{
    config::{
        Entries, InvalidValue, Layers, Reason, Value, broker_key,
        listeners::{self, Listener},
        properties::{self, PropertiesError},
    },
    limits::FRAME_BYTES_MAX,
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
    /// Keys of Kafka's that change nothing in this version; the caller warns of them once.
    pub without_effect: Vec<String>,
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
    /// Of these, the names of those that are bound to every address of the machine and say no host.
    pub wildcard_listeners: Vec<String>,
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
    /// `advertised.listeners` names a listener that `listeners` does not have.
    #[error("advertised.listeners names {name}, which is not in listeners")]
    UnknownAdvertised {
        /// The listener's name.
        name: String,
    },
    /// `inter.broker.listener.name` names a listener that brokers cannot use.
    #[error(
        "inter.broker.listener.name names {name}, which is not among the listeners for clients"
    )]
    NoInterBrokerListener {
        /// The listener's name.
        name: String,
    },
    /// `advertised.listeners` has nothing for clients.
    #[error("advertised.listeners has no listener for clients")]
    NoAdvertised,
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
        entries.extend(overridden(overrides)?);
        Self::from_entries(entries)
    }

    /// The configuration of `cargo run --release`: one node on 127.0.0.1:9092 with its data in
    /// `./ottla-data`; `overrides` change it.
    pub fn single_node(overrides: &[String]) -> Result<Self, ConfigError> {
        let file = "listeners=PLAINTEXT://127.0.0.1:9092\nlog.dirs=./ottla-data\n\
                    offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
                    transaction.state.log.min.isr=1\n";
        let mut entries = properties::parse(file.as_bytes())?;
        let overrides = overridden(overrides)?;
        if overrides.contains_key("log.dir") {
            // It is the weaker of the two, and would have no effect beside one of ours.
            entries.remove("log.dirs");
        }
        entries.extend(overrides);
        Self::from_entries(entries)
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
        let (advertised_listeners, wildcard_listeners) =
            advertised(&text, &listeners, &controller_listeners)?;
        if let Some(name) = text.text("inter.broker.listener.name")
            && !listeners.iter().any(|l| l.name.eq_ignore_ascii_case(&name))
        {
            return Err(ConfigError::NoInterBrokerListener { name });
        }
        let node_id = node_id(&text)?;
        acted_on::refuse_unsupported(&text, node_id, roles, &controller_listeners)?;
        let log_dirs = log_dirs(&text)?;
        check_per_ip_overrides(&text)?;
        let metadata_log_dir = text.text("metadata.log.dir").map(PathBuf::from);
        Ok(Self {
            node_id,
            roles,
            cluster_id: entries.get("ottla.cluster.id").cloned(),
            metrics_address: entries.get("ottla.metrics.listeners").cloned(),
            rack: text.text("broker.rack"),
            metadata_log_dir: metadata_log_dir.unwrap_or_else(|| log_dirs[0].clone()),
            log_dirs,
            listeners,
            controller_listeners,
            advertised_listeners,
            wildcard_listeners,
            without_effect: acted_on::without_effect(&entries),
            unknown_keys,
            entries,
        })
    }

    /// Has the listeners that are bound to every address, and advertised under no name of the
    /// user's, advertised under `host`.
    pub fn advertise_wildcards_as(&mut self, host: &str) {
        for listener in &mut self.advertised_listeners {
            if self.wildcard_listeners.contains(&listener.name) {
                listener.host = host.to_owned();
            }
        }
    }

    /// What the user should know of what was given, a line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for key in &self.unknown_keys {
            warnings.push(format!("an unknown configuration key is ignored: {key}"));
        }
        if !self.without_effect.is_empty() {
            let keys = self.without_effect.join(", ");
            warnings.push(format!("accepted, without effect in this version: {keys}"));
        }
        let frame_max = self.get_usize("socket.request.max.bytes");
        if frame_max > FRAME_BYTES_MAX {
            warnings.push(format!(
                "socket.request.max.bytes={frame_max} is more than this version takes: \
                 {FRAME_BYTES_MAX} is in force"
            ));
        }
        for pair in self.get_list("max.connections.per.ip.overrides") {
            if per_ip_override(&pair).is_some_and(|(host, _)| host.parse::<IpAddr>().is_err()) {
                warnings.push(format!(
                    "max.connections.per.ip.overrides: {pair} has no effect, as it does not \
                     name an address"
                ));
            }
        }
        warnings
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

fn overridden(overrides: &[String]) -> Result<Entries, ConfigError> {
    let one = |given: &String| {
        let (key, value) = given
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| ConfigError::WrongOverride { got: given.clone() })?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    overrides.iter().map(one).collect()
}

/// `log.dirs`, else `log.dir`. An empty name would be the directory that the process was started in.
fn log_dirs(text: &Given<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let key = if text.entries.contains_key("log.dirs") {
        "log.dirs"
    } else {
        "log.dir"
    };
    let names = text.list(key);
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(text.refuse(key, Reason::EmptyName));
    }
    if let Some((at, _)) = names
        .iter()
        .enumerate()
        .find(|(at, n)| names[..*at].contains(n))
    {
        return Err(text.refuse(key, Reason::Twice(names[at].clone())));
    }
    Ok(names.into_iter().map(PathBuf::from).collect())
}

/// One `ADDRESS:COUNT` of `max.connections.per.ip.overrides`.
pub(crate) fn per_ip_override(text: &str) -> Option<(&str, usize)> {
    let (host, max) = text.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    (!host.is_empty()).then_some((host, max.parse().ok()?))
}

fn check_per_ip_overrides(text: &Given<'_>) -> Result<(), ConfigError> {
    let key = "max.connections.per.ip.overrides";
    if text
        .list(key)
        .iter()
        .any(|one| per_ip_override(one).is_none())
    {
        return Err(text.refuse(key, Reason::NotPerIp));
    }
    Ok(())
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

/// What is advertised, and the names of the listeners without a host that clients could use.
fn advertised(
    text: &Given<'_>,
    listeners: &[Listener],
    controllers: &[Listener],
) -> Result<(Vec<Listener>, Vec<String>), ConfigError> {
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
        let among = |all: &[Listener], one: &Listener| all.iter().any(|l| l.name == one.name);
        for one in &parsed {
            if !among(listeners, one) && !among(controllers, one) {
                let name = one.name.clone();
                return Err(ConfigError::UnknownAdvertised { name });
            }
        }
        // A controller's listener may stand there too; clients are not told of it.
        let for_clients = parsed.into_iter().filter(|one| among(listeners, one));
        for_clients.collect()
    };
    if advertised.is_empty() {
        return Err(ConfigError::NoAdvertised);
    }
    let mut wildcards = Vec::new();
    for listener in &mut advertised {
        match listener.host.as_str() {
            "0.0.0.0" | "::" if !given.is_empty() => {
                return Err(ConfigError::WildcardAdvertised {
                    name: listener.name.clone(),
                });
            }
            // Bound to every address of the machine: its own clients can always use this one.
            "" | "0.0.0.0" | "::" => {
                wildcards.push(listener.name.clone());
                listener.host = "localhost".to_owned();
            }
            _ => {}
        }
    }
    Ok((advertised, wildcards))
}

#[cfg(test)]
mod tests;
