//! The range assignor: each topic's partitions in order, dealt out in runs of nearly equal length.

use std::collections::BTreeMap;

use ottla_wire::Str;

use super::{Assignment, Subscription};
use crate::types::TopicPartition;

pub(super) fn assign(
    counts: &BTreeMap<Str, i32>,
    members: &BTreeMap<Str, Subscription>,
) -> Assignment {
    let mut assignment: Assignment = members.keys().map(|id| (id.clone(), Vec::new())).collect();
    // Static members come first, by their static id, so that a restart (which changes the member
    // id) changes nothing.
    let mut ordered: Vec<(&Str, &Subscription)> = members.iter().collect();
    ordered.sort_by_key(|(id, s)| match &s.instance_id {
        Some(instance) => (0, instance, *id),
        None => (1, *id, *id),
    });
    for (topic, &count) in counts {
        let readers: Vec<&Str> = ordered
            .iter()
            .filter(|(_, s)| s.topics.contains(topic))
            .map(|(id, _)| *id)
            .collect();
        let Ok(readers_len) = i32::try_from(readers.len()) else {
            continue;
        };
        if readers_len == 0 {
            continue;
        }
        let (each, extra) = (count / readers_len, count % readers_len);
        let mut next = 0;
        for (i, reader) in (0..readers_len).zip(readers) {
            let run = next..next + each + i32::from(i < extra);
            next = run.end;
            if let Some(partitions) = assignment.get_mut(reader) {
                partitions.extend(run.map(|p| TopicPartition::new(topic.clone(), p)));
            }
        }
    }
    assignment
}
