//! A shard with a log and a clock of its own. A test reads: ask, let time pass, let the log become
//! durable, look at the answers.

extern crate std;

mod admin;
mod bounds;
mod membership;
mod model;
mod offsets;
mod replay;
mod statics;
mod timeouts;

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};

use bytes::Bytes;
use ottla_wire::{Str, Uuid};

use super::{request::*, *};
use crate::time::{Duration, Instant, Now, Timestamp};

const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;
const DELAY: Duration = Duration::from_millis(3_000);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A shard, what is durable of its log, and what it has answered.
struct Fixture {
    shard: GroupShard,
    config: GroupConfig,
    now: Now,
    /// The durable log, from its start.
    log: VecDeque<(i64, Record)>,
    next_offset: i64,
    /// Appends that are not durable yet.
    in_flight: VecDeque<(u64, Vec<Record>)>,
    /// Whether appends become durable at once.
    is_durable_at_once: bool,
    answers: BTreeMap<Ticket, Response>,
    next_ticket: u64,
}

impl Fixture {
    fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    fn with(config: GroupConfig) -> Self {
        let mut fixture = Self::loading(config);
        fixture.step(Input::LoadDone);
        fixture
    }

    fn loading(config: GroupConfig) -> Self {
        Self {
            shard: GroupShard::new(config.clone()),
            config,
            now: Now {
                monotonic: Instant(0),
                wall: Timestamp(1_000_000_000_000),
            },
            log: VecDeque::new(),
            next_offset: 0,
            in_flight: VecDeque::new(),
            is_durable_at_once: true,
            answers: BTreeMap::new(),
            next_ticket: 0,
        }
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.shard.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Append { sequence, records } => {
                    self.in_flight.push_back((sequence, records));
                }
                Output::Reply { ticket, response } => {
                    let earlier = self.answers.insert(ticket, response);
                    assert_eq!(earlier, None, "{ticket:?} is answered twice");
                }
                Output::AdvanceLogStart { offset } => {
                    assert!(
                        offset <= self.next_offset,
                        "the log's start is behind its end"
                    );
                    self.log.retain(|(at, _)| *at >= offset);
                }
            }
        }
        if self.is_durable_at_once {
            self.commit_all();
        }
    }

    /// The oldest append becomes durable.
    fn commit_one(&mut self) -> bool {
        let Some((sequence, records)) = self.in_flight.pop_front() else {
            return false;
        };
        let offset = self.next_offset;
        for record in records {
            self.log.push_back((self.next_offset, record));
            self.next_offset += 1;
        }
        self.step(Input::Committed { sequence, offset });
        true
    }

    fn commit_all(&mut self) {
        while self.commit_one() {}
    }

    /// The oldest append fails and leaves nothing.
    fn fail_one(&mut self, failure: AppendFailure) -> bool {
        let Some((sequence, _)) = self.in_flight.pop_front() else {
            return false;
        };
        self.step(Input::AppendFailed { sequence, failure });
        true
    }

    fn send_as(&mut self, client: &str, request: Request) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let client = Client {
            id: client.into(),
            host: "/127.0.0.1".into(),
        };
        self.step(Input::Request {
            ticket,
            client,
            request,
        });
        ticket
    }

    fn send(&mut self, request: Request) -> Ticket {
        self.send_as("client", request)
    }

    fn answer(&self, ticket: Ticket) -> Option<&Response> {
        self.answers.get(&ticket)
    }

    fn ask(&mut self, request: Request) -> Response {
        let ticket = self.send(request);
        self.answer(ticket).expect("an answer at once").clone()
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, span: Duration) {
        let end = self.now.monotonic.after(span);
        while let Some((at, _)) = self.shard.next_timer().filter(|(at, _)| *at <= end) {
            self.set_time(at.max(self.now.monotonic));
            self.step(Input::Timer);
        }
        self.set_time(end);
    }

    fn set_time(&mut self, at: Instant) {
        let passed = at.since(self.now.monotonic);
        self.now.monotonic = at;
        self.now.wall.0 += i64::try_from(passed.as_millis()).unwrap();
    }

    /// The broker dies; another one loads what is durable.
    fn crash(&mut self) {
        self.shard = GroupShard::new(self.config.clone());
        self.in_flight.clear();
        self.load_log();
    }

    fn load_log(&mut self) {
        for (offset, record) in self.log.clone() {
            self.step(Input::Loaded {
                record,
                offset,
                producer_id: None,
            });
        }
        self.step(Input::LoadDone);
    }

    fn state(&self, group: &str) -> Option<GroupState> {
        self.shard.groups.get(group).map(|g| g.classic.state())
    }

    fn generation(&self, group: &str) -> i32 {
        self.shard.groups[group].classic.generation
    }

    // Requests.

    fn join_request(&mut self, group: &str, member: &str) -> JoinGroup {
        self.next_ticket += 1;
        JoinGroup {
            group_id: group.into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: member.into(),
            protocol_type: "consumer".into(),
            protocols: alloc::vec![protocol("range", &["t"])],
            new_member_uuid: Uuid::from_parts(0, self.next_ticket),
            can_skip_assignment: true,
            ..JoinGroup::default()
        }
    }

    fn join(&mut self, group: &str, member: &str) -> Ticket {
        let request = self.join_request(group, member);
        self.send(Request::Join(request))
    }

    fn joined(&self, ticket: Ticket) -> JoinAnswer {
        match self.answer(ticket) {
            Some(Response::Join(answer)) => answer.clone(),
            other => panic!("{ticket:?}: no JoinGroup answer: {other:?}"),
        }
    }

    fn sync(&mut self, group: &str, joined: &JoinAnswer, assignments: &[(&str, &str)]) -> Ticket {
        let assignments = assignments
            .iter()
            .map(|(member, bytes)| (Str::from(*member), Bytes::copy_from_slice(bytes.as_bytes())))
            .collect();
        self.send(Request::Sync(SyncGroup {
            group_id: group.into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            assignments,
            ..SyncGroup::default()
        }))
    }

    fn synced(&self, ticket: Ticket) -> Result<String, GroupError> {
        match self.answer(ticket) {
            Some(Response::Sync(Ok(it))) => Ok(String::from_utf8(it.assignment.to_vec()).unwrap()),
            Some(Response::Sync(Err(error))) => Err(*error),
            other => panic!("{ticket:?}: no SyncGroup answer: {other:?}"),
        }
    }

    fn heartbeat(&mut self, group: &str, joined: &JoinAnswer) -> Result<(), GroupError> {
        match self.ask(Request::Heartbeat(Heartbeat {
            group_id: group.into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            ..Heartbeat::default()
        })) {
            Response::Heartbeat(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, group: &str, member: &str) -> Result<(), GroupError> {
        let members = alloc::vec![MemberIdentity {
            member_id: member.into(),
            group_instance_id: None
        }];
        match self.ask(Request::Leave(LeaveGroup {
            group_id: group.into(),
            members,
        })) {
            Response::Leave(Ok(results)) => results[0].1,
            Response::Leave(Err(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// A commit of one partition.
    fn commit_request(group: &str, by: Option<&JoinAnswer>, offset: i64) -> OffsetCommit {
        OffsetCommit {
            group_id: group.into(),
            generation_id: by.map_or(-1, |j| j.generation_id),
            member_id: by.map(|j| j.member_id.clone()).unwrap_or_default(),
            retention_time_ms: -1,
            topics: alloc::vec![CommitTopic {
                topic: TopicName {
                    name: "t".into(),
                    id: Uuid::ZERO
                },
                partitions: alloc::vec![CommitPartition {
                    partition: 0,
                    offset,
                    leader_epoch: 5,
                    metadata: Some("note".into()),
                }],
            }],
            ..OffsetCommit::default()
        }
    }

    fn commit(
        &mut self,
        group: &str,
        by: Option<&JoinAnswer>,
        offset: i64,
    ) -> Result<(), GroupError> {
        let ticket = self.send(Request::OffsetCommit(Self::commit_request(
            group, by, offset,
        )));
        self.committed(ticket)
    }

    fn committed(&self, ticket: Ticket) -> Result<(), GroupError> {
        match self.answer(ticket) {
            Some(Response::OffsetCommit(Ok(topics))) => match topics[0].partitions[0].1 {
                None => Ok(()),
                Some(error) => Err(error),
            },
            Some(Response::OffsetCommit(Err(error))) => Err(*error),
            other => panic!("{other:?}"),
        }
    }

    /// The offset of t-0 that is durable, whatever is under way.
    fn durable(&self, group: &str) -> i64 {
        let group = self.shard.groups.get(group);
        let offsets = group.and_then(|g| g.offsets.get("t"));
        offsets.and_then(|o| o.get(&0)).map_or(-1, |o| o.offset)
    }

    /// The offset of t-0, as OffsetFetch gives it.
    fn fetch(&mut self, group: &str) -> i64 {
        let request = OffsetFetch {
            group_id: group.into(),
            topics: Some(alloc::vec![(
                TopicName {
                    name: "t".into(),
                    id: Uuid::ZERO
                },
                alloc::vec![0]
            )]),
            require_stable: false,
        };
        match self.ask(Request::OffsetFetch(request)) {
            Response::OffsetFetch(Ok(topics)) => topics[0].partitions[0].offset,
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of this many members, the leader first. Each is assigned "p0", "p1", ...
    fn stable(&mut self, group: &str, members: usize) -> Vec<JoinAnswer> {
        let tickets: Vec<Ticket> = (0..members).map(|_| self.join(group, "")).collect();
        self.pass(DELAY + DELAY);
        self.sync_all(group, &tickets)
    }

    /// Syncs those who have joined; the leader comes first in what is returned.
    fn sync_all(&mut self, group: &str, tickets: &[Ticket]) -> Vec<JoinAnswer> {
        let mut joined: Vec<JoinAnswer> = tickets.iter().map(|t| self.joined(*t)).collect();
        joined.sort_by_key(|j| (j.leader != j.member_id, j.member_id.clone()));
        let parts: Vec<(String, String)> = joined
            .iter()
            .enumerate()
            .map(|(n, j)| (String::from(j.member_id.clone()), alloc::format!("p{n}")))
            .collect();
        let parts: Vec<(&str, &str)> = parts
            .iter()
            .map(|(member, part)| (member.as_str(), part.as_str()))
            .collect();
        for (n, member) in joined.clone().iter().enumerate() {
            let ticket = self.sync(group, member, if n == 0 { &parts } else { &[] });
            assert_eq!(self.synced(ticket), Ok(alloc::format!("p{n}")));
        }
        assert_eq!(self.state(group), Some(GroupState::Stable));
        joined
    }
}

/// An assignor with a consumer's subscription.
fn protocol(name: &str, topics: &[&str]) -> Protocol {
    let mut bytes = Vec::from([0, 0]);
    bytes.extend_from_slice(&u32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend_from_slice(&u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
    }
    Protocol {
        name: name.into(),
        metadata: bytes.into(),
    }
}
