//! The broker as a node: started, killed, out of power, stopped, and kept running.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ottla::{
    broker::{Broker, RunningBroker},
    config::BrokerConfig,
    settings::BrokerSettings,
};
use ottla_core::marks;
use ottla_io::Spawn;

use crate::{
    event::{What, Work},
    io::SimIo,
    scenario::Cluster,
    world::{Node, World},
};

/// The port that the broker listens on.
pub const PORT: u16 = 9092;

/// What every simulated broker is set to, before a scenario says more.
fn settings(address: &str) -> BTreeMap<String, String> {
    let listener = format!("PLAINTEXT://{address}:{PORT}");
    let settings = [
        ("listeners", listener.as_str()),
        ("advertised.listeners", listener.as_str()),
        ("log.dirs", "/data"),
        ("num.partitions", "1"),
        ("offsets.topic.num.partitions", "3"),
        ("group.initial.rebalance.delay.ms", "100"),
        ("group.min.session.timeout.ms", "1000"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    settings.into_iter().collect()
}

fn pairs(settings: &BTreeMap<String, String>) -> Vec<String> {
    let pairs = settings.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect()
}

/// Whether a broker takes these settings; what is wrong if not.
pub fn check_settings(config: &BTreeMap<String, String>) -> Result<(), String> {
    let mut all = settings("10.0.0.1");
    all.extend(config.clone());
    match BrokerConfig::single_node(&pairs(&all)) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A fetch session yields to another after this: a run is too short for Kafka's two minutes.
const FETCH_SESSION_IDLE_MIN: Duration = Duration::from_secs(1);

fn in_a_hurry(config: &BrokerConfig) -> BrokerSettings {
    let mut settings = BrokerSettings::new(config);
    settings.fetch_session_idle_min = FETCH_SESSION_IDLE_MIN;
    settings
}

/// A node that runs the broker.
#[derive(Clone)]
pub struct Server {
    world: World,
    node: Node,
    overrides: Arc<Mutex<BTreeMap<String, String>>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: Option<RunningBroker<SimIo>>,
    failure: Option<String>,
    /// Cuts in logs that were noted.
    cuts: u32,
}

impl Server {
    /// A broker on a new node named `broker`, with a cluster's settings. Not started yet.
    #[must_use]
    pub fn new(world: &World, cluster: &Cluster) -> Self {
        let node = world.add_node("broker", cluster.disk_bytes);
        let address = node.address();
        let mut overrides = settings(&address.to_string());
        overrides.extend(cluster.config.clone());
        Self {
            world: world.clone(),
            node,
            overrides: Arc::new(Mutex::new(overrides)),
            state: Arc::new(Mutex::new(State::default())),
        }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where clients connect.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("{}:{PORT}", self.node.address())
    }

    /// Starts a process with the broker in it. What comes of it is seen in [`Self::is_ready`] and
    /// [`Self::failure`].
    pub fn start(&self) {
        self.forget();
        let io = self.node.start();
        let this = self.clone();
        let world_io = io.clone();
        io.spawn_detached(
            "broker",
            Box::pin(async move {
                let outcome = match BrokerConfig::single_node(&this.settings()) {
                    Ok(config) => Broker::start(world_io, in_a_hurry(&config))
                        .await
                        .map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                let (what, failure, running) = match outcome {
                    Ok(running) => (What::ProcessReady, None, Some(running)),
                    Err(error) => (What::ProcessFailed(error.clone()), Some(error), None),
                };
                this.world.recorder().record(this.node.id(), what);
                let failed = running.as_ref().map(RunningBroker::failed);
                this.note_cuts();
                this.with(|state| (state.running, state.failure) = (running, failure));
                if let Some(failed) = failed {
                    let reason = failed.await.to_string();
                    this.fail(reason);
                }
            }),
        );
    }

    /// The broker cannot go on, so its process ends, as it does where the command line runs it.
    fn fail(&self, reason: String) {
        let what = What::ProcessFailed(reason.clone());
        self.world.recorder().record(self.node.id(), what);
        let running = self.with(|state| {
            state.failure = Some(reason);
            state.running.take()
        });
        self.node.finish();
        drop(running);
    }

    /// From its next start on it has these settings, too.
    pub fn reconfigure(&self, config: &BTreeMap<String, String>) {
        let mut overrides = self
            .overrides
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        overrides.extend(config.clone());
    }

    fn settings(&self) -> Vec<String> {
        pairs(
            &self
                .overrides
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Tells of the logs that recoveries have cut since this was last called: each is in the broker's own
    /// log, too.
    pub fn note_cuts(&self) {
        let cuts = marks::TORN_TAIL_CUT.count();
        if self.with(|state| std::mem::replace(&mut state.cuts, cuts)) < cuts {
            self.world.recorder().work(self.node.id(), Work::LogCut);
        }
    }

    /// Whether it serves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.with(|state| state.running.is_some()) && self.node.process().is_some()
    }

    /// Why it could not start, if so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.with(|state| state.failure.clone())
    }

    /// Kills it at once.
    pub fn kill(&self) {
        self.node.kill();
        self.forget();
    }

    /// Takes its power away.
    pub fn lose_power(&self) {
        self.node.lose_power();
        let recorder = self.world.recorder();
        recorder.work(self.node.id(), Work::UnsyncedLost);
        self.forget();
    }

    /// Stops it as an operator does, and waits for that; a broker that does not come to its end is
    /// killed by whoever waits too long.
    pub async fn stop(&self) {
        let running = self.with(|state| state.running.take());
        let (Some(running), Some(process)) = (running, self.node.process()) else {
            self.kill();
            return;
        };
        self.world
            .recorder()
            .fault(self.node.id(), "stop", What::ProcessStopping);
        running.shutdown().await;
        if process.is_alive() {
            self.world
                .recorder()
                .record(self.node.id(), What::ProcessStopped);
            self.node.finish();
        }
    }

    fn forget(&self) {
        // Dropped outside of the lock: its destructors may run anything.
        let old = self.with(|state| {
            state.failure = None;
            state.running.take()
        });
        drop(old);
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
