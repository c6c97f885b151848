//! The stage of a run: its nodes, and the acts in order.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, join_all, select};
use ottla_client::admin::NewTopic;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::{
    clients::{Client, Role},
    faults::Conditions,
    reading::Reading,
};
use crate::{
    app::{Main, Simulation},
    event::{NodeId, TopicPartition, What, Work},
    net::Link,
    scenario::{FAULTS_STREAM, Fault, Scenario, Workload},
    server::Server,
    workload::{
        admin::OwnTopics,
        consumer,
        member::{self, GroupProgress},
    },
    world::{Node, World},
};

/// How long the broker may take to serve after its start, and an admin to be answered.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// How long a group that has not read everything may go without any progress: a JoinGroup of before the
/// faults ended that nobody will answer, a session, and a rebalance that waits for a stalled member.
const GROUP_PATIENCE: Duration = Duration::from_secs(40);
/// How long a rebalance may go on that began in troubled times.
const GROUP_SETTLES: Duration = Duration::from_secs(20);
/// The group of all readers.
pub(super) const READERS: &str = "readers";
/// The group that divides the partitions among its members.
pub(super) const MEMBERS: &str = "members";

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
    own_topics: OwnTopics,
}

impl Stage {
    pub(super) fn new(
        world: World,
        scenario: Scenario,
        mut processes: BTreeMap<String, Main>,
    ) -> Self {
        let server = Server::new(&world, &scenario.cluster);
        let mut clients = BTreeMap::new();
        for name in scenario.node_names().into_iter().skip(1) {
            let node = world.add_node(&name, 0);
            let client = Client::new(&name, node, processes.remove(&name));
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
            own_topics: OwnTopics::default(),
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
            if !self.inner.scenario.applications.is_empty() {
                self.let_applications_end().await;
            } else if self.finish().await {
                self.last_act().await;
            }
        }
        watcher.abort();
    }

    pub(super) fn workload(&self) -> &Workload {
        &self.inner.scenario.workload
    }

    pub(super) fn expects_damage(&self) -> bool {
        self.inner.scenario.expect.damaged
    }

    pub(super) fn judge(&self) -> &Node {
        &self.inner.judge
    }

    /// How far the group has read.
    pub(super) fn progress(&self) -> &GroupProgress {
        &self.inner.progress
    }

    pub(super) fn own_topics(&self) -> &OwnTopics {
        &self.inner.own_topics
    }

    /// True once everybody is to come to an end.
    pub(super) fn stop(&self) -> watch::Receiver<bool> {
        self.inner.stop.subscribe()
    }

    /// True once readers are to come to an end, too.
    pub(super) fn stop_consumers(&self) -> watch::Receiver<bool> {
        self.inner.stop_consumers.subscribe()
    }

    pub(super) fn topic_names(&self) -> Vec<String> {
        let topics = self.inner.scenario.topics.iter();
        topics.map(|topic| topic.name.clone()).collect()
    }

    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
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
                if self.expects_damage() && self.server().failure().is_some() {
                    self.tell_damage(None, why.clone());
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
            let (ms, bytes) = self.inner.scenario.retention(topic);
            if ms.is_some() || bytes.is_some() {
                let topic = topic.name.as_str().into();
                let retained = Work::Retained { topic, ms, bytes };
                self.world().recorder().work(self.judge().id(), retained);
            }
        }
        true
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
        let mut random = self.world().random(FAULTS_STREAM);
        let begun = self.world().clock().now();
        let at = |after: Duration| begun + after.as_nanos() as u64;
        let mut under_way = Vec::new();
        for fault in scenario.schedule(&mut random) {
            self.world().clock().sleep_until(at(fault.at.0)).await;
            let stage = self.clone();
            let cause = format!(
                "fault {} of {} at {:?}",
                fault.fault, fault.node, fault.at.0
            );
            let befall = async move { stage.befall(fault).await };
            under_way.push(madsim::task::spawn(
                self.world().recorder().caused(cause, befall),
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

    /// Processes of an application do what is left, and end.
    async fn let_applications_end(&self) {
        if !self.wait_until_ready().await {
            return;
        }
        self.inner.stop.send_replace(true);
        self.world().clock().sleep(Simulation::settle()).await;
        self.inner.stop_consumers.send_replace(true);
        let within = self.inner.scenario.expect.within.0;
        if !self.in_time(within, self.all_done(|_| true)).await {
            self.stuck(format!(
                "a process has not ended {within:?} after it was told to"
            ));
        }
    }

    /// Everything outstanding ends; then the logs and commits are read. False if they cannot be.
    async fn finish(&self) -> bool {
        let within = self.inner.scenario.expect.within.0;
        if !self.wait_until_ready().await {
            return false;
        }
        if self.inner.scenario.workload.members > 1 {
            self.lose_a_member_for_good();
            self.restart_without_it().await;
            if !self.wait_until_ready().await {
                return false;
            }
            // Some of what is written now falls to its partitions.
            self.world().clock().sleep(Duration::from_secs(1)).await;
        }
        self.inner.stop.send_replace(true);
        let produced = self.all_done(|role| !role.reads_to_the_end());
        if !self.in_time(within, produced).await {
            self.stuck(format!(
                "a client that does not only read is not done {within:?} after the faults ended"
            ));
        }
        // Readers get a while to see what was written last, a group until it has read everything.
        self.world().clock().sleep(Duration::from_secs(3)).await;
        if self.inner.scenario.workload.members > 0 && !self.the_group_reads_everything().await {
            self.stuck(format!(
                "the members of {MEMBERS} have not read everything, and nothing more in {GROUP_PATIENCE:?}"
            ));
        }
        if self.inner.scenario.workload.members > 0 && !self.expects_damage() {
            self.leave_the_group_alone().await;
            self.write_to_every_partition().await;
            if !self.the_group_reads_everything().await {
                self.stuck(format!(
                    "the members of {MEMBERS} have not read what was written after they had settled"
                ));
            }
        }
        self.sessions_end(within).await;
        self.inner.stop_consumers.send_replace(true);
        let consumed = self.all_done(Role::reads_to_the_end);
        if !self.in_time(within, consumed).await {
            self.stuck(format!(
                "a consumer is not done {within:?} after the faults ended"
            ));
        }
        self.until_nothing_is_on_its_way().await;
        self.read_in_time(Reading::Final).await
    }

    /// What nobody waits for may take its time on a narrow link: with acks=0, or of a client that is gone.
    async fn until_nothing_is_on_its_way(&self) {
        let arrived = async {
            while self.world().network().is_busy() {
                self.world().clock().sleep(Duration::from_millis(100)).await;
            }
        };
        let within = self.inner.scenario.expect.within.0;
        if !self.in_time(within, arrived).await {
            self.stuck(format!("bytes are still on their way after {within:?}"));
        }
        // And is then carried out.
        self.world().clock().sleep(Duration::from_secs(1)).await;
    }

    /// Readers in sessions are told of whatever there is.
    async fn sessions_end(&self, within: Duration) {
        for client in self.inner.clients.values() {
            if client.role == Role::ReadsInSession
                && !self
                    .in_time(within, self.has_read_everything(&client.progress))
                    .await
            {
                self.stuck(format!(
                    "{} has not read everything in its sessions {within:?} after the last was written",
                    client.node.name()
                ));
            }
        }
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

    /// Half the time, the coordinator has to find out from its log that a member is missing.
    async fn restart_without_it(&self) {
        let mut random = self.world().random("a member is lost");
        let _up = self.process_faults().lock().await;
        match random.index(4) {
            0 => self.server().kill(),
            1 => self.stop_server().await,
            _ => return,
        }
        self.world().clock().sleep(Duration::from_millis(200)).await;
        self.server().start();
    }

    /// Nothing fails and nobody comes or goes for longer than two sessions.
    async fn leave_the_group_alone(&self) {
        let clock = self.world().clock();
        clock.sleep(GROUP_SETTLES).await;
        self.tell_quiet(true);
        clock.sleep(member::SESSION_TIMEOUT * 5 / 2).await;
        self.tell_quiet(false);
    }

    fn tell_quiet(&self, quiet: bool) {
        let recorder = self.world().recorder();
        recorder.work(NodeId::WORLD, Work::Quiet(quiet));
    }

    /// False if the members make no more progress though there is something left to read.
    async fn the_group_reads_everything(&self) -> bool {
        let mut everything = std::pin::pin!(self.has_read_everything(self.progress()));
        loop {
            let before = self.progress().read();
            if self.in_time(GROUP_PATIENCE, everything.as_mut()).await {
                return true;
            }
            if self.progress().read() == before {
                return false;
            }
        }
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
