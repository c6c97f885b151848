//! The broker as a node: started, killed, out of power, stopped, and kept running.

use std::sync::{Arc, Mutex, PoisonError};

use ottla::{
    broker::{Broker, RunningBroker},
    config::BrokerConfig,
    settings::BrokerSettings,
};
use ottla_io::Spawn;

use crate::{
    event::{What, Work},
    io::SimIo,
    scenario::Cluster,
    world::{Node, World},
};

/// The port that the broker listens on.
pub const PORT: u16 = 9092;

/// A node that runs the broker.
#[derive(Clone)]
pub struct Server {
    world: World,
    node: Node,
    overrides: Arc<Vec<String>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: Option<RunningBroker<SimIo>>,
    failure: Option<String>,
}

impl Server {
    /// A broker on a new node named `broker`, with a cluster's settings. Not started yet.
    #[must_use]
    pub fn new(world: &World, cluster: &Cluster) -> Self {
        let node = world.add_node("broker", cluster.disk_bytes);
        let address = node.address();
        let mut overrides = vec![
            format!("listeners=PLAINTEXT://{address}:{PORT}"),
            format!("advertised.listeners=PLAINTEXT://{address}:{PORT}"),
            "log.dirs=/data".to_owned(),
            "num.partitions=1".to_owned(),
            "offsets.topic.num.partitions=3".to_owned(),
            "group.initial.rebalance.delay.ms=100".to_owned(),
            "group.min.session.timeout.ms=1000".to_owned(),
        ];
        overrides.extend(
            cluster
                .config
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
        Self {
            world: world.clone(),
            node,
            overrides: Arc::new(overrides),
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
        self.with(|state| *state = State::default());
        let io = self.node.start();
        let this = self.clone();
        let world_io = io.clone();
        io.spawn_detached(
            "broker",
            Box::pin(async move {
                let outcome = match BrokerConfig::single_node(&this.overrides) {
                    Ok(config) => Broker::start(world_io, BrokerSettings::new(&config))
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
                this.with(|state| *state = State { running, failure });
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
        let old = self.with(std::mem::take);
        drop(old);
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
