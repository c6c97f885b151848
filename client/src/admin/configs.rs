//! Describing and altering configuration (KIP-133, KIP-339).

use ottla_io::Io;
use ottla_wire::{
    Str,
    messages::{
        DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::DescribeConfigsResourceResult,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
};

use super::{Admin, AdminError};
use crate::{client::Lane, error::BrokerError};

/// What a configuration belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// A topic, by name.
    Topic,
    /// A broker, by id; the empty name is the default of all.
    Broker,
    /// A broker's logger levels, by the broker's id.
    BrokerLogger,
    /// A group, by id.
    Group,
}

impl ResourceType {
    fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::Group => 32,
        }
    }
}

/// A thing that has a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// What it is.
    pub kind: ResourceType,
    /// Its name.
    pub name: Str,
}

impl ConfigResource {
    /// A topic's configuration.
    pub fn topic(name: impl Into<Str>) -> Self {
        Self {
            kind: ResourceType::Topic,
            name: name.into(),
        }
    }

    /// A broker's configuration.
    #[must_use]
    pub fn broker(id: i32) -> Self {
        Self {
            kind: ResourceType::Broker,
            name: id.to_string().into(),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicDefaultBroker,
    /// From the broker's properties file.
    StaticBroker,
    /// Kafka's default.
    Default,
    /// Something that this client does not know.
    Other(i8),
}

impl From<i8> for ConfigSource {
    fn from(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            other => Self::Other(other),
        }
    }
}

/// One configuration key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: Str,
    /// The value; `None` for one that is not shown.
    pub value: Option<Str>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Whether it is a secret.
    pub sensitive: bool,
}

impl From<&DescribeConfigsResourceResult> for ConfigEntry {
    fn from(entry: &DescribeConfigsResourceResult) -> Self {
        Self {
            name: entry.name.detach(),
            value: entry.value.as_ref().map(Str::detach),
            source: entry.config_source.into(),
            read_only: entry.read_only,
            sensitive: entry.is_sensitive,
        }
    }
}

/// What to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    /// Set it to the value.
    Set,
    /// Take it back to its default.
    Delete,
    /// Add the value to a list.
    Append,
    /// Take the value from a list.
    Subtract,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigAlteration {
    /// The key.
    pub name: Str,
    /// What to do.
    pub op: AlterOp,
    /// The value; `None` for [`AlterOp::Delete`].
    pub value: Option<Str>,
}

impl ConfigAlteration {
    /// Sets `name` to `value`.
    pub fn set(name: impl Into<Str>, value: impl Into<Str>) -> Self {
        Self {
            name: name.into(),
            op: AlterOp::Set,
            value: Some(value.into()),
        }
    }

    /// Takes `name` back to its default.
    pub fn delete(name: impl Into<Str>) -> Self {
        Self {
            name: name.into(),
            op: AlterOp::Delete,
            value: None,
        }
    }
}

impl<I: Io> Admin<I> {
    /// A resource's configuration: `keys`, or all.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
        keys: Option<&[Str]>,
    ) -> Result<Vec<ConfigEntry>, AdminError> {
        let build = |_| DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: resource.kind.code(),
                resource_name: resource.name.clone(),
                configuration_keys: keys.map(<[Str]>::to_vec),
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = match broker_of(resource) {
            Some(broker) => self.ask_broker(broker, build).await?,
            None => self.ask_any(build).await?.1,
        };
        let missing = || AdminError::Missing {
            what: resource.name.to_string(),
        };
        let result = response.results.first().ok_or_else(missing)?;
        BrokerError::check(result.error_code, result.error_message.as_deref())?;
        Ok(result.configs.iter().map(ConfigEntry::from).collect())
    }

    /// Changes some keys of a resource's configuration and leaves the others.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        alterations: &[ConfigAlteration],
        validate_only: bool,
    ) -> Result<(), AdminError> {
        let configs: Vec<AlterableConfig> = alterations
            .iter()
            .map(|a| AlterableConfig {
                name: a.name.clone(),
                config_operation: a.op as i8,
                value: a.value.clone(),
                ..Default::default()
            })
            .collect();
        let build = |_| IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: resource.kind.code(),
                resource_name: resource.name.clone(),
                configs: configs.clone(),
                ..Default::default()
            }],
            validate_only,
            ..Default::default()
        };
        let response = match broker_of(resource) {
            Some(broker) => self.ask_broker(broker, build).await?,
            None => self.ask_any(build).await?.1,
        };
        let missing = || AdminError::Missing {
            what: resource.name.to_string(),
        };
        let result = response.responses.first().ok_or_else(missing)?;
        Ok(BrokerError::check(
            result.error_code,
            result.error_message.as_deref(),
        )?)
    }

    /// Asks one broker, which must be known: the metadata is fetched first if need be.
    pub(super) async fn ask_broker<R: ottla_wire::ApiRequest>(
        &self,
        broker: i32,
        build: impl Fn(i16) -> R + Send + Sync,
    ) -> Result<R::Response, AdminError> {
        let known = self.client.metadata();
        if !known.brokers.contains_key(&broker) {
            self.client.refresh_metadata(known.version).await?;
        }
        Ok(self
            .client
            .call(broker, Lane::Main, i16::MAX, &build)
            .await?
            .1)
    }
}

/// The broker that alone can answer for a resource.
fn broker_of(resource: &ConfigResource) -> Option<i32> {
    match resource.kind {
        ResourceType::Broker | ResourceType::BrokerLogger => resource.name.parse().ok(),
        ResourceType::Topic | ResourceType::Group => None,
    }
}
