//! DescribeLogDirs (35): the log directories, and what the partitions in them take (KIP-113, KIP-827).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
    let wanted: Option<BTreeSet<(&str, i32)>> = request.topics.as_ref().map(|topics| {
        let partitions = topics.iter().flat_map(|topic| {
            let name = topic.topic.as_str();
            topic.partitions.iter().map(move |index| (name, *index))
        });
        partitions.collect()
    });
    // The metadata log is no topic to clients.
    let is_wanted = |name: &TopicPartition| {
        let name = (name.topic.as_ref(), name.partition);
        name.0 != "__cluster_metadata"
            && wanted.as_ref().is_none_or(|wanted| wanted.contains(&name))
    };
    let mut results = Vec::new();
    for directory in broker.storage.directories() {
        let disk = broker.io.disk();
        let space = match disk.free_space(&directory.path).await {
            Ok(usable) => disk
                .total_space(&directory.path)
                .await
                .map(|total| (total, usable)),
            Err(error) => Err(error),
        };
        let as_told = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let (total_bytes, usable_bytes) = space.as_ref().map_or((-1, -1), |&(total, usable)| {
            (as_told(total), as_told(usable))
        });
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
                    partition_size: as_told(size),
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
            error_code: match space {
                Ok(_) => ErrorCode::None,
                Err(_) => ErrorCode::KafkaStorageError,
            } as i16,
            log_dir: Str::from(directory.path.to_string_lossy().as_ref()),
            topics: topics.collect(),
            total_bytes,
            usable_bytes,
            ..Default::default()
        });
    }
    DescribeLogDirsResponse {
        results,
        ..Default::default()
    }
}
