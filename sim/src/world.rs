//! The world: nodes on one network, each with a disk, that are started, killed and restarted.
//!
//! A [`Node`] is a machine; what runs on it is one [`Process`] at a time, which acts through a
//! [`SimIo`]. Ending a process is one step for the executor, the disk and the network together, so
//! nothing can happen between a process's last write and its connections' end.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use madsim::{runtime::Handle, task::NodeId as MadsimNode};

use crate::{
    clock::SimClock,
    disk::DiskDevice,
    event::{NodeId, Recorder, What},
    io::SimIo,
    net::Network,
    process::Process,
    random::SimRandom,
    wall::WallClock,
};

/// The world of one run. Clones are the same world.
#[derive(Clone, Debug)]
pub struct World {
    seed: u64,
    clock: SimClock,
    recorder: Recorder,
    network: Network,
}

impl World {
    /// An empty world of the running madsim runtime; with `keep_all` every event is kept for a
    /// timeline.
    #[must_use]
    pub fn new(seed: u64, keep_all: bool) -> Self {
        let clock = SimClock::current();
        let recorder = Recorder::new(clock.clone(), keep_all);
        let network = Network::new(SimRandom::new(seed, "network"), recorder.clone());
        Self {
            seed,
            clock,
            recorder,
            network,
        }
    }

    /// Adds a node, without a process yet.
    #[must_use]
    pub fn add_node(&self, name: &str, disk_bytes: u64) -> Node {
        let id = self.recorder.add_node(name);
        let random = self.random(&format!("disk of {name}"));
        Node {
            inner: Arc::new(Inner {
                id,
                name: name.into(),
                address: self.network.add_host(id, name),
                world: self.clone(),
                madsim: Handle::current().create_node().name(name).build().id(),
                disk: DiskDevice::new(id, disk_bytes, random, self.recorder.clone()),
                wall: WallClock::default(),
                life: Mutex::new(Life {
                    processes: 0,
                    process: None,
                    powered: true,
                }),
            }),
        }
    }

    /// A stream of randomness of this run.
    #[must_use]
    pub fn random(&self, label: &str) -> SimRandom {
        SimRandom::new(self.seed, label)
    }

    /// The world's clock.
    #[must_use]
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// Where events go.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }
}

/// A machine of the world. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: NodeId,
    name: Arc<str>,
    address: IpAddr,
    world: World,
    madsim: MadsimNode,
    disk: DiskDevice,
    wall: WallClock,
    life: Mutex<Life>,
}

#[derive(Debug)]
struct Life {
    processes: u32,
    process: Option<Process>,
    powered: bool,
}

impl Node {
    /// The node's number.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// The node's name, which its host has too.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// The node's address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.inner.address
    }

    /// The node's disk.
    #[must_use]
    pub fn disk(&self) -> &DiskDevice {
        &self.inner.disk
    }

    /// The node's wall clock.
    #[must_use]
    pub fn wall(&self) -> &WallClock {
        &self.inner.wall
    }

    /// Lets no task of the process run, while the world goes on: its kernel still accepts connections
    /// and takes bytes. One that is started later is not paused.
    pub fn pause(&self) {
        Handle::current().pause(self.inner.madsim);
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        Handle::current().resume(self.inner.madsim);
    }

    /// The process that runs, if one does.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        self.life().process.clone()
    }

    /// Starts a process, after ending the one that runs, and turns the power on if it was off.
    #[must_use]
    pub fn start(&self) -> SimIo {
        let world = &self.inner.world;
        self.end(false);
        let (process, powered_on) = {
            let mut life = self.life();
            let process = Process::new(self.inner.id, life.processes);
            life.processes += 1;
            life.process = Some(process.clone());
            (process, !std::mem::replace(&mut life.powered, true))
        };
        if powered_on {
            world.network.power_restored(self.inner.id);
        }
        world
            .recorder
            .record(self.inner.id, What::ProcessStarted(process.number()));
        let handle = Handle::current();
        handle.restart(self.inner.madsim);
        let Some(tasks) = handle.get_node(self.inner.madsim) else {
            unreachable!("madsim forgets no node");
        };
        let label = format!("process {} of {}", process.number(), self.inner.name);
        SimIo::new(
            tasks,
            process.clone(),
            world.recorder.clone(),
            self.inner.wall.clone(),
            world.random(&label),
            self.inner.disk.mount(process.clone()),
            world.network.attach(process),
        )
    }

    /// Kills the process at once: the page cache stays, connections are closed by the kernel.
    /// False if none runs.
    pub fn kill(&self) -> bool {
        let ended = self.end(false);
        if ended {
            self.inner
                .world
                .recorder
                .fault(self.inner.id, "kill", What::ProcessKilled);
        }
        ended
    }

    /// Takes the power away: the process ends, the network hears nothing, and what was not synced is
    /// kept, lost or torn.
    pub fn lose_power(&self) {
        self.end(true);
        self.life().powered = false;
        let world = &self.inner.world;
        world.network.power_lost(self.inner.id);
        let losses = self.inner.disk.power_lost();
        let (kept, lost, torn) = (losses.kept, losses.lost, losses.torn);
        let what = What::PowerLost { kept, lost, torn };
        world.recorder.fault(self.inner.id, "power loss", what);
    }

    /// Ends a process that has come to its own end.
    pub fn finish(&self) {
        self.end(false);
    }

    fn end(&self, silently: bool) -> bool {
        let Some(process) = self.life().process.take() else {
            return false;
        };
        process.end();
        // The tasks of a paused process wait with madsim, which would drop them with its nodes locked.
        self.resume();
        Handle::current().kill(self.inner.madsim);
        self.inner.disk.process_ended();
        if !silently {
            self.inner.world.network.process_ended(&process);
        }
        true
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.inner
            .life
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
