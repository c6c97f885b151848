//! Consumer groups and their committed offsets.

use std::collections::BTreeMap;

use ottla_io::Io;
use ottla_wire::{
    ApiRequest, ErrorCode, Str,
    messages::{
        DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetDeleteRequest,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    },
};

use super::{Admin, AdminError, only};
use crate::{
    client::{Lane, Retry},
    commit::{self, Committer},
    error::{BrokerError, RequestError},
    types::{OffsetAndMetadata, TopicPartition},
};

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group_id: Str,
    /// `consumer` for groups of consumers; empty for one that only holds offsets.
    pub protocol_type: Str,
    /// Its state, as `Stable` or `Empty`; empty where the broker does not tell.
    pub state: Str,
    /// Its type, as `classic` or `consumer`; empty where the broker does not tell.
    pub group_type: Str,
    /// The broker that coordinates it.
    pub coordinator: i32,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: Str,
    /// Its state, as `Stable` or `Empty`.
    pub state: Str,
    /// `consumer` for groups of consumers.
    pub protocol_type: Str,
    /// The assignor in use.
    pub protocol: Str,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: Str,
    /// Its static id, if it has one.
    pub group_instance_id: Option<Str>,
    /// Its `client.id`.
    pub client_id: Str,
    /// Where it connects from.
    pub host: Str,
    /// The partitions that it was assigned.
    pub assignment: Vec<TopicPartition>,
}

impl<I: Io> Admin<I> {
    /// All groups of the cluster, by id.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, AdminError> {
        let response = self.metadata(Some(&[])).await?;
        let mut groups = BTreeMap::new();
        for broker in &response.brokers {
            self.client
                .learn_broker(broker.node_id, &broker.host, broker.port);
            let listed = self.list_groups_of(broker.node_id).await?;
            groups.extend(
                listed
                    .into_iter()
                    .map(|group| (group.group_id.clone(), group)),
            );
        }
        Ok(groups.into_values().collect())
    }

    async fn list_groups_of(&self, broker: i32) -> Result<Vec<GroupListing>, AdminError> {
        let mut retry = Retry::new(&self.client);
        loop {
            let build = |_| ListGroupsRequest::default();
            let answer = self.client.call(broker, Lane::Main, i16::MAX, build).await;
            let response = match answer {
                Ok((_, response)) => response,
                Err(error) if error.is_retriable() && retry.pause().await => continue,
                Err(error) => return Err(error.into()),
            };
            match BrokerError::check(response.error_code, None) {
                Ok(()) => {}
                Err(error) if error.code.is_retriable() && retry.pause().await => continue,
                Err(error) => return Err(error.into()),
            }
            let listing =
                |group: &ottla_wire::messages::list_groups_response::ListedGroup| GroupListing {
                    group_id: group.group_id.detach(),
                    protocol_type: group.protocol_type.detach(),
                    state: group.group_state.detach(),
                    group_type: group.group_type.detach(),
                    coordinator: broker,
                };
            return Ok(response.groups.iter().map(listing).collect());
        }
    }

    /// A group. One that does not exist is described in state `Dead`, or refused, depending on the
    /// broker's version.
    pub async fn describe_group(
        &self,
        group: impl Into<Str>,
    ) -> Result<GroupDescription, AdminError> {
        let group = group.into();
        let groups = vec![group.clone()];
        let build = |_| DescribeGroupsRequest {
            groups: groups.clone(),
            ..Default::default()
        };
        let code = |response: &<DescribeGroupsRequest as ApiRequest>::Response| {
            response.groups.first().map_or(0, |g| g.error_code)
        };
        let (coordinator, response) = self.ask_coordinator(&group, build, code).await?;
        let missing = || AdminError::Missing {
            what: group.to_string(),
        };
        let described = response.groups.first().ok_or_else(missing)?;
        BrokerError::check(described.error_code, described.error_message.as_deref())?;
        Ok(description(described, coordinator))
    }

    /// Deletes a group, which must have no members.
    pub async fn delete_group(&self, group: impl Into<Str>) -> Result<(), AdminError> {
        let group = group.into();
        let names = vec![group.clone()];
        let build = |_| DeleteGroupsRequest {
            groups_names: names.clone(),
            ..Default::default()
        };
        let code = |response: &<DeleteGroupsRequest as ApiRequest>::Response| {
            response.results.first().map_or(0, |g| g.error_code)
        };
        let (_, response) = self.ask_coordinator(&group, build, code).await?;
        let answers = response.results.iter();
        let answers =
            answers.map(|g| (g.group_id.detach(), BrokerError::check(g.error_code, None)));
        only(answers.collect(), &group)
    }

    /// The offsets that a group has committed: of `partitions`, or all.
    pub async fn list_group_offsets(
        &self,
        group: impl Into<Str>,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, AdminError> {
        let group = group.into();
        Ok(commit::fetch_committed(&self.client, &group, partitions, false).await?)
    }

    /// Commits offsets for a group that has no members.
    pub async fn alter_group_offsets(
        &self,
        group: impl Into<Str>,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), BrokerError>>, AdminError> {
        let committer = Committer::outside(group.into());
        let mut retry = Retry::new(&self.client);
        loop {
            let coordinator = self.client.wait_for_coordinator(&committer.group).await?;
            let answers = match commit::commit(&self.client, coordinator, &committer, offsets).await
            {
                Ok(answers) => answers,
                Err(error) if error.is_retriable() && retry.pause().await => continue,
                Err(error) => return Err(error.into()),
            };
            let again =
                |a: &Result<(), BrokerError>| a.as_ref().is_err_and(|e| e.code.is_retriable());
            if !answers.values().any(again) || !retry.pause().await {
                return Ok(answers);
            }
        }
    }

    /// Deletes the committed offsets of partitions whose topics the group does not read now.
    pub async fn delete_group_offsets(
        &self,
        group: impl Into<Str>,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Result<(), BrokerError>>, AdminError> {
        let group = group.into();
        let mut topics: BTreeMap<Str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for partition in partitions {
            let one = OffsetDeleteRequestPartition {
                partition_index: partition.partition,
            };
            topics.entry(partition.topic.clone()).or_default().push(one);
        }
        let topic = |(name, partitions): (&Str, &Vec<OffsetDeleteRequestPartition>)| {
            OffsetDeleteRequestTopic {
                name: name.clone(),
                partitions: partitions.clone(),
            }
        };
        let build = |_| OffsetDeleteRequest {
            group_id: group.clone(),
            topics: topics.iter().map(topic).collect(),
        };
        let code = |response: &<OffsetDeleteRequest as ApiRequest>::Response| response.error_code;
        let (_, response) = self.ask_coordinator(&group, build, code).await?;
        BrokerError::check(response.error_code, None)?;
        let mut answers = BTreeMap::new();
        for topic in &response.topics {
            for p in &topic.partitions {
                let partition = TopicPartition::new(topic.name.detach(), p.partition_index);
                answers.insert(partition, BrokerError::check(p.error_code, None));
            }
        }
        Ok(answers)
    }

    /// Asks a group's coordinator, again while it moves or loads; `code` finds the answer's error.
    async fn ask_coordinator<R: ApiRequest>(
        &self,
        group: &Str,
        build: impl Fn(i16) -> R + Send + Sync,
        code: impl Fn(&R::Response) -> i16 + Send + Sync,
    ) -> Result<(i32, R::Response), AdminError>
    where
        R::Response: Send,
    {
        let mut retry = Retry::new(&self.client);
        loop {
            let coordinator = match self.client.find_coordinator(group).await {
                Ok(coordinator) => coordinator,
                Err(crate::coordinator::GroupError::Request(RequestError::Connect(error)))
                    if retry.failures() >= super::CONNECT_TRIES =>
                {
                    return Err(error.into());
                }
                Err(error) if error.is_retriable() && retry.pause().await => continue,
                Err(error) => return Err(error.into()),
            };
            match self
                .client
                .call(coordinator, Lane::Main, i16::MAX, &build)
                .await
            {
                Ok((_, response)) => {
                    let code = ErrorCode::from(code(&response));
                    if !(code.is_retriable() && retry.pause().await) {
                        return Ok((coordinator, response));
                    }
                }
                Err(error) if error.is_retriable() && retry.pause().await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn description(group: &DescribedGroup, coordinator: i32) -> GroupDescription {
    GroupDescription {
        group_id: group.group_id.detach(),
        state: group.group_state.detach(),
        protocol_type: group.protocol_type.detach(),
        protocol: group.protocol_data.detach(),
        coordinator,
        members: group
            .members
            .iter()
            .map(|m| member(m, &group.protocol_type))
            .collect(),
    }
}

fn member(member: &DescribedGroupMember, protocol_type: &str) -> MemberDescription {
    let assignment = if protocol_type == "consumer" {
        crate::consumer::protocol::decode_assignment(&member.member_assignment).unwrap_or_default()
    } else {
        Vec::new()
    };
    MemberDescription {
        member_id: member.member_id.detach(),
        group_instance_id: member.group_instance_id.as_ref().map(Str::detach),
        client_id: member.client_id.detach(),
        host: member.client_host.detach(),
        assignment,
    }
}
