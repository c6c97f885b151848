//! Making and deleting topics.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use ottla_wire::metadata::{ConfigRecord, MetadataRecord, RemoveTopicRecord, TopicRecord};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::names::{has_collision_chars, unified, validate_topic_name};
use super::partitions::manual_assignment;
use super::placement::{new_partition, place};
use super::random::Seed;
use super::request::{ApiError, Response};
use super::{AnswerError, Controller, Decision, check_count};
use crate::config::{Entries, TOPIC_KEYS, Update};
use crate::metadata::{PartitionImage, ResourceType};

/// The topic that only the controller writes.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// What one topic comes to: its records and its part of the answer.
struct NewTopic {
    records: Vec<MetadataRecord>,
    result: CreatableTopicResult,
}

impl Controller {
    pub(super) fn create_topics(
        &self,
        request: &CreateTopicsRequest,
        mut seed: Seed,
    ) -> Result<Decision, AnswerError> {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *times.entry(&topic.name).or_default() += 1;
        }
        let (mut records, mut results) = (Vec::new(), Vec::new());
        for topic in request
            .topics
            .iter()
            .filter(|t| times.get(t.name.as_str()) == Some(&1))
        {
            match self.create_topic(topic, &mut seed) {
                Ok(new) => {
                    records.extend(new.records);
                    check_count(&records)?;
                    results.push(new.result);
                }
                Err(error) => results.push(refused(&topic.name, error)),
            }
        }
        for (name, _) in times.into_iter().filter(|(_, times)| *times > 1) {
            let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
            results.push(refused(&name.into(), error));
        }
        if request.validate_only {
            records.clear();
        }
        let response = CreateTopicsResponse {
            topics: results,
            ..Default::default()
        };
        Ok(Decision {
            records,
            response: Response::CreateTopics(response),
        })
    }

    fn create_topic(&self, topic: &CreatableTopic, seed: &mut Seed) -> Result<NewTopic, ApiError> {
        self.check_new_name(&topic.name)?;
        let configs = self.check_new_configs(topic)?;
        let partitions = self.new_partitions(topic, seed)?;
        let id = seed.uuid();
        let mut records: Vec<MetadataRecord> = vec![
            TopicRecord {
                name: topic.name.clone(),
                topic_id: id,
                ..Default::default()
            }
            .into(),
        ];
        // Configurations stand between the topic and its partitions, so that whoever opens a
        // partition knows how.
        records.extend(configs.iter().map(|(key, value)| {
            MetadataRecord::from(ConfigRecord {
                resource_type: ResourceType::Topic as i8,
                resource_name: topic.name.clone(),
                name: key.into(),
                value: Some(value.into()),
                ..Default::default()
            })
        }));
        let version = self.image.metadata_version();
        for (index, partition) in (0..).zip(&partitions) {
            records.push(partition.to_record(id, index, version).into());
        }
        let result = CreatableTopicResult {
            name: topic.name.clone(),
            topic_id: id,
            num_partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replication_factor: partitions
                .first()
                .map_or(-1, |p| i16::try_from(p.replicas.len()).unwrap_or(i16::MAX)),
            configs: Some(self.effective_configs(&configs)),
            ..Default::default()
        };
        Ok(NewTopic { records, result })
    }

    fn check_new_name(&self, name: &str) -> Result<(), ApiError> {
        if name == CLUSTER_METADATA {
            return Err(ApiError::new(
                ErrorCode::InvalidRequest,
                "Creation of internal topic __cluster_metadata is prohibited.",
            ));
        }
        if self.image.topic(name).is_some() {
            return Err(ApiError::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        if let Some(other) = self.colliding_topic(name) {
            return Err(ApiError::new(
                ErrorCode::InvalidTopicException,
                format!("Topic '{name}' collides with existing topic: {other}"),
            ));
        }
        validate_topic_name(name)
            .map_err(|why| ApiError::new(ErrorCode::InvalidTopicException, why.to_string()))
    }

    /// A topic whose name differs from `name` in `.` and `_` only. All such names begin alike, so
    /// only those are looked at.
    fn colliding_topic(&self, name: &str) -> Option<Str> {
        if !has_collision_chars(name) {
            return None;
        }
        let head = name.split(['.', '_']).next().unwrap_or_default();
        let wanted = unified(name);
        self.image
            .topics_from(head)
            .take_while(|t| t.name.starts_with(head))
            .find(|t| t.name.len() == name.len() && unified(&t.name) == wanted)
            .map(|t| t.name.clone())
    }

    fn check_new_configs(&self, topic: &CreatableTopic) -> Result<Entries, ApiError> {
        let nulls: Vec<&str> = topic
            .configs
            .iter()
            .filter(|c| c.value.is_none())
            .map(|c| c.name.as_str())
            .collect();
        if !nulls.is_empty() {
            return Err(ApiError::new(
                ErrorCode::InvalidConfig,
                format!(
                    "Null value not supported for topic configs: {}",
                    nulls.join(",")
                ),
            ));
        }
        let configs: Entries = topic
            .configs
            .iter()
            .filter_map(|c| Some((String::from(c.name.as_str()), c.value.as_ref()?.to_string())))
            .collect();
        if !configs.is_empty() {
            self.check_topic_configs(&configs)?;
        }
        Ok(configs)
    }

    fn new_partitions(
        &self,
        topic: &CreatableTopic,
        seed: &mut Seed,
    ) -> Result<Vec<PartitionImage>, ApiError> {
        if !topic.assignments.is_empty() {
            return self.assigned_partitions(topic);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            return Err(ApiError::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        let count = match topic.num_partitions {
            -1 => self.broker_number("num.partitions"),
            count => i64::from(count),
        };
        let factor = match topic.replication_factor {
            -1 => i16::try_from(self.broker_number("default.replication.factor")).unwrap_or(1),
            factor => factor,
        };
        let count = usize::try_from(count).unwrap_or(1);
        if count > crate::limits::RECORDS_PER_METADATA_REQUEST_MAX {
            return Err(ApiError::new(
                ErrorCode::PolicyViolation,
                "Unable to perform excessively large batch operation.",
            ));
        }
        let refuse = |why: &str| {
            ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                format!("Unable to replicate the partition {factor} time(s): {why}"),
            )
        };
        let placed = place(&self.image, count, factor, seed).map_err(|why| refuse(&why))?;
        let dark = "All brokers are currently fenced or in controlled shutdown.";
        let partition = |r: &Vec<i32>| new_partition(&self.image, r).ok_or_else(|| refuse(dark));
        placed.iter().map(partition).collect()
    }

    fn assigned_partitions(&self, topic: &CreatableTopic) -> Result<Vec<PartitionImage>, ApiError> {
        let refuse = |code, why: &str| Err(ApiError::new(code, why));
        if topic.replication_factor != -1 {
            return refuse(
                ErrorCode::InvalidRequest,
                "A manual partition assignment was specified, but replication factor was not set \
                 to -1.",
            );
        }
        if topic.num_partitions != -1 {
            return refuse(
                ErrorCode::InvalidRequest,
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            );
        }
        let mut partitions = BTreeMap::new();
        let mut factor = None;
        for assignment in &topic.assignments {
            let (index, replicas) = (assignment.partition_index, &assignment.broker_ids);
            if partitions.contains_key(&index) {
                let why =
                    format!("Found multiple manual partition assignments for partition {index}");
                return refuse(ErrorCode::InvalidReplicaAssignment, &why);
            }
            let partition = manual_assignment(&self.image, replicas, factor, index)?;
            factor = Some(replicas.len());
            partitions.insert(index, partition);
        }
        if !partitions
            .keys()
            .copied()
            .zip(0..)
            .all(|(index, at)| index == at)
        {
            let why = "partitions should be a consecutive 0-based integer sequence";
            return refuse(ErrorCode::InvalidReplicaAssignment, why);
        }
        Ok(partitions.into_values().collect())
    }

    fn broker_number(&self, key: &str) -> i64 {
        self.with_layers(|layers| match layers.broker_value(key) {
            Some(crate::config::Value::Integer(number)) => number,
            _ => 1,
        })
    }

    /// All configurations of a topic with these overrides, as its creator is told (KIP-525).
    fn effective_configs(&self, overrides: &Entries) -> Vec<CreatableTopicConfigs> {
        self.with_layers(|layers| {
            let shown = TOPIC_KEYS
                .iter()
                .filter(|key| key.update != Update::Internal);
            shown
                .filter_map(|key| {
                    let found = layers.topic(key.name, overrides).into_iter().next()?;
                    Some(CreatableTopicConfigs {
                        name: key.name.into(),
                        value: found.value.as_deref().map(Str::from),
                        config_source: found.source as i8,
                        ..Default::default()
                    })
                })
                .collect()
        })
    }

    pub(super) fn delete_topics(&self, request: &DeleteTopicsRequest) -> Decision {
        let mut chosen = Chosen::default();
        let named = request
            .topic_names
            .iter()
            .map(|name| (Some(name), Uuid::ZERO));
        let stated = request.topics.iter().map(|t| (t.name.as_ref(), t.topic_id));
        let asked: Vec<(Option<&Str>, Uuid)> = named.chain(stated).collect();
        for (name, id) in &asked {
            chosen.count(*name, *id);
        }
        let (mut records, mut responses) = (Vec::new(), Vec::new());
        for (name, id) in asked {
            let Some(verdict) = self.delete_topic(name, id, &mut chosen) else {
                continue;
            };
            let (name, id, result) = verdict;
            if result.is_ok() {
                records.push(MetadataRecord::from(RemoveTopicRecord {
                    topic_id: id,
                    ..Default::default()
                }));
            }
            let (error_code, error_message) = super::request::fields(result);
            responses.push(DeletableTopicResult {
                name,
                topic_id: id,
                error_code,
                error_message,
                ..Default::default()
            });
        }
        let response = DeleteTopicsResponse {
            responses,
            ..Default::default()
        };
        Decision {
            records,
            response: Response::DeleteTopics(response),
        }
    }

    /// What becomes of one topic of a request; `None` for the repetition of a duplicate, which is
    /// answered once.
    fn delete_topic(
        &self,
        name: Option<&Str>,
        id: Uuid,
        chosen: &mut Chosen,
    ) -> Option<(Option<Str>, Uuid, Result<(), ApiError>)> {
        let invalid = |why: &str| Err(ApiError::new(ErrorCode::InvalidRequest, why));
        let taken = "The provided topic name maps to an ID that was already supplied.";
        Some(match (name, id.is_zero()) {
            (None, true) => (
                None,
                id,
                invalid("Neither topic name nor id were specified."),
            ),
            (Some(name), false) => {
                let why = "You may not specify both topic name and topic id.";
                (Some(name.clone()), id, invalid(why))
            }
            (Some(name), true) => match chosen.names.get(name.as_str()) {
                Some(1) => match self.image.topic_id(name) {
                    None => {
                        let error = ApiError::plain(ErrorCode::UnknownTopicOrPartition);
                        (Some(name.clone()), Uuid::ZERO, Err(error))
                    }
                    Some(id) if chosen.ids.contains_key(&id) => {
                        (Some(name.clone()), id, invalid(taken))
                    }
                    Some(id) => (Some(name.clone()), id, Ok(())),
                },
                _ if !chosen.told_names.insert(name.to_string()) => return None,
                _ => (Some(name.clone()), id, invalid("Duplicate topic name.")),
            },
            (None, false) => match chosen.ids.get(&id) {
                // The same topic by id and by name: neither is deleted, the name is told why.
                Some(1) => match self.image.topic_name(id) {
                    None => (None, id, Err(ApiError::plain(ErrorCode::UnknownTopicId))),
                    Some(name) if chosen.names.get(name.as_str()) == Some(&1) => return None,
                    Some(name) => (Some(name.clone()), id, Ok(())),
                },
                _ if !chosen.told_ids.insert(id) => return None,
                _ => (None, id, invalid("Duplicate topic id.")),
            },
        })
    }
}

/// How often each topic of a delete request is named.
#[derive(Default)]
struct Chosen {
    names: BTreeMap<String, usize>,
    ids: BTreeMap<Uuid, usize>,
    told_names: BTreeSet<String>,
    told_ids: BTreeSet<Uuid>,
}

impl Chosen {
    fn count(&mut self, name: Option<&Str>, id: Uuid) {
        match name {
            Some(name) if id.is_zero() => *self.names.entry(name.to_string()).or_default() += 1,
            None if !id.is_zero() => *self.ids.entry(id).or_default() += 1,
            _ => {}
        }
    }
}

fn refused(name: &Str, error: ApiError) -> CreatableTopicResult {
    let (error_code, error_message) = error.into_fields();
    CreatableTopicResult {
        name: name.clone(),
        error_code,
        error_message,
        ..Default::default()
    }
}
