//! What every assignment must be, whoever joins with whatever they say.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::Str;
use proptest::prelude::*;

use super::{Assignment, Assignor, Subscription, sticky};
use crate::types::TopicPartition;

type Counts = BTreeMap<Str, i32>;
type Members = BTreeMap<Str, Subscription>;

fn topic(n: usize) -> Str {
    format!("t{n}").into()
}

/// Topics with partitions; members that each want some of them. `same` has all want all.
fn groups(same: bool) -> impl Strategy<Value = (Counts, Members)> {
    let counts = prop::collection::vec(0..7i32, 1..5);
    let wants = prop::collection::vec(any::<u8>(), 1..7);
    (counts, wants).prop_map(move |(counts, wants)| {
        let counts: Counts = (0..).map(topic).zip(counts).collect();
        let member = |(i, wants): (usize, u8)| {
            let wanted = counts
                .keys()
                .enumerate()
                .filter(|(at, _)| same || wants & (1 << at) != 0);
            let subscription = Subscription {
                topics: wanted.map(|(_, t)| t.clone()).collect(),
                generation: -1,
                ..Subscription::default()
            };
            (format!("m{i}").into(), subscription)
        };
        let members = wants.into_iter().enumerate().map(member).collect();
        (counts, members)
    })
}

/// The members come back, holding what they were given.
fn holding(members: &Members, assignment: &Assignment, generation: i32) -> Members {
    let mut members = members.clone();
    for (id, member) in &mut members {
        member.owned = assignment.get(id).cloned().unwrap_or_default();
        member.generation = generation;
    }
    members
}

fn all_wanted(counts: &Counts, members: &Members) -> BTreeSet<TopicPartition> {
    let wanted: BTreeSet<&Str> = members.values().flat_map(|m| &m.topics).collect();
    let partitions = |(t, n): (&Str, &i32)| {
        let t = t.clone();
        (0..*n).map(move |p| TopicPartition::new(t.clone(), p))
    };
    counts
        .iter()
        .filter(|(t, _)| wanted.contains(t))
        .flat_map(partitions)
        .collect()
}

/// Each partition that somebody wants has one reader, who wants it.
fn check_complete(counts: &Counts, members: &Members, assignment: &Assignment) {
    let given: Vec<&TopicPartition> = assignment.values().flatten().collect();
    let distinct: BTreeSet<TopicPartition> = given.iter().map(|p| (*p).clone()).collect();
    assert_eq!(given.len(), distinct.len(), "given twice: {assignment:?}");
    assert_eq!(distinct, all_wanted(counts, members), "{assignment:?}");
    assert!(assignment.keys().eq(members.keys()));
    for (id, partitions) in assignment {
        let wants = &members[id].topics;
        assert!(partitions.iter().all(|p| wants.contains(&p.topic)));
    }
}

/// No partition can go to somebody who has at least two fewer.
fn check_balanced(members: &Members, assignment: &Assignment) {
    for (from, partitions) in assignment {
        for partition in partitions {
            for (to, others) in assignment {
                let may = members[to].topics.contains(&partition.topic);
                assert!(
                    !may || others.len() + 2 > partitions.len(),
                    "{partition} from {from} to {to}: {assignment:?}"
                );
            }
        }
    }
}

/// As many as members with differing subscriptions may need; two are enough where all read the same.
const ROUNDS: usize = 4;

/// Cooperative rounds until nobody has to give anything up; how many there were.
fn settle(counts: &Counts, members: &Members, generation: i32) -> (Assignment, usize) {
    let mut members = members.clone();
    for round in 1..=ROUNDS {
        let now = Assignor::CooperativeSticky.assign(counts, &members);
        for (id, given) in &now {
            for (other, member) in members.iter().filter(|(other, _)| *other != id) {
                assert!(
                    !given.iter().any(|p| member.owned.contains(p)),
                    "{id} was given what {other} still holds"
                );
            }
        }
        let gives_up =
            |(id, member): (&Str, &Subscription)| member.owned.iter().any(|p| !now[id].contains(p));
        let again = members.iter().any(gives_up);
        if !again {
            return (now, round);
        }
        members = holding(&members, &now, generation + round as i32);
    }
    panic!("it does not settle: {members:?}");
}

proptest! {
    #[test]
    fn range_gives_every_partition_to_one_who_wants_it_in_runs_of_like_length(
        (counts, members) in prop_oneof![groups(true), groups(false)],
    ) {
        let assignment = Assignor::Range.assign(&counts, &members);
        check_complete(&counts, &members, &assignment);
        for topic in counts.keys() {
            let runs: Vec<Vec<i32>> = members
                .iter()
                .filter(|(_, m)| m.topics.contains(topic))
                .map(|(id, _)| {
                    let of_topic = assignment[id].iter().filter(|p| p.topic == *topic);
                    of_topic.map(|p| p.partition).collect()
                })
                .collect();
            // Runs of the members in their order make up the topic in its order, the longer first.
            prop_assert!(runs.concat().is_sorted());
            prop_assert!(runs.windows(2).all(|two| two[0].len() >= two[1].len()));
            let (longest, shortest) = (runs.first(), runs.last());
            prop_assert!(longest.map_or(0, Vec::len) <= shortest.map_or(0, Vec::len) + 1);
        }
    }

    #[test]
    fn sticky_is_complete_and_balanced_and_moves_nothing_when_nothing_changed(
        (counts, members) in prop_oneof![groups(true), groups(false)],
    ) {
        let first = sticky::assign(&counts, &members);
        check_complete(&counts, &members, &first);
        check_balanced(&members, &first);
        let sets = |a: &Assignment| -> Vec<BTreeSet<TopicPartition>> {
            a.values().map(|p| p.iter().cloned().collect()).collect()
        };
        let again = sticky::assign(&counts, &holding(&members, &first, 1));
        prop_assert_eq!(sets(&first), sets(&again));
    }

    #[test]
    fn when_a_member_goes_the_others_keep_what_they_have(
        (counts, members) in groups(true),
        who in any::<prop::sample::Index>(),
    ) {
        let (first, _) = settle(&counts, &members, 1);
        let mut left = holding(&members, &first, 10);
        let gone = left.keys().nth(who.index(left.len())).cloned().unwrap();
        left.remove(&gone);
        if left.is_empty() {
            return Ok(());
        }
        let (second, _) = settle(&counts, &left, 10);
        check_complete(&counts, &left, &second);
        check_balanced(&left, &second);
        for (id, member) in &left {
            prop_assert!(member.owned.iter().all(|p| second[id].contains(p)), "{id}");
        }
    }

    #[test]
    fn when_members_come_and_topics_grow_it_settles_complete_and_balanced(
        (counts, members) in prop_oneof![groups(true), groups(false)],
        grown in 0..4i32,
        newcomer_wants in any::<u8>(),
    ) {
        let (first, rounds) = settle(&counts, &members, 1);
        prop_assert_eq!(rounds, 1);
        let mut more = holding(&members, &first, 10);
        let counts: Counts = counts.into_iter().map(|(t, n)| (t, n + grown)).collect();
        let wanted = counts.keys().enumerate();
        let wanted = wanted.filter(|(at, _)| newcomer_wants & (1 << at) != 0);
        more.insert("new".into(), Subscription {
            topics: wanted.map(|(_, t)| t.clone()).collect(),
            generation: -1,
            ..Subscription::default()
        });
        let (second, rounds) = settle(&counts, &more, 10);
        let mut wanted = more.values().map(|m| &m.topics);
        let first = wanted.next();
        let same = wanted.all(|topics| Some(topics) == first);
        prop_assert!(rounds <= if same { 2 } else { ROUNDS }, "{rounds} rounds");
        check_complete(&counts, &more, &second);
        check_balanced(&more, &second);
    }

    #[test]
    fn what_members_wrongly_claim_to_hold_changes_nothing_of_that(
        (counts, mut members) in prop_oneof![groups(true), groups(false)],
        claims in prop::collection::vec((any::<prop::sample::Index>(), 0..6usize, 0..9i32, -1..3i32), 0..30),
    ) {
        let ids: Vec<Str> = members.keys().cloned().collect();
        for (who, of, partition, generation) in claims {
            let member = members.get_mut(&ids[who.index(ids.len())]).unwrap();
            member.owned.push(TopicPartition::new(topic(of), partition));
            member.generation = generation;
        }
        let assignment = sticky::assign(&counts, &members);
        check_complete(&counts, &members, &assignment);
        check_balanced(&members, &assignment);
    }
}
