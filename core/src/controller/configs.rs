//! Changing configurations, of topics, brokers, groups and client metrics subscriptions.
//!
//! A resource is changed as a whole or not at all. What is checked is how it will be after the
//! change, with everything that was set before.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ottla_wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
};
use ottla_wire::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord};
use ottla_wire::{ErrorCode, Str};

use super::features::MIN_ISR;
use super::names::validate_topic_name;
use super::request::{ApiError, Response, fields};
use super::{AnswerError, Controller, Decision, check_count, small_tables};
use crate::config::{self, Entries, Kind, Update, Value};
use crate::metadata::{ConfigResource, ResourceType};

/// What is done to one key. The numbers are those of `IncrementalAlterConfigs`.
#[derive(Clone, Debug)]
enum Change {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// One resource of a request: what it is called there, and what is to change.
struct Asked<'a> {
    kind: i8,
    name: &'a Str,
    changes: Vec<(&'a Str, i8, Option<&'a Str>)>,
}

type Outcome = Result<Vec<MetadataRecord>, ApiError>;

impl Controller {
    pub(super) fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Result<Decision, AnswerError> {
        let asked = request.resources.iter().map(|r| Asked {
            kind: r.resource_type,
            name: &r.resource_name,
            changes: r
                .configs
                .iter()
                .map(|c| (&c.name, c.config_operation, c.value.as_ref()))
                .collect(),
        });
        let (records, outcomes) =
            self.alter(asked.collect(), request.validate_only, |resource, asked| {
                self.alter_some(resource, asked)
            })?;
        let answer = |(kind, name, (error_code, error_message))| {
            incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: kind,
                resource_name: name,
                ..Default::default()
            }
        };
        let response = IncrementalAlterConfigsResponse {
            responses: outcomes.into_iter().map(answer).collect(),
            ..Default::default()
        };
        Ok(Decision {
            records,
            response: Response::IncrementalAlterConfigs(response),
        })
    }

    pub(super) fn alter_configs(
        &self,
        request: &AlterConfigsRequest,
    ) -> Result<Decision, AnswerError> {
        let asked = request.resources.iter().map(|r| Asked {
            kind: r.resource_type,
            name: &r.resource_name,
            changes: r
                .configs
                .iter()
                .map(|c| (&c.name, SET, c.value.as_ref()))
                .collect(),
        });
        let (records, outcomes) =
            self.alter(asked.collect(), request.validate_only, |resource, asked| {
                self.alter_all(resource, asked)
            })?;
        let answer = |(kind, name, (error_code, error_message))| {
            alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: kind,
                resource_name: name,
                ..Default::default()
            }
        };
        let response = AlterConfigsResponse {
            responses: outcomes.into_iter().map(answer).collect(),
            ..Default::default()
        };
        Ok(Decision {
            records,
            response: Response::AlterConfigs(response),
        })
    }

    /// Checks what both requests share, then lets `change` decide on each resource.
    #[expect(
        clippy::type_complexity,
        reason = "the fields of either response's result"
    )]
    fn alter(
        &self,
        asked: Vec<Asked<'_>>,
        validate_only: bool,
        change: impl Fn(&ConfigResource, &Asked<'_>) -> Outcome,
    ) -> Result<(Vec<MetadataRecord>, Vec<(i8, Str, (i16, Option<Str>))>), AnswerError> {
        let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
        for resource in &asked {
            *times.entry((resource.kind, resource.name)).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for asked in &asked {
            let outcome = if times.get(&(asked.kind, asked.name.as_str())) > Some(&1) {
                Err(invalid("Each resource must appear at most once."))
            } else {
                self.check_request(asked)
                    .and_then(|resource| change(&resource, asked))
            };
            let result = fields(outcome.map(|new| records.extend(new)));
            check_count(&records)?;
            outcomes.push((asked.kind, asked.name.clone(), result));
        }
        if validate_only {
            records.clear();
        }
        Ok((records, outcomes))
    }

    /// Checks one resource of a request for what does not depend on values.
    fn check_request(&self, asked: &Asked<'_>) -> Result<ConfigResource, ApiError> {
        let mut keys = BTreeSet::new();
        if !asked
            .changes
            .iter()
            .all(|(key, ..)| keys.insert(key.as_str()))
        {
            return Err(invalid("Error due to duplicate config keys"));
        }
        let is_null = |(key, op, value): &(&Str, i8, Option<&Str>)| match (*op, value) {
            (DELETE, _) | (_, Some(_)) => None,
            _ => Some(key.to_string()),
        };
        let nulls: Vec<String> = asked.changes.iter().filter_map(is_null).collect();
        if !nulls.is_empty() {
            return Err(invalid(format!(
                "Null value not supported for : {}",
                nulls.join(", ")
            )));
        }
        let unknown = || invalid(format!("Unknown resource type {}", asked.kind));
        let kind = ResourceType::from_number(asked.kind).ok_or_else(unknown)?;
        if kind == ResourceType::BrokerLogger {
            return Err(invalid(NO_LOGGERS));
        }
        let resource = ConfigResource {
            kind,
            name: asked.name.clone(),
        };
        self.check_name(&resource)?;
        Ok(resource)
    }

    fn check_name(&self, resource: &ConfigResource) -> Result<(), ApiError> {
        let name = resource.name.as_str();
        match resource.kind {
            ResourceType::Topic if name.is_empty() => {
                Err(invalid("Default topic resources are not allowed."))
            }
            ResourceType::Topic => validate_topic_name(name)
                .map_err(|why| ApiError::new(ErrorCode::InvalidTopicException, why.to_string())),
            ResourceType::Broker if name.is_empty() => Ok(()),
            ResourceType::Broker => match name.parse::<i32>() {
                Err(_) => Err(invalid(format!(
                    "Node id must be an integer, but it is: {name}"
                ))),
                Ok(id) if id == self.settings.node_id || self.image.broker(id).is_some() => Ok(()),
                Ok(_) => Err(invalid(format!(
                    "Unexpected broker id, expected {}, but received {name}",
                    self.settings.node_id
                ))),
            },
            ResourceType::Group if name.is_empty() => {
                Err(invalid("Default group resources are not allowed."))
            }
            ResourceType::ClientMetrics if name.is_empty() => {
                Err(invalid("Subscription name can't be empty"))
            }
            _ => Ok(()),
        }
    }

    fn alter_some(&self, resource: &ConfigResource, asked: &Asked<'_>) -> Outcome {
        let before = self.image.configs(resource);
        let mut after = before.clone();
        let mut touched: Vec<&str> = Vec::new();
        for (key, op, value) in &asked.changes {
            let change = change(*op, *value)?;
            let key = key.as_str();
            let value = match change {
                Change::Set(value) => Some(value),
                Change::Delete => None,
                Change::Append(more) => Some(self.change_list(resource, key, &more, true)?),
                Change::Subtract(less) => Some(self.change_list(resource, key, &less, false)?),
            };
            match value {
                Some(value) => after.insert(key.into(), value),
                None => after.remove(key),
            };
            touched.push(key);
        }
        self.check_values(resource, &after)?;
        self.records(resource, before, &after, &touched)
    }

    fn alter_all(&self, resource: &ConfigResource, asked: &Asked<'_>) -> Outcome {
        let before = self.image.configs(resource);
        let after: Entries = asked
            .changes
            .iter()
            .filter_map(|(key, _, value)| Some((key.to_string(), value.as_ref()?.to_string())))
            .collect();
        self.check_values(resource, &after)?;
        let mut touched: Vec<&str> = after.keys().map(String::as_str).collect();
        touched.extend(
            before
                .keys()
                .map(String::as_str)
                .filter(|key| !after.contains_key(*key)),
        );
        self.records(resource, before, &after, &touched)
    }

    /// A list with parts added or taken away.
    fn change_list(
        &self,
        resource: &ConfigResource,
        key: &str,
        parts: &str,
        add: bool,
    ) -> Result<String, ApiError> {
        let found = match resource.kind {
            ResourceType::Topic => config::topic_key(key),
            ResourceType::Broker => config::broker_key(key),
            _ => None,
        };
        let is_list = found.is_some_and(|key| key.kind == Kind::List)
            || resource.kind == ResourceType::ClientMetrics && matches!(key, "metrics" | "match");
        if !is_list {
            let op = if add { "APPEND" } else { "SUBTRACT" };
            return Err(ApiError::new(
                ErrorCode::InvalidConfig,
                format!("Can't {op} to key {key} because its type is not LIST."),
            ));
        }
        let configured = self.image.config(resource, key);
        let current = configured
            .map(String::from)
            .or_else(|| self.default_of(resource, key));
        let current = current.unwrap_or_default();
        Ok(change_parts(&current, parts, add))
    }

    fn default_of(&self, resource: &ConfigResource, key: &str) -> Option<String> {
        let empty = Entries::new();
        self.with_layers(|layers| {
            let found = match resource.kind {
                ResourceType::Topic => layers.topic(key, &empty),
                _ => layers.broker(key),
            };
            found.into_iter().next()?.value.map(String::from)
        })
    }

    fn records(
        &self,
        resource: &ConfigResource,
        before: &Entries,
        after: &Entries,
        touched: &[&str],
    ) -> Outcome {
        self.check_exists(resource)?;
        let mut records = Vec::new();
        for key in touched {
            let value = after.get(*key);
            // A broker's value is written even if it is the same: files that it names may have
            // changed, and the brokers are to look.
            if before.get(*key) == value && resource.kind != ResourceType::Broker {
                continue;
            }
            if *key == MIN_ISR && self.image.elr_enabled() {
                check_min_isr(resource, value)?;
                records.push(clear_elr(resource));
            }
            let record = ConfigRecord {
                resource_type: resource.kind as i8,
                resource_name: resource.name.clone(),
                name: (*key).into(),
                value: value.map(Str::from),
                ..Default::default()
            };
            records.push(record.into());
        }
        Ok(records)
    }

    fn check_exists(&self, resource: &ConfigResource) -> Result<(), ApiError> {
        match resource.kind {
            ResourceType::Topic if self.image.topic(&resource.name).is_none() => {
                Err(ApiError::new(
                    ErrorCode::UnknownTopicOrPartition,
                    format!("The topic '{}' does not exist.", resource.name),
                ))
            }
            _ => Ok(()),
        }
    }

    fn check_values(&self, resource: &ConfigResource, values: &Entries) -> Result<(), ApiError> {
        match resource.kind {
            ResourceType::Topic => self.check_topic_configs(values),
            ResourceType::Broker => check_broker_configs(values, !resource.name.is_empty()),
            ResourceType::Group => {
                self.with_layers(|layers| small_tables::check_group(layers, values))
            }
            ResourceType::ClientMetrics => small_tables::check_client_metrics(values),
            ResourceType::BrokerLogger => Err(invalid(NO_LOGGERS)),
        }
    }

    /// Checks all that a topic sets: each value, and those that bind each other.
    pub(super) fn check_topic_configs(&self, values: &Entries) -> Result<(), ApiError> {
        let refuse = |why: String| Err(ApiError::new(ErrorCode::InvalidConfig, why));
        for (name, text) in values {
            let Some(key) = config::topic_key(name) else {
                return refuse(format!("Unknown topic config name: {name}"));
            };
            if let Err(why) = key.parse(text) {
                return refuse(why.to_string());
            }
        }
        if values
            .get("remote.storage.enable")
            .is_some_and(|v| v.eq_ignore_ascii_case("true"))
        {
            return refuse(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be \
                 configured with remote log storage."
                    .into(),
            );
        }
        let number = |name| {
            self.with_layers(|layers| match layers.topic_value(name, values) {
                Some(Value::Integer(number)) => number,
                _ => 0,
            })
        };
        let (min, max) = (
            number("min.compaction.lag.ms"),
            number("max.compaction.lag.ms"),
        );
        if min > max {
            return refuse(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > \
                 max.compaction.lag.ms ({max})"
            ));
        }
        Ok(())
    }
}

/// A comma-separated list with parts that it lacks added, or parts taken away: each takes away the
/// first that is like it. Sets look them up, as either list may be as long as a request.
fn change_parts(current: &str, parts: &str, add: bool) -> String {
    let split = |list| str::split(list, ',').filter(|part| !part.is_empty());
    let list: Vec<&str> = if add {
        let mut seen: BTreeSet<&str> = split(current).collect();
        let new = split(parts).filter(|part| seen.insert(part));
        split(current).chain(new).collect()
    } else {
        let mut less: BTreeMap<&str, usize> = BTreeMap::new();
        for part in split(parts) {
            *less.entry(part).or_default() += 1;
        }
        let mut stays = Vec::new();
        for part in split(current) {
            match less.get_mut(part) {
                Some(times) if *times > 0 => *times -= 1,
                _ => stays.push(part),
            }
        }
        stays
    };
    list.join(",")
}

/// Checks what is set for a broker (`one`) or for all of them.
fn check_broker_configs(values: &Entries, one: bool) -> Result<(), ApiError> {
    let names = |is_wrong: fn(Update) -> bool| {
        let wrong =
            |name: &&String| config::broker_key(name).is_some_and(|key| is_wrong(key.update));
        values
            .keys()
            .filter(wrong)
            .map(String::as_str)
            .collect::<Vec<_>>()
    };
    let fixed = names(|update| update == Update::ReadOnly);
    if !fixed.is_empty() {
        let why = format!(
            "Cannot update these configs dynamically: Set({})",
            fixed.join(", ")
        );
        return Err(invalid(why));
    }
    for (name, text) in values {
        if let Some(Err(why)) = config::broker_key(name).map(|key| key.parse(text)) {
            return Err(invalid(why.to_string()));
        }
    }
    let own = names(|update| update == Update::Broker);
    if !one && !own.is_empty() {
        return Err(invalid(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: \
             Set({})",
            own.join(", ")
        )));
    }
    Ok(())
}

/// Kafka's rules for the key that decides who is an eligible leader (KIP-966).
fn check_min_isr(resource: &ConfigResource, value: Option<&String>) -> Result<(), ApiError> {
    let refuse = |why| Err(ApiError::new(ErrorCode::InvalidConfig, why));
    if resource.kind == ResourceType::Broker && !resource.name.is_empty() {
        return refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
    }
    if resource.kind == ResourceType::Broker && value.is_none() {
        return refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
    }
    Ok(())
}

fn clear_elr(resource: &ConfigResource) -> MetadataRecord {
    let topic_name = match resource.kind {
        ResourceType::Topic => resource.name.clone(),
        _ => Str::new(),
    };
    ClearElrRecord {
        topic_name,
        ..Default::default()
    }
    .into()
}

/// What is said of loggers: their levels are never stored, and AlterConfigs, which sets all that a
/// resource has, does not know them at Kafka either.
const NO_LOGGERS: &str = "The loggers of a broker can be altered by IncrementalAlterConfigs only, each once in a request.";

const SET: i8 = 0;
const DELETE: i8 = 1;

fn change(op: i8, value: Option<&Str>) -> Result<Change, ApiError> {
    let value = value.map(ToString::to_string).unwrap_or_default();
    Ok(match op {
        SET => Change::Set(value),
        DELETE => Change::Delete,
        2 => Change::Append(value),
        3 => Change::Subtract(value),
        op => return Err(invalid(format!("Unknown operations type {op}"))),
    })
}

fn invalid(why: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, why)
}
