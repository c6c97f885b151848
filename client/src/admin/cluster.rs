//! The cluster's brokers, and what lies in their log directories.

use std::collections::BTreeMap;

use ottla_io::Io;
use ottla_wire::{
    Str,
    messages::{
        DescribeClusterRequest, DescribeLogDirsRequest,
        describe_log_dirs_response::DescribeLogDirsResult,
    },
};

use super::{Admin, AdminError};
use crate::{error::BrokerError, metadata::Broker, types::TopicPartition};

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: Str,
    /// The broker to ask for what the controller decides.
    pub controller: Option<i32>,
    /// Its brokers, by id.
    pub brokers: Vec<Broker>,
}

/// A log directory of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    /// Its path.
    pub path: Str,
    /// Whether it can be used.
    pub state: Result<(), BrokerError>,
    /// The size of its disk in bytes; -1 where the broker does not tell.
    pub total_bytes: i64,
    /// How much of that is free; -1 where the broker does not tell.
    pub usable_bytes: i64,
    /// The partitions in it.
    pub replicas: BTreeMap<TopicPartition, LogDirReplica>,
}

/// A partition in a log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDirReplica {
    /// How many bytes its log takes.
    pub size: i64,
    /// How far it lags behind.
    pub offset_lag: i64,
    /// Whether it is on its way into this directory from another.
    pub is_future: bool,
}

impl<I: Io> Admin<I> {
    /// The cluster's id, controller and brokers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, AdminError> {
        let (_, response) = self.ask_any(|_| DescribeClusterRequest::default()).await?;
        BrokerError::check(response.error_code, response.error_message.as_deref())?;
        let mut brokers: Vec<Broker> = response
            .brokers
            .iter()
            .map(|b| Broker {
                id: b.broker_id,
                host: b.host.detach(),
                port: u16::try_from(b.port).unwrap_or(0),
                rack: b.rack.as_ref().map(Str::detach),
            })
            .collect();
        brokers.sort_by_key(|b| b.id);
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.detach(),
            controller: Some(response.controller_id).filter(|id| *id >= 0),
            brokers,
        })
    }

    /// The log directories of brokers.
    pub async fn describe_log_dirs(
        &self,
        brokers: &[i32],
    ) -> Result<BTreeMap<i32, Result<Vec<LogDir>, AdminError>>, AdminError> {
        let mut answers = BTreeMap::new();
        for &broker in brokers {
            // All partitions: null, not an empty list.
            let all = |_| DescribeLogDirsRequest {
                topics: None,
                ..Default::default()
            };
            let answer = self.ask_broker(broker, all).await.and_then(|response| {
                BrokerError::check(response.error_code, None)?;
                Ok(response.results.iter().map(LogDir::from).collect())
            });
            answers.insert(broker, answer);
        }
        Ok(answers)
    }
}

impl From<&DescribeLogDirsResult> for LogDir {
    fn from(dir: &DescribeLogDirsResult) -> Self {
        let mut replicas = BTreeMap::new();
        for topic in &dir.topics {
            for p in &topic.partitions {
                replicas.insert(
                    TopicPartition::new(topic.name.detach(), p.partition_index),
                    LogDirReplica {
                        size: p.partition_size,
                        offset_lag: p.offset_lag,
                        is_future: p.is_future_key,
                    },
                );
            }
        }
        Self {
            path: dir.log_dir.detach(),
            state: BrokerError::check(dir.error_code, None),
            total_bytes: dir.total_bytes,
            usable_bytes: dir.usable_bytes,
            replicas,
        }
    }
}
