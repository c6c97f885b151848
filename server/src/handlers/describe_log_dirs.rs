//! DescribeLogDirs (35): the log directories, and what the partitions in them take (KIP-113, KIP-827).

use std::{collections::BTreeMap, sync::Arc};

use ottla_io::{Disk, Io};
use ottla_wire::{
    ErrorCode, Str,
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse,
        describe_log_dirs_response::{
            DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
        },
    },
};

use crate::{broker::Broker, context::RequestContext, storage::TopicPartition};

/// Answers a request. Without topics it is about all of them.
pub async fn handle<I: Io>(
    broker: &Arc<Broker<I>>,
    _context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let is_wanted = |name: &TopicPartition| {
        request.topics.as_ref().is_none_or(|topics| {
            topics.iter().any(|topic| {
                topic.topic.as_str() == name.topic.as_ref()
                    && topic.partitions.contains(&name.partition)
            })
        })
    };
    let mut results = Vec::new();
    for directory in broker.storage.directories() {
        let usable = broker.io.disk().free_space(&directory.path).await;
        let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
        for (name, size) in directory.partitions {
            let Some(size) = size.filter(|_| is_wanted(&name)) else {
                continue;
            };
            topics
                .entry(name.topic)
                .or_default()
                .push(DescribeLogDirsPartition {
                    partition_index: name.partition,
                    partition_size: i64::try_from(size).unwrap_or(i64::MAX),
                    ..Default::default()
                });
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic {
                name: Str::from(name.as_ref()),
                partitions,
                ..Default::default()
            });
        results.push(DescribeLogDirsResult {
            error_code: match usable {
                Ok(_) => ErrorCode::None,
                Err(_) => ErrorCode::KafkaStorageError,
            } as i16,
            log_dir: Str::from(directory.path.to_string_lossy().as_ref()),
            topics: topics.collect(),
            // The backend tells what is free, not how large the disk is: Kafka's "unknown".
            total_bytes: -1,
            usable_bytes: usable.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            ..Default::default()
        });
    }
    DescribeLogDirsResponse {
        results,
        ..Default::default()
    }
}
