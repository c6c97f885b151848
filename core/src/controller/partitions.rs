//! Giving topics more partitions, and checking assignments that a client made.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use ottla_wire::metadata::MetadataRecord;
use ottla_wire::{ErrorCode, Str};

use super::placement::{new_partition, place};
use super::random::Seed;
use super::request::{ApiError, Response, fields};
use super::{AnswerError, Controller, Decision, check_count};
use crate::metadata::{MetadataImage, PartitionImage};

impl Controller {
    pub(super) fn create_partitions(
        &self,
        request: &CreatePartitionsRequest,
        mut seed: Seed,
    ) -> Result<Decision, AnswerError> {
        let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for topic in &request.topics {
            if !seen.insert(topic.name.as_str()) {
                twice.insert(topic.name.as_str());
            }
        }
        let mut records = Vec::new();
        let mut results: Vec<CreatePartitionsTopicResult> = Vec::new();
        for name in &twice {
            let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
            results.push(result(&(*name).into(), Err(error)));
        }
        for topic in request
            .topics
            .iter()
            .filter(|t| !twice.contains(t.name.as_str()))
        {
            let outcome = self.add_partitions(topic, &mut seed);
            results.push(result(&topic.name, outcome.map(|new| records.extend(new))));
            check_count(&records)?;
        }
        if request.validate_only {
            records.clear();
        }
        let response = CreatePartitionsResponse {
            results,
            ..Default::default()
        };
        Ok(Decision {
            records,
            response: Response::CreatePartitions(response),
        })
    }

    fn add_partitions(
        &self,
        request: &CreatePartitionsTopic,
        seed: &mut Seed,
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        let Some(topic) = self.image.topic(&request.name) else {
            return Err(ApiError {
                code: ErrorCode::UnknownTopicOrPartition,
                message: None,
            });
        };
        let there = topic.partition_count();
        let invalid = |why| Err(ApiError::new(ErrorCode::InvalidPartitions, why));
        if request.count == there {
            return invalid(format!("Topic already has {there} partition(s)."));
        }
        if request.count < there {
            return invalid(format!(
                "The topic {} currently has {there} partition(s); {} would not be an increase.",
                request.name, request.count
            ));
        }
        let additional = usize::try_from(request.count - there).unwrap_or(0);
        if additional > crate::limits::RECORDS_PER_METADATA_REQUEST_MAX {
            return Err(ApiError::new(
                ErrorCode::PolicyViolation,
                "Unable to perform excessively large batch operation.",
            ));
        }
        let factor = topic.replication_factor();
        let partitions = match &request.assignments {
            Some(assignments) if assignments.len() != additional => {
                return Err(ApiError::new(
                    ErrorCode::InvalidReplicaAssignment,
                    format!(
                        "Attempted to add {additional} additional partition(s), but only {} \
                         assignment(s) were specified.",
                        assignments.len()
                    ),
                ));
            }
            Some(assignments) => (there..)
                .zip(assignments)
                .map(|(index, a)| {
                    let factor = usize::try_from(factor).ok();
                    manual_assignment(&self.image, &a.broker_ids, factor, index)
                })
                .collect::<Result<Vec<_>, _>>()?,
            None => self.placed_partitions(additional, factor, seed)?,
        };
        let version = self.image.metadata_version();
        let records = (there..).zip(&partitions);
        Ok(records
            .map(|(index, p)| p.to_record(topic.id, index, version).into())
            .collect())
    }

    fn placed_partitions(
        &self,
        count: usize,
        factor: i16,
        seed: &mut Seed,
    ) -> Result<Vec<PartitionImage>, ApiError> {
        let refuse = |why| ApiError::new(ErrorCode::InvalidReplicationFactor, why);
        let dark = || {
            refuse(format!(
                "Unable to replicate the partition {factor} time(s): All brokers are currently \
                 fenced or in controlled shutdown."
            ))
        };
        let placed = place(&self.image, count, factor, seed).map_err(refuse)?;
        placed
            .iter()
            .map(|r| new_partition(&self.image, r).ok_or_else(dark))
            .collect()
    }
}

/// A partition that a client assigned to `replicas`, checked.
pub(super) fn manual_assignment(
    image: &MetadataImage,
    replicas: &[i32],
    factor: Option<usize>,
    index: i32,
) -> Result<PartitionImage, ApiError> {
    let refuse = |why| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, why));
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".into());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (at, broker) in sorted.iter().enumerate() {
        if image.broker(*broker).is_none() {
            return refuse(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is \
                 registered."
            ));
        }
        if at > 0 && sorted.get(at - 1) == Some(broker) {
            return refuse(format!(
                "The manual partition assignment includes the broker {broker} more than once."
            ));
        }
    }
    if let Some(factor) = factor
        && factor != replicas.len()
    {
        return refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is \
             not consistent with previous partitions, which have {factor} replica(s).",
            replicas.len()
        ));
    }
    new_partition(image, replicas).map_or_else(
        || {
            refuse(format!(
                "All brokers specified in the manual partition assignment for partition {index} \
                 are fenced or in controlled shutdown."
            ))
        },
        Ok,
    )
}

fn result(name: &Str, outcome: Result<(), ApiError>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = fields(outcome);
    CreatePartitionsTopicResult {
        name: name.clone(),
        error_code,
        error_message,
        ..Default::default()
    }
}
