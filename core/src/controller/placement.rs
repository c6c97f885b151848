//! Which brokers hold a new partition.
//!
//! Replicas go round the brokers in turns, from a start that the request's seed gives, active
//! brokers before fenced ones, so that load and leadership spread evenly.

use alloc::string::String;
use alloc::vec::Vec;

use ottla_wire::Uuid;

use super::random::Seed;
use crate::metadata::{MetadataImage, PartitionImage};

/// The replicas of `count` new partitions, or why there cannot be that many each.
pub(super) fn place(
    image: &MetadataImage,
    count: usize,
    replication_factor: i16,
    seed: &mut Seed,
) -> Result<Vec<Vec<i32>>, String> {
    let factor = usize::try_from(replication_factor).unwrap_or(0);
    let active: Vec<i32> = image
        .brokers()
        .filter(|b| b.is_active())
        .map(|b| b.id)
        .collect();
    let fenced: Vec<i32> = image
        .brokers()
        .filter(|b| !b.is_active())
        .map(|b| b.id)
        .collect();
    let total = active.len() + fenced.len();
    if active.is_empty() {
        return Err("All brokers are currently fenced.".into());
    }
    if factor > total {
        return Err(alloc::format!(
            "The target replication factor of {factor} cannot be reached because only {total} \
             broker(s) are registered."
        ));
    }
    let (mut turn, mut fenced_turn) = (seed.below(active.len()), 0);
    let mut placed = Vec::with_capacity(count);
    for _ in 0..count {
        let round = |list: &[i32], from: usize, many: usize| -> Vec<i32> {
            list.iter()
                .cycle()
                .skip(from % list.len().max(1))
                .take(many)
                .copied()
                .collect()
        };
        let mut replicas = round(&active, turn, factor.min(active.len()));
        replicas.extend(round(&fenced, fenced_turn, factor - replicas.len()));
        turn += 1;
        fenced_turn += 1;
        placed.push(replicas);
    }
    Ok(placed)
}

/// A new partition held by `replicas`; `None` if none of them may lead.
pub(super) fn new_partition(image: &MetadataImage, replicas: &[i32]) -> Option<PartitionImage> {
    let is_active = |id: &i32| image.broker(*id).is_some_and(|b| b.is_active());
    let isr: Vec<i32> = replicas.iter().copied().filter(is_active).collect();
    let leader = *isr.first()?;
    Some(PartitionImage {
        replicas: replicas.into(),
        directories: replicas
            .iter()
            .map(|&id| default_directory(image, id))
            .collect(),
        isr: isr.into(),
        removing_replicas: [].into(),
        adding_replicas: [].into(),
        eligible_leader_replicas: [].into(),
        last_known_elr: [].into(),
        leader,
        recovering: false,
        leader_epoch: 0,
        partition_epoch: 0,
    })
}

/// Where a broker will put a new replica: known if it has one directory, its own choice otherwise.
fn default_directory(image: &MetadataImage, broker: i32) -> Uuid {
    match image.broker(broker).map(|b| b.log_dirs.as_slice()) {
        Some([only]) => *only,
        Some([]) | None => Uuid::MIGRATING_DIR,
        Some(_) => Uuid::UNASSIGNED_DIR,
    }
}
