//! The simulated backend of `ottla-io`: what a process of the world acts through.
//!
//! Tasks run on madsim's executor, on the process's node, so that they end with it. Clocks are the
//! world's, each node with an offset of its own. Randomness is a stream of the node, drawn from the
//! seed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use madsim::runtime::NodeHandle;
use ottla_core::time::{Instant, Now, Timestamp};
use ottla_io::{Clock, Io, Random, Spawn};

use crate::{
    clock::SimClock, disk::SimDisk, event::Recorder, net::SimNet, process::Process,
    random::SimRandom, wall::WallClock,
};

/// A process's access to the world.
#[derive(Clone)]
pub struct SimIo {
    node: NodeHandle,
    process: Process,
    recorder: Recorder,
    clock: SimClock,
    wall: WallClock,
    random: Arc<Mutex<SimRandom>>,
    disk: SimDisk,
    net: SimNet,
}

impl SimIo {
    /// Access for `process`, whose tasks run on `node`.
    #[must_use]
    pub fn new(
        node: NodeHandle,
        process: Process,
        recorder: Recorder,
        wall: WallClock,
        random: SimRandom,
        disk: SimDisk,
        net: SimNet,
    ) -> Self {
        Self {
            node,
            process,
            recorder,
            clock: SimClock::current(),
            wall,
            random: Arc::new(Mutex::new(random)),
            disk,
            net,
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

impl std::fmt::Debug for SimIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SimIo").field(&self.process).finish()
    }
}

impl Clock for SimIo {
    fn now(&self) -> Now {
        let nanos = self.clock.now();
        Now {
            monotonic: Instant(nanos),
            wall: Timestamp(self.wall.at(nanos)),
        }
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static {
        self.clock.sleep_until(deadline.0)
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.clock.sleep(duration)
    }
}

impl Random for SimIo {
    fn fill_random(&self, bytes: &mut [u8]) {
        self.random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill(bytes);
    }
}

impl Spawn for SimIo {
    fn spawn_detached(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        // Started by a destructor of a dead process: it would never run.
        if self.process.is_alive() {
            drop(
                self.node
                    .spawn(self.recorder.caused(name.to_owned(), future)),
            );
        }
    }
}

impl Io for SimIo {
    type Disk = SimDisk;
    type Net = SimNet;

    fn disk(&self) -> &SimDisk {
        &self.disk
    }

    fn net(&self) -> &SimNet {
        &self.net
    }
}
