//! The stage of a run: its nodes, and the acts in order.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{Either, FutureExt, join_all, select};
use ottla_client::admin::{Admin, NewTopic};
use ottla_io::Spawn;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::faults::Conditions;
use crate::{
    event::{NodeId, TopicPartition, What, Work},
    io::SimIo,
    net::Link,
    scenario::{Fault, Scenario},
    server::Server,
    workload::{
        consumer::{self, ConsumerPlan},
        member::{self, GroupProgress, MemberPlan, Signals},
        producer::{self, ProducerPlan},
        raw::{FetchError, Fetched, RawClient},
    },
    world::{Node, World},
};

/// How long the broker may take to serve after its start, and an admin to be answered.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// How long a group may take to settle and read the rest: a session, a rebalance that waits for a
/// stalled member, and a slow reader of what the others left (three records a poll, one small
/// segment a fetch, a fetch held up by partitions without news).
const GROUP_PATIENCE: Duration = Duration::from_secs(180);
/// How often something is refused before it is taken for an answer.
const REFUSALS_MIN: u32 = 20;
/// The group of all readers.
const READERS: &str = "readers";
/// The group that divides the partitions among its members.
const MEMBERS: &str = "members";

/// The nodes of a run. Clones are the same stage.
#[derive(Clone)]
pub(super) struct Stage {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    scenario: Scenario,
    server: Server,
    clients: BTreeMap<String, Client>,
    judge: Node,
    process_faults: AsyncMutex<()>,
    conditions: Conditions,
    stop: watch::Sender<bool>,
    stop_consumers: watch::Sender<bool>,
    progress: GroupProgress,
}

/// A client's node: what it runs is started again after each of its faults.
struct Client {
    node: Node,
    index: u32,
    role: Role,
    lives: Mutex<u32>,
    done: watch::Sender<bool>,
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Produces,
    Reads,
    TakesPart,
}

/// Which of the two last readings of everything.
#[derive(Clone, Copy)]
enum Reading {
    /// With nothing else going on: what the checkers take for the truth.
    Final,
    /// After one more loss of power.
    Again,
}

impl Reading {
    fn record(self, partition: &TopicPartition, fetched: Fetched) -> Work {
        let (partition, offset, contents) = (partition.clone(), fetched.offset, fetched.contents);
        match self {
            Self::Final => Work::Final {
                partition,
                offset,
                contents,
            },
            Self::Again => Work::Again {
                partition,
                offset,
                contents,
            },
        }
    }

    fn end(self, partition: &TopicPartition, offset: i64) -> Work {
        let partition = partition.clone();
        match self {
            Self::Final => Work::FinalEnd { partition, offset },
            Self::Again => Work::AgainEnd { partition, offset },
        }
    }
}

impl Role {
    fn of(node: &str) -> Self {
        match node.trim_end_matches(|letter: char| letter.is_ascii_digit()) {
            "producer" => Self::Produces,
            "member" => Self::TakesPart,
            _ => Self::Reads,
        }
    }
}

impl Stage {
    pub(super) fn new(world: World, scenario: Scenario) -> Self {
        let server = Server::new(&world, &scenario.cluster);
        let mut clients = BTreeMap::new();
        for name in scenario.node_names().into_iter().skip(1) {
            let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
            let client = Client {
                node: world.add_node(&name, 0),
                index: digits.parse().unwrap_or(0),
                role: Role::of(&name),
                lives: Mutex::new(0),
                done: watch::channel(false).0,
            };
            clients.insert(name, client);
        }
        let judge = world.add_node("judge", 0);
        let process_faults = AsyncMutex::new(());
        let (stop, stop_consumers) = (watch::channel(false).0, watch::channel(false).0);
        let inner = Inner {
            world,
            scenario,
            server,
            clients,
            judge,
            process_faults,
            conditions: Conditions::default(),
            stop,
            stop_consumers,
            progress: GroupProgress::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(super) fn world(&self) -> &World {
        &self.inner.world
    }

    pub(super) fn server(&self) -> &Server {
        &self.inner.server
    }

    pub(super) fn process_faults(&self) -> &AsyncMutex<()> {
        &self.inner.process_faults
    }

    pub(super) fn conditions(&self) -> &Conditions {
        &self.inner.conditions
    }

    /// The node of a name; the broker's for one that no client has.
    pub(super) fn node(&self, name: &str) -> &Node {
        let client = self.inner.clients.get(name).map(|client| &client.node);
        client.unwrap_or_else(|| self.server().node())
    }

    pub(super) fn links_to(&self, node: NodeId) -> Vec<Link> {
        let others = self.others(node).into_iter();
        others.map(|from| Link { from, to: node }).collect()
    }

    pub(super) fn links_from(&self, node: NodeId) -> Vec<Link> {
        let others = self.others(node).into_iter();
        others.map(|to| Link { from: node, to }).collect()
    }

    /// Both directions between a node and every other.
    pub(super) fn links_of(&self, name: &str) -> Vec<Link> {
        let node = self.node(name).id();
        [self.links_to(node), self.links_from(node)].concat()
    }

    pub(super) fn all_nodes(&self) -> Vec<NodeId> {
        let clients = self.inner.clients.values().map(|client| client.node.id());
        clients
            .chain([self.server().node().id(), self.inner.judge.id()])
            .collect()
    }

    pub(super) fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.all_nodes()
            .into_iter()
            .filter(|other| *other != node)
            .collect()
    }

    /// The whole run.
    pub(super) async fn play(&self) {
        self.server().start();
        let watcher = madsim::task::spawn(self.clone().keep_running());
        if self.wait_until_ready().await && self.make_topics().await {
            for client in self.inner.clients.values() {
                self.start_client(client);
            }
            self.trouble().await;
            if self.finish().await {
                self.last_act().await;
            }
        }
        watcher.abort();
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        let topics = self.inner.scenario.topics.iter();
        topics
            .flat_map(|topic| {
                let name: Arc<str> = topic.name.as_str().into();
                (0..topic.partitions).map(move |partition| TopicPartition {
                    topic: Arc::clone(&name),
                    partition,
                })
            })
            .collect()
    }

    /// An operator who starts the broker again when it could not start: a full disk may refuse it
    /// for a while.
    async fn keep_running(self) {
        loop {
            self.world().clock().sleep(Duration::from_secs(1)).await;
            let _up = self.process_faults().lock().await;
            if self.server().failure().is_some() {
                self.server().start();
            }
        }
    }

    pub(super) async fn wait_until_ready(&self) -> bool {
        let clock = self.world().clock();
        let deadline = clock.now() + READY_PATIENCE.as_nanos() as u64;
        while !self.server().is_ready() {
            if clock.now() > deadline {
                let why = self
                    .server()
                    .failure()
                    .unwrap_or_else(|| "it only hangs".to_owned());
                if self.inner.scenario.expect.damaged && self.server().failure().is_some() {
                    self.tell(None, why.clone());
                }
                self.stuck(format!(
                    "the broker does not serve within {READY_PATIENCE:?}: {why}"
                ));
                return false;
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
        true
    }

    pub(super) async fn make_topics(&self) -> bool {
        let io = self.inner.judge.start();
        let Some(admin) = consumer::admin(io, &self.server().bootstrap()) else {
            return false;
        };
        for topic in &self.inner.scenario.topics {
            let mut wanted = NewTopic::new(topic.name.as_str(), topic.partitions, 1);
            for (key, value) in &topic.config {
                wanted = wanted.config(key.as_str(), value.as_str());
            }
            if let Err(error) = admin.create_topic(wanted).await {
                self.stuck(format!("topic {} is not created: {error}", topic.name));
                return false;
            }
        }
        true
    }

    fn start_client(&self, client: &Client) {
        let io = client.node.start();
        let number = {
            let mut lives = client.lives.lock().unwrap_or_else(PoisonError::into_inner);
            *lives += 1;
            client.index * 1000 + *lives
        };
        let random = self
            .world()
            .random(&format!("workload {} {number}", client.node.name()));
        let recorder = self.world().recorder().clone();
        let bootstrap = self.server().bootstrap();
        let done = client.done.clone();
        let workload = &self.inner.scenario.workload;
        let stop = match client.role {
            Role::Produces => self.inner.stop.subscribe(),
            Role::Reads | Role::TakesPart => self.inner.stop_consumers.subscribe(),
        };
        let task = match client.role {
            Role::Produces => {
                let plan = ProducerPlan {
                    number,
                    bootstrap,
                    partitions: self.partitions(),
                    payload_bytes_max: u64::from(workload.payload_bytes_max),
                    pause_max: workload.pause_max.0,
                };
                producer::produce(io.clone(), recorder, plan, random, stop).boxed()
            }
            Role::Reads => {
                let readers = workload.consumers.max(1);
                let own = |index: usize| index as u32 % readers == (client.index - 1) % readers;
                let partitions = self.partitions().into_iter().enumerate();
                let partitions = partitions.filter(|(index, _)| own(*index));
                let plan = ConsumerPlan {
                    number,
                    group: READERS.into(),
                    bootstrap,
                    partitions: partitions.map(|(_, one)| one).collect(),
                };
                consumer::consume(io.clone(), recorder, plan, random, stop).boxed()
            }
            Role::TakesPart => {
                let topics = self.inner.scenario.topics.iter();
                let plan = MemberPlan {
                    // Room for many memberships of each life, apart from the readers' numbers.
                    number: 1_000_000 + number * 1000,
                    group: MEMBERS.into(),
                    bootstrap,
                    topics: topics.map(|topic| topic.name.clone()).collect(),
                    assignors: workload.assignor.assignors(),
                };
                let progress = self.inner.progress.clone();
                let signals = Signals {
                    settle: self.inner.stop.subscribe(),
                    stop,
                };
                member::take_part(io.clone(), recorder, plan, progress, random, signals).boxed()
            }
        };
        let task = async move {
            task.await;
            done.send_replace(true);
        };
        io.spawn_detached("workload", task.boxed());
    }

    pub(super) async fn client_down(&self, fault: &Fault, loses_power: bool) {
        let Some(client) = self.inner.clients.get(&fault.node) else {
            return;
        };
        if client.node.process().is_none() {
            return;
        }
        if loses_power {
            client.node.lose_power();
        } else {
            client.node.kill();
        }
        self.world().clock().sleep(fault.lasts.0).await;
        self.start_client(client);
    }

    /// The faults, each at its time, and the rest of the duration.
    async fn trouble(&self) {
        let scenario = &self.inner.scenario;
        let mut random = self.world().random("faults");
        let begun = self.world().clock().now();
        let at = |after: Duration| begun + after.as_nanos() as u64;
        let mut under_way = Vec::new();
        for fault in scenario.schedule(&mut random) {
            self.world().clock().sleep_until(at(fault.at.0)).await;
            let stage = self.clone();
            under_way.push(madsim::task::spawn(
                async move { stage.befall(fault).await },
            ));
        }
        self.world()
            .clock()
            .sleep_until(at(scenario.workload.duration.0))
            .await;
        // What overlaps must not undo the healing: each ends by itself first.
        join_all(under_way).await;
        self.heal();
    }

    /// Everything outstanding ends; then the logs and commits are read. False if they cannot be.
    async fn finish(&self) -> bool {
        let within = self.inner.scenario.expect.within.0;
        if !self.wait_until_ready().await {
            return false;
        }
        if self.inner.scenario.workload.members > 1 {
            self.lose_a_member_for_good();
            // Some of what is written now falls to its partitions.
            self.world().clock().sleep(Duration::from_secs(1)).await;
        }
        self.inner.stop.send_replace(true);
        let produced = self.all_done(|role| role == Role::Produces);
        if !self.in_time(within, produced).await {
            self.stuck(format!(
                "a producer is not done {within:?} after the faults ended"
            ));
        }
        // Readers get a while to see what was written last, a group until it has read everything.
        self.world().clock().sleep(Duration::from_secs(3)).await;
        if self.inner.scenario.workload.members > 0
            && !self
                .in_time(GROUP_PATIENCE, self.group_has_read_everything())
                .await
        {
            self.stuck(format!(
                "the members of {MEMBERS} have not read everything {GROUP_PATIENCE:?} after the last was written"
            ));
        }
        self.inner.stop_consumers.send_replace(true);
        let consumed = self.all_done(|role| role != Role::Produces);
        if !self.in_time(within, consumed).await {
            self.stuck(format!(
                "a consumer is not done {within:?} after the faults ended"
            ));
        }
        self.read_in_time(Reading::Final).await
    }

    /// The broker goes down once more with nothing under way: what was read must be there again.
    async fn last_act(&self) {
        let mut random = self.world().random("last act");
        let _up = self.process_faults().lock().await;
        match random.index(3) {
            0 => self.server().kill(),
            1 => self.stop_server().await,
            _ => {}
        }
        self.server().lose_power();
        self.world().clock().sleep(Duration::from_millis(500)).await;
        self.server().start();
        if self.wait_until_ready().await {
            self.read_in_time(Reading::Again).await;
        }
    }

    async fn read_in_time(&self, reading: Reading) -> bool {
        let within = self.inner.scenario.expect.within.0;
        let read = self.in_time(within, self.read_everything(reading)).await;
        if !read {
            self.stuck(format!("the logs cannot be read within {within:?}"));
        }
        read
    }

    async fn all_done(&self, wanted: fn(Role) -> bool) {
        let clients = self.inner.clients.values();
        for client in clients.filter(|client| wanted(client.role)) {
            // The sender lives as long as the stage.
            let _ = client.done.subscribe().wait_for(|done| *done).await;
        }
    }

    /// One that dies without a word and never comes back: the others must take over its part.
    fn lose_a_member_for_good(&self) {
        if let Some(client) = self.inner.clients.get("member1") {
            client.node.kill();
            client.done.send_replace(true);
        }
    }

    async fn group_has_read_everything(&self) {
        let clock = self.world().clock();
        let io = self.inner.judge.start();
        let mut raw = RawClient::new(io, self.server().bootstrap());
        for partition in self.partitions() {
            let mut refusals = 0;
            let end = loop {
                match raw.fetch(&partition, 0, Duration::ZERO).await {
                    Ok(page) => break page.high_watermark,
                    Err(error) => {
                        refusals += u32::from(matches!(error, FetchError::Refused(_)));
                        if self.is_told(refusals, &partition, &format!("{error:?}")) {
                            break 0;
                        }
                        clock.sleep(Duration::from_millis(500)).await;
                    }
                }
            };
            while !self.inner.progress.has_reached(&partition, end) {
                clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn read_everything(&self, reading: Reading) {
        let recorder = self.world().recorder();
        let judge = self.inner.judge.id();
        let io = self.inner.judge.start();
        let mut raw = RawClient::new(io.clone(), self.server().bootstrap());
        let Some(admin) = consumer::admin(io, &self.server().bootstrap()) else {
            return;
        };
        self.server().note_cuts();
        for partition in self.partitions() {
            let mut offset = 0;
            let mut refusals = 0;
            loop {
                let page = match raw.fetch(&partition, offset, Duration::ZERO).await {
                    Ok(page) => page,
                    Err(error) => {
                        refusals += u32::from(matches!(error, FetchError::Refused(_)));
                        if self.is_told(refusals, &partition, &format!("{error:?}")) {
                            break;
                        }
                        self.world().clock().sleep(Duration::from_millis(500)).await;
                        continue;
                    }
                };
                for fetched in &page.records {
                    recorder.work(judge, reading.record(&partition, *fetched));
                }
                offset = page.next_offset;
                if let Some(how) = page.damage {
                    self.tell(Some(partition.clone()), how);
                    break;
                }
                if offset >= page.high_watermark {
                    recorder.work(judge, reading.end(&partition, offset));
                    break;
                }
            }
            for group in self.groups() {
                self.read_commit(&admin, group, &partition).await;
            }
        }
    }

    async fn read_commit(&self, admin: &Admin<SimIo>, group: &str, partition: &TopicPartition) {
        let mut refusals = 0;
        loop {
            match consumer::committed(admin, group, partition).await {
                Ok(offset) => {
                    let found = Work::CommitFound {
                        group: group.into(),
                        consumer: 0,
                        partition: partition.clone(),
                        offset,
                    };
                    let judge = self.inner.judge.id();
                    self.world().recorder().work(judge, found);
                    return;
                }
                Err(error) => {
                    refusals += 1;
                    if self.is_told(refusals, partition, &error) {
                        return;
                    }
                    self.world().clock().sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Where damage is expected, an error that does not go away tells of it.
    fn is_told(&self, refusals: u32, partition: &TopicPartition, how: &str) -> bool {
        let told = self.inner.scenario.expect.damaged && refusals >= REFUSALS_MIN;
        if told {
            self.tell(Some(partition.clone()), how.to_owned());
        }
        told
    }

    fn tell(&self, partition: Option<TopicPartition>, how: String) {
        let told = Work::DamageTold { partition, how };
        self.world().recorder().work(self.inner.judge.id(), told);
    }

    /// The groups that commit in this run.
    fn groups(&self) -> impl Iterator<Item = &'static str> {
        let workload = &self.inner.scenario.workload;
        let groups = [(READERS, workload.consumers), (MEMBERS, workload.members)];
        groups
            .into_iter()
            .filter(|(_, size)| *size > 0)
            .map(|(group, _)| group)
    }

    async fn in_time(&self, limit: Duration, future: impl Future<Output = ()>) -> bool {
        let limit = self.world().clock().sleep(limit);
        matches!(select(std::pin::pin!(future), limit).await, Either::Left(_))
    }

    fn stuck(&self, text: String) {
        let recorder = self.world().recorder();
        recorder.record(NodeId::WORLD, What::Work(Work::Stuck(text)));
    }
}
