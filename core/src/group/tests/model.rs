//! Random members, faults and time against one shard, with invariants after every event.
//!
//! The members behave as Kafka's clients do (join, sync, heartbeat, commit, give up after a
//! time-out), except that any of their requests may come at any time, old ones too. Appends become
//! durable late, fail, or are lost with the broker, which then loads what is durable. Each
//! invariant is a function of the [`History`] alone, so that the tests in [`falsified`] can hand each a
//! history that breaks it.

mod falsified;

use alloc::{collections::BTreeSet, format, vec};

use proptest::prelude::*;

use super::*;

const GROUPS: [&str; 2] = ["g", "h"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    /// This client does what it would do next.
    Act(usize),
    /// This client sends JoinGroup though it may be in a generation.
    Rejoin(usize),
    /// This client joins with another subscription.
    Resubscribe(usize, bool),
    /// This client leaves.
    Leave(usize),
    /// This client forgets who it is, as a restarted process does.
    Restart(usize),
    /// This client commits the next offset.
    Commit(usize),
    /// Somebody outside of the group commits.
    CommitFromOutside(usize),
    /// Somebody asks for the group's offset.
    Fetch(usize),
    /// Somebody deletes the group.
    Delete(usize),
    /// So many appends become durable.
    Durable(usize),
    /// The oldest append fails.
    Fail,
    /// Time passes.
    Pass(u64),
    /// The broker dies and another one loads the log.
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => (0..6usize).prop_map(Event::Act),
        2 => (0..6usize).prop_map(Event::Rejoin),
        2 => (0..6usize, any::<bool>()).prop_map(|(c, b)| Event::Resubscribe(c, b)),
        1 => (0..6usize).prop_map(Event::Leave),
        1 => (0..6usize).prop_map(Event::Restart),
        6 => (0..6usize).prop_map(Event::Commit),
        1 => (0..2usize).prop_map(Event::CommitFromOutside),
        2 => (0..2usize).prop_map(Event::Fetch),
        1 => (0..2usize).prop_map(Event::Delete),
        12 => (1..4usize).prop_map(Event::Durable),
        1 => Just(Event::Fail),
        6 => (1..6_000u64).prop_map(Event::Pass),
        1 => Just(Event::Crash),
    ]
}

/// What a client waits for, or what it is in.
#[derive(Clone, Debug)]
enum Doing {
    Nothing,
    Joining(Ticket),
    Joined(JoinAnswer),
    Syncing(Ticket, JoinAnswer),
    Member(JoinAnswer),
}

#[derive(Clone, Debug)]
struct Person {
    group: &'static str,
    instance: Option<Str>,
    member_id: Str,
    topics: &'static [&'static str],
    doing: Doing,
    since: Instant,
}

/// What the clients have seen.
#[derive(Clone, Debug, Default)]
struct History {
    /// An assignment that was handed out: group, its life, generation, member, and who decided it.
    assigned: Vec<(Str, u32, i32, Str, Str)>,
    /// A generation that someone was told of, in order: group, life and number.
    generations: Vec<(Str, u32, i32)>,
    /// Offsets that were acknowledged, in order of acknowledgement, and those that were read.
    offsets: Vec<Seen>,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Acknowledged(Str, i64),
    Read(Str, i64),
    /// The group was deleted, or a deletion may have happened.
    Deleted(Str),
}

/// All who have an assignment of one generation have it from the same decision.
fn one_decision_a_generation(history: &History) -> Result<(), String> {
    let mut decisions: BTreeMap<(Str, u32, i32), Str> = BTreeMap::new();
    for (group, life, generation, member, decision) in &history.assigned {
        let known = decisions
            .entry((group.clone(), *life, *generation))
            .or_insert_with(|| decision.clone());
        if known != decision {
            return Err(format!(
                "{group} {generation}: {member} has {decision}, others {known}"
            ));
        }
    }
    Ok(())
}

/// The generations that members are told of never go back in one life of the coordinator.
fn generations_are_monotone(history: &History) -> Result<(), String> {
    let mut last: BTreeMap<(Str, u32), i32> = BTreeMap::new();
    for (group, life, generation) in &history.generations {
        let before = last
            .insert((group.clone(), *life), *generation)
            .unwrap_or(0);
        if *generation < before {
            return Err(format!("{group}: generation {generation} after {before}"));
        }
    }
    Ok(())
}

/// What is read is never older than what was acknowledged.
fn acknowledged_commits_stay(history: &History) -> Result<(), String> {
    let mut floor: BTreeMap<Str, i64> = BTreeMap::new();
    for seen in &history.offsets {
        match seen {
            Seen::Acknowledged(group, offset) => {
                let floor = floor.entry(group.clone()).or_insert(-1);
                *floor = (*floor).max(*offset);
            }
            Seen::Deleted(group) => {
                floor.remove(group);
            }
            Seen::Read(group, offset) => {
                let acknowledged = floor.get(group).copied().unwrap_or(-1);
                if *offset < acknowledged {
                    return Err(format!(
                        "{group}: read {offset}, {acknowledged} was acknowledged"
                    ));
                }
            }
        }
    }
    Ok(())
}

type Invariant = fn(&History) -> Result<(), String>;

const INVARIANTS: [Invariant; 3] = [
    one_decision_a_generation,
    generations_are_monotone,
    acknowledged_commits_stay,
];

struct World {
    f: Fixture,
    people: Vec<Person>,
    history: History,
    /// Commits that wait: ticket, group and offset.
    committing: Vec<(Ticket, Str, i64)>,
    deleting: Vec<(Ticket, Str)>,
    fetching: Vec<(Ticket, Str)>,
    next_offset: i64,
    /// How many coordinators there have been: a generation that was never durable may come twice.
    crashes: u32,
    /// How often each group began anew.
    births: BTreeMap<Str, u32>,
    next_decision: u32,
}

impl World {
    fn new() -> Self {
        let mut f = Fixture::new();
        f.is_durable_at_once = false;
        let people = (0..6)
            .map(|n| Person {
                group: GROUPS[usize::from(n >= 4)],
                instance: (n % 3 == 2).then(|| Str::from(format!("static{n}"))),
                member_id: Str::new(),
                topics: &["t"],
                doing: Doing::Nothing,
                since: Instant(0),
            })
            .collect();
        Self {
            f,
            people,
            history: History::default(),
            committing: Vec::new(),
            deleting: Vec::new(),
            fetching: Vec::new(),
            next_offset: 0,
            crashes: 0,
            births: BTreeMap::new(),
            next_decision: 0,
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Act(who) => self.act(*who),
            Event::Rejoin(who) => self.join(*who),
            Event::Resubscribe(who, both) => {
                self.people[*who].topics = if *both { &["t", "u"] } else { &["t"] };
                self.join(*who);
            }
            Event::Leave(who) => {
                let person = self.people[*who].clone();
                if !person.member_id.is_empty() {
                    let _ = self.f.leave(person.group, &person.member_id);
                }
                self.forget(*who);
            }
            Event::Restart(who) => self.forget(*who),
            Event::Commit(who) => {
                if let Doing::Member(joined) = self.people[*who].doing.clone() {
                    self.commit(self.people[*who].group, Some(&joined));
                }
            }
            Event::CommitFromOutside(group) => self.commit(GROUPS[*group], None),
            Event::Fetch(group) => {
                let request = OffsetFetch {
                    group_id: GROUPS[*group].into(),
                    ..OffsetFetch::default()
                };
                let ticket = self.f.send(Request::OffsetFetch(request));
                self.fetching.push((ticket, GROUPS[*group].into()));
            }
            Event::Delete(group) => {
                let ticket = self.f.send(Request::Delete(GROUPS[*group].into()));
                self.deleting.push((ticket, GROUPS[*group].into()));
            }
            Event::Durable(count) => {
                for _ in 0..*count {
                    self.f.commit_one();
                    self.listen();
                }
            }
            Event::Fail => {
                self.f.fail_one(AppendFailure::NotAvailable);
            }
            Event::Pass(ms) => self.f.pass(Duration::from_millis(*ms)),
            Event::Crash => self.crash(),
        }
        self.listen();
    }

    fn forget(&mut self, who: usize) {
        let person = &mut self.people[who];
        (person.member_id, person.doing) = (Str::new(), Doing::Nothing);
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.f.crash();
        // Connections break: whoever waited asks again.
        for person in &mut self.people {
            match &person.doing {
                Doing::Joining(_) => person.doing = Doing::Nothing,
                Doing::Syncing(_, joined) => person.doing = Doing::Joined(joined.clone()),
                _ => {}
            }
        }
        self.committing.clear();
        self.fetching.clear();
        // A deletion that was under way may have been durable in part.
        for (_, group) in core::mem::take(&mut self.deleting) {
            self.history.offsets.push(Seen::Deleted(group));
        }
    }

    fn commit(&mut self, group: &str, by: Option<&JoinAnswer>) {
        self.next_offset += 1;
        let request = Fixture::commit_request(group, by, self.next_offset);
        let ticket = self.f.send(Request::OffsetCommit(request));
        self.committing
            .push((ticket, group.into(), self.next_offset));
    }

    fn join(&mut self, who: usize) {
        let person = self.people[who].clone();
        let request = JoinGroup {
            group_instance_id: person.instance.clone(),
            requires_member_id: true,
            can_skip_assignment: who.is_multiple_of(2),
            protocols: alloc::vec![protocol("range", person.topics)],
            ..self.f.join_request(person.group, &person.member_id)
        };
        let ticket = self.f.send(Request::Join(request));
        self.become_one(who, Doing::Joining(ticket));
    }

    fn become_one(&mut self, who: usize, doing: Doing) {
        self.people[who].doing = doing;
        self.people[who].since = self.f.now.monotonic;
    }

    /// A client's next step.
    fn act(&mut self, who: usize) {
        let person = self.people[who].clone();
        match person.doing {
            Doing::Nothing => self.join(who),
            Doing::Joined(joined) => {
                let mut assignments = Vec::new();
                if joined.leader == joined.member_id && !joined.skip_assignment {
                    self.next_decision += 1;
                    let decision = format!("{}", self.next_decision);
                    assignments = joined
                        .members
                        .iter()
                        .map(|m| (m.member_id.clone(), decision.clone()))
                        .collect();
                }
                let assignments: Vec<(&str, &str)> = assignments
                    .iter()
                    .map(|(m, d)| (&**m, d.as_str()))
                    .collect();
                let ticket = self.f.sync(person.group, &joined, &assignments);
                self.become_one(who, Doing::Syncing(ticket, joined));
            }
            Doing::Member(joined) => match self.f.heartbeat(person.group, &joined) {
                Ok(()) => {}
                Err(error) => self.refused(who, error),
            },
            Doing::Joining(_) | Doing::Syncing(..) => {}
        }
    }

    fn refused(&mut self, who: usize, error: GroupError) {
        match error {
            GroupError::UnknownMemberId | GroupError::FencedInstanceId => self.forget(who),
            GroupError::IllegalGeneration
            | GroupError::RebalanceInProgress
            | GroupError::CoordinatorNotAvailable
            | GroupError::MemberIdRequired => self.become_one(who, Doing::Nothing),
            other => panic!("no client expects {other:?}"),
        }
    }

    /// The clients take their answers.
    fn listen(&mut self) {
        let f = &self.f;
        let (history, births) = (&mut self.history, &mut self.births);
        self.committing
            .retain(|(ticket, group, offset)| match f.answer(*ticket) {
                Some(_) if f.committed(*ticket).is_ok() => {
                    history
                        .offsets
                        .push(Seen::Acknowledged(group.clone(), *offset));
                    false
                }
                Some(_) => false,
                None => true,
            });
        self.deleting
            .retain(|(ticket, group)| match f.answer(*ticket) {
                Some(Response::Delete(Ok(()))) => {
                    history.offsets.push(Seen::Deleted(group.clone()));
                    // A member may have come since: the group need not be missing now.
                    *births.entry(group.clone()).or_default() += 1;
                    false
                }
                Some(_) => false,
                None => true,
            });
        // Of what one append brought, the fetches see all.
        self.fetching
            .retain(|(ticket, group)| match f.answer(*ticket) {
                Some(Response::OffsetFetch(Ok(topics))) => {
                    let offset = topics.first().map_or(-1, |t| t.partitions[0].offset);
                    history.offsets.push(Seen::Read(group.clone(), offset));
                    false
                }
                Some(_) => false,
                None => true,
            });
        // A group of which nothing is left begins anew with its next member.
        for group in GROUPS.iter().filter(|group| f.state(group).is_none()) {
            *births.entry(Str::from(*group)).or_default() += 1;
        }
        for who in 0..self.people.len() {
            self.take_answer(who);
        }
    }

    fn take_answer(&mut self, who: usize) {
        let group = Str::from(self.people[who].group);
        match self.people[who].doing.clone() {
            Doing::Joining(ticket) if self.f.answer(ticket).is_some() => {
                let answer = self.f.joined(ticket);
                if let Some(error) = answer.error {
                    if error == GroupError::MemberIdRequired {
                        self.people[who].member_id = answer.member_id;
                    }
                    return self.refused(who, error);
                }
                self.people[who].member_id = answer.member_id.clone();
                let life = self.birth(&group).wrapping_mul(1_000) + self.crashes;
                self.history
                    .generations
                    .push((group, life, answer.generation_id));
                self.become_one(who, Doing::Joined(answer));
            }
            Doing::Syncing(ticket, joined) if self.f.answer(ticket).is_some() => {
                match self.f.synced(ticket) {
                    Ok(decision) => {
                        let birth = self.birth(&group);
                        self.history.assigned.push((
                            group,
                            birth,
                            joined.generation_id,
                            joined.member_id.clone(),
                            decision.into(),
                        ));
                        self.become_one(who, Doing::Member(joined));
                    }
                    Err(error) => self.refused(who, error),
                }
            }
            _ => {}
        }
    }

    fn birth(&self, group: &Str) -> u32 {
        self.births.get(group).copied().unwrap_or(0)
    }

    fn check(&mut self) -> Result<(), String> {
        for group in GROUPS {
            let offset = self.f.durable(group);
            self.history.offsets.push(Seen::Read(group.into(), offset));
        }
        INVARIANTS
            .iter()
            .try_for_each(|invariant| invariant(&self.history))?;
        self.no_request_waits_for_ever()?;
        self.the_log_gives_the_state_again()
    }

    /// Whoever waits is answered within the longest time-outs there are.
    fn no_request_waits_for_ever(&self) -> Result<(), String> {
        // The initial delay's extensions, a rebalance that static members hold up for a session
        // and again for a rebalance time-out, and a new member's five minutes.
        let bound = Duration::from_secs(60 + 10 + 60 + 300);
        for person in &self.people {
            let waits = matches!(person.doing, Doing::Joining(_) | Doing::Syncing(..));
            if waits && self.f.now.monotonic.since(person.since) > bound {
                return Err(format!("{person:?} waits"));
            }
        }
        Ok(())
    }

    /// A shard that loads the durable log knows what this one has as durable.
    fn the_log_gives_the_state_again(&self) -> Result<(), String> {
        let mut loaded = GroupShard::new(self.f.config.clone());
        let mut out = Vec::new();
        for (offset, record) in self.f.log.clone() {
            let input = Input::Loaded {
                record,
                offset,
                producer_id: None,
            };
            loaded.step(self.f.now, input, &mut out);
        }
        let durable = |shard: &GroupShard| {
            shard
                .live_records()
                .map(Result::unwrap)
                .map(|r| (r.key.to_vec(), r.value))
                .collect::<BTreeMap<_, _>>()
        };
        let (ours, theirs) = (durable(&self.f.shard), durable(&loaded));
        if ours == theirs {
            Ok(())
        } else {
            Err(format!("{ours:?} but the log says {theirs:?}"))
        }
    }

    /// Without faults, and with clients that do what they should, every group gets stable.
    fn settle(&mut self) -> Result<(), String> {
        // Each is heard of before a member can begin anew a group that went with it.
        while self.f.commit_one() {
            self.listen();
        }
        self.f.is_durable_at_once = true;
        for _ in 0..400 {
            for who in 0..self.people.len() {
                self.happen(&Event::Act(who));
            }
            self.happen(&Event::Pass(2_000));
        }
        self.check()?;
        for group in GROUPS {
            if self.f.state(group) != Some(GroupState::Stable) {
                return Err(format!(
                    "{group} is {:?}: {:?}",
                    self.f.state(group),
                    self.people
                ));
            }
            let here: BTreeSet<Str> = self
                .people
                .iter()
                .filter(|p| p.group == group)
                .map(|p| p.member_id.clone())
                .collect();
            let members: BTreeSet<Str> = self.f.shard.groups[group]
                .classic
                .member_ids()
                .into_iter()
                .collect();
            if here != members {
                return Err(format!("{group} has {members:?}, there are {here:?}"));
            }
        }
        if self.committing.is_empty() && self.fetching.is_empty() {
            Ok(())
        } else {
            Err("a commit or a fetch waits".into())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn groups_stay_sound_whatever_happens(
        events in proptest::collection::vec(event(), 1..250),
        rewrites in any::<bool>(),
    ) {
        let mut world = World::new();
        for (n, event) in events.iter().enumerate() {
            if rewrites && n % 40 == 39 {
                // As if the log had grown: the next quiet moment rewrites it.
                world.f.shard.size.log = usize::MAX / 2;
            }
            world.happen(event);
            world.check().map_err(TestCaseError::fail)?;
        }
        world.settle().map_err(TestCaseError::fail)?;
    }
}

/// The group was deleted, and began anew at once with the next JoinGroup: two lives, of which the
/// second may begin with the first generation, though no look between the two found no group.
#[test]
fn a_group_that_begins_anew_right_after_its_deletion_lives_again() {
    let mut world = World::new();
    for event in [
        Event::Rejoin(1),
        Event::Act(1),
        Event::Pass(3_000),
        Event::Act(0),
        Event::Act(0),
        Event::Resubscribe(1, false),
        Event::Pass(4_236),
        Event::Pass(5_764),
        Event::Act(0),
        Event::Delete(0),
    ] {
        world.happen(&event);
        assert_eq!(world.check(), Ok(()), "after {event:?}");
    }
    assert_eq!(world.f.state("g"), Some(GroupState::Dead));
    assert_eq!(world.settle(), Ok(()));
}
