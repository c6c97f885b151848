//! The cooperative sticky assignor (KIP-54, KIP-429): even shares, and as few moves as possible.
//!
//! With equal subscriptions everybody keeps what they hold up to an even share, and the rest is dealt
//! out in order, as Java does it. With differing subscriptions the rest
//! goes to the least loaded reader, and partitions move from the more to the less loaded until no
//! move helps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ottla_wire::Str;

use super::{Assignment, Subscription};
use crate::types::TopicPartition;

/// Assigns, then takes from each member what another still holds: that one must let go of it first,
/// which causes the rebalance in which it is given.
pub(super) fn assign_cooperatively(
    counts: &BTreeMap<Str, i32>,
    members: &BTreeMap<Str, Subscription>,
) -> Assignment {
    let owned = valid_owners(counts, members);
    let mut assignment = assign(counts, members);
    let mut holder: BTreeMap<&TopicPartition, &Str> = BTreeMap::new();
    for (member, partitions) in &owned {
        holder.extend(partitions.iter().map(|p| (p, member)));
    }
    for (member, partitions) in &mut assignment {
        partitions.retain(|p| holder.get(p).is_none_or(|h| *h == member));
    }
    assignment
}

/// Assigns evenly, keeping what members hold where that is fair.
pub(super) fn assign(
    counts: &BTreeMap<Str, i32>,
    members: &BTreeMap<Str, Subscription>,
) -> Assignment {
    let owned = valid_owners(counts, members);
    let mut subscriptions = members
        .values()
        .map(|m| m.topics.iter().collect::<BTreeSet<_>>());
    let first = subscriptions.next().unwrap_or_default();
    if subscriptions.all(|other| other == first) {
        let mut partitions = Vec::new();
        for topic in first {
            let count = counts.get(topic).copied().unwrap_or(0);
            partitions.extend((0..count).map(|p| TopicPartition::new(topic.clone(), p)));
        }
        assign_equals(partitions, owned)
    } else {
        assign_unequals(counts, members, owned)
    }
}

/// What each member holds, as far as it still exists, is still subscribed to, and is claimed by no
/// other member of the same or a later generation.
fn valid_owners(counts: &BTreeMap<Str, i32>, members: &BTreeMap<Str, Subscription>) -> Assignment {
    let mut claims: BTreeMap<&TopicPartition, Vec<(i32, &Str)>> = BTreeMap::new();
    for (member, subscription) in members {
        let generation = generation(subscription);
        for partition in &subscription.owned {
            let exists = counts
                .get(&partition.topic)
                .is_some_and(|n| (0..*n).contains(&partition.partition));
            if exists && subscription.topics.contains(&partition.topic) {
                claims
                    .entry(partition)
                    .or_default()
                    .push((generation, member));
            }
        }
    }
    let mut owned: Assignment = members.keys().map(|m| (m.clone(), Vec::new())).collect();
    for (partition, mut claimants) in claims {
        claimants.sort_by_key(|(generation, _)| -i64::from(*generation));
        claimants.dedup();
        let owner = match claimants[..] {
            [(_, owner)] => owner,
            [(newest, owner), (next, _), ..] if newest > next => owner,
            // Two claim it with equal right: neither can be believed.
            _ => continue,
        };
        if let Some(partitions) = owned.get_mut(owner) {
            partitions.push(partition.clone());
        }
    }
    owned
}

/// Consumers before KIP-792 tell their generation in the assignor's own bytes.
fn generation(subscription: &Subscription) -> i32 {
    if subscription.generation >= 0 {
        return subscription.generation;
    }
    let bytes = subscription
        .user_data
        .as_deref()
        .and_then(|b| b.first_chunk::<4>());
    bytes.map_or(-1, |b| i32::from_be_bytes(*b))
}

/// The bytes in which such consumers expect it.
pub(crate) fn user_data(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

/// All read the same topics: everybody gets the rounded-down share, and as many as needed one more.
fn assign_equals(partitions: Vec<TopicPartition>, owned: Assignment) -> Assignment {
    let members = owned.len().max(1);
    let (min, remainder) = (partitions.len() / members, partitions.len() % members);
    let mut above_min = 0;
    let mut below: VecDeque<Str> = VecDeque::new();
    let mut at_min: VecDeque<Str> = VecDeque::new();
    let mut assignment = Assignment::new();
    for (member, mut held) in owned {
        if held.len() < min {
            below.push_back(member.clone());
        } else if held.len() > min && above_min < remainder {
            held.truncate(min + 1);
            above_min += 1;
        } else {
            held.truncate(min);
            at_min.push_back(member.clone());
        }
        assignment.insert(member, held);
    }
    let kept: BTreeSet<TopicPartition> = assignment.values().flatten().cloned().collect();
    for partition in partitions.into_iter().filter(|p| !kept.contains(p)) {
        // In turn among those below their share; then one more each, while there is a remainder.
        let Some(member) = below.pop_front().or_else(|| at_min.pop_front()) else {
            break;
        };
        let Some(held) = assignment.get_mut(&member) else {
            continue;
        };
        held.push(partition);
        if held.len() < min {
            below.push_back(member);
        } else if held.len() == min {
            at_min.push_back(member);
        }
    }
    assignment
}

/// Members read different topics.
fn assign_unequals(
    counts: &BTreeMap<Str, i32>,
    members: &BTreeMap<Str, Subscription>,
    owned: Assignment,
) -> Assignment {
    let mut readers: BTreeMap<&Str, Vec<&Str>> = BTreeMap::new();
    for (member, subscription) in members {
        for topic in subscription.topics.iter().collect::<BTreeSet<_>>() {
            readers.entry(topic).or_default().push(member);
        }
    }
    let mut owner: BTreeMap<TopicPartition, Str> = BTreeMap::new();
    let mut load: BTreeMap<Str, usize> = members.keys().map(|m| (m.clone(), 0)).collect();
    for (member, partitions) in owned {
        load.insert(member.clone(), partitions.len());
        owner.extend(partitions.into_iter().map(|p| (p, member.clone())));
    }
    let before = owner.clone();
    let mut open: Vec<TopicPartition> = Vec::new();
    for (topic, count) in counts
        .iter()
        .filter(|(topic, _)| readers.contains_key(topic))
    {
        open.extend((0..*count).map(|p| TopicPartition::new(topic.clone(), p)));
    }
    let mut all = open.clone();
    open.retain(|p| !owner.contains_key(p));
    // Those with the fewest possible readers first: the others leave more room to even out.
    open.sort_by_key(|p| readers.get(&p.topic).map_or(0, Vec::len));
    for partition in open {
        if let Some(reader) = least_loaded(&readers, &load, &partition) {
            *load.entry(reader.clone()).or_default() += 1;
            owner.insert(partition, reader);
        }
    }
    all.sort_by_key(|p| readers.get(&p.topic).map_or(0, Vec::len));
    balance(&all, &readers, &before, &mut owner, &mut load);
    let mut assignment: Assignment = members.keys().map(|m| (m.clone(), Vec::new())).collect();
    for (partition, member) in owner {
        assignment.entry(member).or_default().push(partition);
    }
    assignment
}

fn least_loaded(
    readers: &BTreeMap<&Str, Vec<&Str>>,
    load: &BTreeMap<Str, usize>,
    partition: &TopicPartition,
) -> Option<Str> {
    let readers = readers.get(&partition.topic)?;
    readers
        .iter()
        .min_by_key(|r| (load.get(**r), **r))
        .map(|r| (*r).clone())
}

/// Moves partitions while one can go to a reader with at least two fewer. Each move makes the sum of
/// the squared loads smaller, so this ends.
fn balance(
    all: &[TopicPartition],
    readers: &BTreeMap<&Str, Vec<&Str>>,
    before: &BTreeMap<TopicPartition, Str>,
    owner: &mut BTreeMap<TopicPartition, Str>,
    load: &mut BTreeMap<Str, usize>,
) {
    let load_of =
        |load: &BTreeMap<Str, usize>, member: &Str| load.get(member).copied().unwrap_or(0);
    loop {
        let mut moved = false;
        // What is new here moves before what was here already.
        for new_only in [true, false] {
            for partition in all {
                let Some(from) = owner.get(partition).cloned() else {
                    continue;
                };
                if new_only && before.get(partition) == Some(&from) {
                    continue;
                }
                let Some(to) = least_loaded(readers, load, partition) else {
                    continue;
                };
                if load_of(load, &from) < load_of(load, &to) + 2 {
                    continue;
                }
                // Back to where it was, if that helps as well.
                let back = before
                    .get(partition)
                    .filter(|b| load_of(load, b) + 2 <= load_of(load, &from));
                let to = back.cloned().unwrap_or(to);
                *load.entry(from).or_default() -= 1;
                *load.entry(to.clone()).or_default() += 1;
                owner.insert(partition.clone(), to);
                moved = true;
            }
        }
        if !moved {
            return;
        }
    }
}
