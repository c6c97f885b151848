//! Everything that happens in the world, and the one recorder that it all goes to.
//!
//! Each event carries its virtual time, its node and its cause. All are hashed, so that two runs of one seed
//! can be compared by one number; those that say what the workload did or saw are kept for the
//! checkers; all are kept where a timeline is wanted. Checkers read nothing else: what is not an
//! event did not happen. Nothing here may hold a wall time, a pointer or the order of a random map.

mod aside;
mod work;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use self::{
    aside::{Aside, Left, Survival},
    work::{Contents, Promise, RecordId, TopicPartition, Work},
};
use crate::{
    cause::{self, CauseId, Caused},
    clock::SimClock,
    hash::EventHash,
};

/// A node of the world: a broker, a client, or the world itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The world itself: who injects faults.
    pub const WORLD: Self = Self(0);
}

/// What happened to a process, a disk or a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The run began. Standard maps iterate by a seed that must follow from the run's.
    RunStarted {
        /// What a standard hasher makes of nothing.
        hash: u64,
    },
    /// A process began; its node has had so many before it.
    ProcessStarted(u32),
    /// The broker of the process serves.
    ProcessReady,
    /// The process ended by itself, with this error.
    ProcessFailed(String),
    /// A graceful stop was asked for.
    ProcessStopping,
    /// The process ended as asked.
    ProcessStopped,
    /// The process was killed; the page cache stays.
    ProcessKilled,
    /// The node lost power; of the unsynced operations this many were kept, lost and torn.
    PowerLost {
        /// Operations that had reached the device.
        kept: u32,
        /// Operations that had not.
        lost: u32,
        /// Writes of which some sectors had.
        torn: u32,
    },
    /// A fault other than those of processes.
    Fault(String),
    /// A name of the disk changed or was looked up: the operation and the path.
    DiskName {
        /// What was done.
        operation: &'static str,
        /// To which path.
        path: String,
    },
    /// Bytes were written to a file's page cache.
    DiskWrite {
        /// The file.
        inode: u64,
        /// Where.
        at: u64,
        /// How many.
        len: u64,
        /// Their digest.
        digest: u64,
    },
    /// Bytes were read.
    DiskRead {
        /// The file.
        inode: u64,
        /// Where.
        at: u64,
        /// How many there were.
        len: u64,
        /// Their digest.
        digest: u64,
    },
    /// A file was cut or extended.
    DiskTruncate {
        /// The file.
        inode: u64,
        /// To which length.
        len: u64,
    },
    /// A file's bytes became durable.
    DiskSync {
        /// The file.
        inode: u64,
        /// Its durable length.
        len: u64,
    },
    /// An operation failed.
    DiskError {
        /// What was tried.
        operation: &'static str,
        /// What came of it.
        error: String,
    },
    /// A connection was asked for.
    Connecting(SocketAddr),
    /// A connection stands.
    Connected {
        /// Its number in this run.
        connection: u64,
    },
    /// A connection was refused or timed out.
    ConnectFailed(String),
    /// Bytes were handed to a connection.
    Sent {
        /// The connection.
        connection: u64,
        /// How many.
        len: u64,
        /// Their digest.
        digest: u64,
    },
    /// Bytes were taken from a connection.
    Received {
        /// The connection.
        connection: u64,
        /// How many.
        len: u64,
    },
    /// A half or all of a connection ended.
    Ended {
        /// The connection.
        connection: u64,
        /// How: closed, reset, end of file seen.
        how: &'static str,
    },
    /// What a workload did or saw.
    Work(Work),
    /// A checker found an invariant broken.
    Violation(String),
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Virtual nanoseconds since the run began.
    pub at: u64,
    /// Where.
    pub node: NodeId,
    /// Who made it happen.
    pub cause: CauseId,
    /// What.
    pub what: What,
}

/// Takes every event of a run. Clones share one recording.
#[derive(Clone)]
pub struct Recorder {
    clock: SimClock,
    state: Arc<Mutex<Recording>>,
}

/// What a run's events came to.
#[derive(Default)]
pub struct Recording {
    hash: EventHash,
    count: u64,
    last_at: u64,
    keep_all: bool,
    kept: Vec<Event>,
    asides: Vec<(usize, NodeId, Aside)>,
    names: Vec<Arc<str>>,
    causes: Vec<String>,
    faults: BTreeMap<&'static str, u64>,
}

impl Recorder {
    /// A recorder on the running world's clock; with `keep_all` it keeps what a timeline needs.
    #[must_use]
    pub fn new(clock: SimClock, keep_all: bool) -> Self {
        let recording = Recording {
            keep_all,
            names: vec!["world".into()],
            causes: vec!["the world".into()],
            ..Recording::default()
        };
        Self {
            clock,
            state: Arc::new(Mutex::new(recording)),
        }
    }

    /// Names a new node.
    #[must_use]
    pub fn add_node(&self, name: &str) -> NodeId {
        let mut state = self.lock();
        state.names.push(name.into());
        NodeId(u16::try_from(state.names.len() - 1).unwrap_or(u16::MAX))
    }

    /// A future whose events all have this cause, which nothing had before.
    pub fn caused<F: Future>(&self, name: String, future: F) -> Caused<F> {
        let mut state = self.lock();
        state.causes.push(name);
        let cause = u32::try_from(state.causes.len() - 1).unwrap_or(u32::MAX);
        Caused::new(CauseId(cause), future)
    }

    /// Takes one event, now.
    pub fn record(&self, node: NodeId, what: What) {
        let event = Event {
            at: self.clock.now(),
            node,
            cause: cause::current(),
            what,
        };
        let mut state = self.lock();
        state.hash.add(&event);
        state.count += 1;
        state.last_at = event.at;
        if state.keep_all || matches!(event.what, What::Work(_) | What::Violation(_)) {
            state.kept.push(event);
        }
    }

    /// Takes what a workload did or saw.
    pub fn work(&self, node: NodeId, work: Work) {
        self.record(node, What::Work(work));
    }

    /// Takes a fault, and counts it under `kind`.
    pub fn fault(&self, node: NodeId, kind: &'static str, what: What) {
        *self.lock().faults.entry(kind).or_default() += 1;
        self.record(node, what);
    }

    /// Keeps what `make` gives beside the event that comes next, where all events are kept. It is not
    /// hashed.
    pub fn aside(&self, node: NodeId, make: impl FnOnce() -> Aside) {
        let mut state = self.lock();
        if state.keep_all {
            let next = state.kept.len();
            state.asides.push((next, node, make()));
        }
    }

    /// What was recorded so far.
    pub fn lock(&self) -> MutexGuard<'_, Recording> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording({} events)", self.count)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({} events)", self.lock().count)
    }
}

impl Recording {
    /// The hash over all events so far.
    #[must_use]
    pub fn hash(&self) -> EventHash {
        self.hash
    }

    /// When the last event was.
    #[must_use]
    pub fn last_at(&self) -> u64 {
        self.last_at
    }

    /// Whether every event is kept.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.keep_all
    }

    /// How many events there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The events that were kept, in order.
    #[must_use]
    pub fn kept(&self) -> &[Event] {
        &self.kept
    }

    /// What is kept beside the events: the place in [`Self::kept`] of the event that it stands before,
    /// the node, and what it is.
    #[must_use]
    pub fn asides(&self) -> &[(usize, NodeId, Aside)] {
        &self.asides
    }

    /// What the workload did and saw, in order.
    pub fn work(&self) -> impl Iterator<Item = &Work> {
        self.kept.iter().filter_map(|event| match &event.what {
            What::Work(work) => Some(work),
            _ => None,
        })
    }

    /// How many faults there were of each kind.
    #[must_use]
    pub fn faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.faults
    }

    /// A cause in words.
    #[must_use]
    pub fn cause(&self, cause: CauseId) -> &str {
        self.causes.get(cause.0 as usize).map_or("?", |name| name)
    }

    /// A node's name.
    #[must_use]
    pub fn name(&self, node: NodeId) -> &str {
        self.names.get(usize::from(node.0)).map_or("?", |name| name)
    }
}
