//! Creating, deleting, listing and describing topics.

use std::collections::BTreeMap;

use ottla_io::Io;
use ottla_wire::{
    Str, Uuid,
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataResponse,
        create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        metadata_request::MetadataRequestTopic,
    },
};

use super::{Admin, AdminError, PerName, only};
use crate::{
    error::{BrokerError, RequestError},
    metadata::{Metadata, Topic},
};

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Str,
    /// How many partitions; -1 for the broker's `num.partitions`.
    pub partitions: i32,
    /// How many replicas of each; -1 for the broker's `default.replication.factor`.
    pub replication_factor: i16,
    /// Which brokers hold which partition, the preferred leader first; if given, the two numbers
    /// above must be -1.
    pub assignments: BTreeMap<i32, Vec<i32>>,
    /// Configuration, by key.
    pub configs: BTreeMap<Str, Option<Str>>,
}

impl NewTopic {
    /// A topic of `partitions` partitions with `replication_factor` replicas each.
    pub fn new(name: impl Into<Str>, partitions: i32, replication_factor: i16) -> Self {
        let (assignments, configs) = Default::default();
        Self {
            name: name.into(),
            partitions,
            replication_factor,
            assignments,
            configs,
        }
    }

    /// Adds a configuration entry.
    #[must_use]
    pub fn config(mut self, key: impl Into<Str>, value: impl Into<Str>) -> Self {
        self.configs.insert(key.into(), Some(value.into()));
        self
    }

    fn to_wire(&self) -> CreatableTopic {
        CreatableTopic {
            name: self.name.clone(),
            num_partitions: self.partitions,
            replication_factor: self.replication_factor,
            assignments: self
                .assignments
                .iter()
                .map(
                    |(&partition_index, broker_ids)| CreatableReplicaAssignment {
                        partition_index,
                        broker_ids: broker_ids.clone(),
                        ..Default::default()
                    },
                )
                .collect(),
            configs: self
                .configs
                .iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: name.clone(),
                    value: value.clone(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }
}

/// What the broker says of a topic that it created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has; -1 where the broker does not tell.
    pub partitions: i32,
    /// How many replicas each has; -1 where the broker does not tell.
    pub replication_factor: i16,
}

impl<I: Io> Admin<I> {
    /// Creates topics; with `validate_only` only says whether that would succeed.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<PerName<CreatedTopic>, AdminError> {
        let timeout_ms = self.timeout_ms();
        let build = |_| CreateTopicsRequest {
            topics: topics.iter().map(NewTopic::to_wire).collect(),
            timeout_ms,
            validate_only,
            ..Default::default()
        };
        let (_, response) = self.ask_any(build).await?;
        let answer = |t: &ottla_wire::messages::create_topics_response::CreatableTopicResult| {
            BrokerError::check(t.error_code, t.error_message.as_deref()).map(|()| CreatedTopic {
                id: t.topic_id,
                partitions: t.num_partitions,
                replication_factor: t.replication_factor,
            })
        };
        Ok(response
            .topics
            .iter()
            .map(|t| (t.name.detach(), answer(t)))
            .collect())
    }

    /// Creates one topic.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<CreatedTopic, AdminError> {
        let name = topic.name.clone();
        only(self.create_topics(&[topic], false).await?, &name)
    }

    /// Deletes topics.
    pub async fn delete_topics(&self, names: &[Str]) -> Result<PerName<()>, AdminError> {
        let timeout_ms = self.timeout_ms();
        let build = |version: i16| {
            let mut request = DeleteTopicsRequest {
                timeout_ms,
                ..Default::default()
            };
            if version >= 6 {
                let state = |name: &Str| DeleteTopicState {
                    name: Some(name.clone()),
                    ..Default::default()
                };
                request.topics = names.iter().map(state).collect();
            } else {
                request.topic_names = names.to_vec();
            }
            request
        };
        let (_, response) = self.ask_any(build).await?;
        let name = |name: &Option<Str>| name.as_ref().map(Str::detach).unwrap_or_default();
        let answers = response.responses.iter().map(|t| {
            (
                name(&t.name),
                BrokerError::check(t.error_code, t.error_message.as_deref()),
            )
        });
        Ok(answers.collect())
    }

    /// Deletes one topic.
    pub async fn delete_topic(&self, name: impl Into<Str>) -> Result<(), AdminError> {
        let name = name.into();
        only(
            self.delete_topics(std::slice::from_ref(&name)).await?,
            &name,
        )
    }

    /// All topics, Kafka's own included (see [`Topic::is_internal`]), by name.
    pub async fn list_topics(&self) -> Result<Vec<Topic>, AdminError> {
        let response = self.metadata(None).await?;
        let metadata = Metadata::default().refreshed(&response, self.client.io.now().monotonic);
        Ok(metadata.topics.into_values().collect())
    }

    /// Topics by name.
    pub async fn describe_topics(&self, names: &[Str]) -> Result<PerName<Topic>, AdminError> {
        let response = self.metadata(Some(names)).await?;
        let metadata = Metadata::default().refreshed(&response, self.client.io.now().monotonic);
        let found = metadata
            .topics
            .into_iter()
            .map(|(name, topic)| (name, Ok(topic)));
        let missing = metadata.topic_errors.into_iter();
        let missing = missing.map(|(name, code)| (name, Err(BrokerError::new(code))));
        Ok(found.chain(missing).collect())
    }

    /// One topic.
    pub async fn describe_topic(&self, name: impl Into<Str>) -> Result<Topic, AdminError> {
        let name = name.into();
        only(
            self.describe_topics(std::slice::from_ref(&name)).await?,
            &name,
        )
    }

    /// Raises a topic's number of partitions to `total`. `assignments` may say which brokers hold
    /// each new one.
    pub async fn create_partitions(
        &self,
        topic: impl Into<Str>,
        total: i32,
        assignments: Option<Vec<Vec<i32>>>,
    ) -> Result<(), AdminError> {
        let topic = topic.into();
        let timeout_ms = self.timeout_ms();
        let assignments = assignments.map(|lists| {
            let one = |broker_ids| CreatePartitionsAssignment {
                broker_ids,
                ..Default::default()
            };
            lists.into_iter().map(one).collect::<Vec<_>>()
        });
        let build = |_| CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: topic.clone(),
                count: total,
                assignments: assignments.clone(),
                ..Default::default()
            }],
            timeout_ms,
            ..Default::default()
        };
        let (_, response) = self.ask_any(build).await?;
        let answers = response.results.iter().map(|t| {
            (
                t.name.detach(),
                BrokerError::check(t.error_code, t.error_message.as_deref()),
            )
        });
        only(answers.collect(), &topic)
    }

    pub(super) async fn metadata(
        &self,
        names: Option<&[Str]>,
    ) -> Result<MetadataResponse, RequestError> {
        let topics = names.map(|names| {
            let one = |name: &Str| MetadataRequestTopic {
                name: Some(name.clone()),
                ..Default::default()
            };
            names.iter().map(one).collect::<Vec<_>>()
        });
        let mut retry = crate::client::Retry::new(&self.client);
        loop {
            match self.client.fetch_metadata(topics.clone(), false).await {
                Err(RequestError::Connect(error)) if retry.failures() >= super::CONNECT_TRIES => {
                    return Err(error.into());
                }
                Err(error) if error.is_retriable() && retry.pause().await => {}
                done => return done,
            }
        }
    }
}
