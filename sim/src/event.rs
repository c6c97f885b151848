//! Everything that happens in the world, and the one recorder that it all goes to.
//!
//! Each event carries its virtual time and its node. All are hashed, so that two runs of one seed
//! can be compared by one number; those that say what the workload did or saw are kept for the
//! checkers; all are kept where a timeline is wanted. Checkers read nothing else: what is not an
//! event did not happen. Nothing here may hold a wall time, a pointer or the order of a random map.

mod aside;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use self::aside::{Aside, Left, Survival};
use crate::{clock::SimClock, hash::EventHash};

/// A node of the world: a broker, a client, or the world itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The world itself: who injects faults.
    pub const WORLD: Self = Self(0);
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a record of the workload is: who wrote it, and as which of its records to this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The producer's number.
    pub producer: u32,
    /// The producer's own count of the records it has sent to this partition.
    pub sequence: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}#{}", self.producer, self.sequence)
    }
}

/// What a record that was read turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contents {
    /// A record of the workload, whole.
    Whole(RecordId),
    /// Bytes that no producer wrote: the checksum or the partition in them is wrong.
    Changed {
        /// A digest of what was read.
        digest: u64,
    },
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(record) => record.fmt(f),
            Self::Changed { digest } => write!(f, "changed bytes {digest:016x}"),
        }
    }
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

/// What a workload did or saw: all that the checkers go by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// A record was handed to a producer.
    Sent {
        /// Which.
        record: RecordId,
        /// To where.
        partition: TopicPartition,
    },
    /// A record was acknowledged with acks=all.
    Acknowledged {
        /// Which.
        record: RecordId,
        /// Where.
        partition: TopicPartition,
        /// At which offset, where the answer says one.
        offset: Option<i64>,
    },
    /// A producer gave a record up: it may or may not be in the log.
    GaveUp {
        /// Which.
        record: RecordId,
        /// Where.
        partition: TopicPartition,
        /// Why.
        error: String,
    },
    /// A consumer read a record.
    Read {
        /// The consumer's number.
        consumer: u32,
        /// Where.
        partition: TopicPartition,
        /// At which offset.
        offset: i64,
        /// What it held.
        contents: Contents,
    },
    /// A consumer begins to read a partition anew, at this offset.
    Positioned {
        /// The consumer's number.
        consumer: u32,
        /// Which partition.
        partition: TopicPartition,
        /// The offset it reads next.
        offset: i64,
    },
    /// A member of a group holds these partitions from now on, and no others.
    Assigned {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// The generation that gave them; -1 while it is in none.
        generation: i32,
        /// All that it holds.
        partitions: Vec<TopicPartition>,
    },
    /// A commit was sent.
    CommitSent {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// The commit's number in this run.
        commit: u64,
        /// Which partition.
        partition: TopicPartition,
        /// The offset to read next.
        offset: i64,
    },
    /// A commit was acknowledged.
    CommitAcknowledged {
        /// The commit's number in this run.
        commit: u64,
    },
    /// A commit was refused or its answer was lost.
    CommitFailed {
        /// The commit's number in this run.
        commit: u64,
        /// Why.
        error: String,
    },
    /// At the end: a record of the log, read from its start with nothing else going on.
    Final {
        /// Where.
        partition: TopicPartition,
        /// At which offset.
        offset: i64,
        /// What it held.
        contents: Contents,
    },
    /// A member begins to look for what its group has committed; it finds what was committed at some
    /// time from now on.
    CommitAsked {
        /// The group.
        group: Arc<str>,
        /// The consumer's number.
        consumer: u32,
        /// Which partition.
        partition: TopicPartition,
    },
    /// What a group has committed, as somebody found it; -1 for nothing.
    CommitFound {
        /// The group.
        group: Arc<str>,
        /// The consumer's number; 0 for who is none.
        consumer: u32,
        /// Which partition.
        partition: TopicPartition,
        /// The offset.
        offset: i64,
    },
    /// At the end: a partition was read to its end; the next offset is this.
    FinalEnd {
        /// Which partition.
        partition: TopicPartition,
        /// Its end offset.
        offset: i64,
    },
    /// After the last act: a record of the log, read once more.
    Again {
        /// Where.
        partition: TopicPartition,
        /// At which offset.
        offset: i64,
        /// What it held.
        contents: Contents,
    },
    /// After the last act: a partition was read once more to its end; the next offset is this.
    AgainEnd {
        /// Which partition.
        partition: TopicPartition,
        /// Its end offset.
        offset: i64,
    },
    /// Something outstanding did not end in its time.
    Stuck(String),
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Virtual nanoseconds since the run began.
    pub at: u64,
    /// Where.
    pub node: NodeId,
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
    faults: BTreeMap<&'static str, u64>,
}

impl Recorder {
    /// A recorder on the running world's clock; with `keep_all` it keeps what a timeline needs.
    #[must_use]
    pub fn new(clock: SimClock, keep_all: bool) -> Self {
        let recording = Recording {
            keep_all,
            names: vec!["world".into()],
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

    /// Takes one event, now.
    pub fn record(&self, node: NodeId, what: What) {
        let event = Event {
            at: self.clock.now(),
            node,
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

    /// A node's name.
    #[must_use]
    pub fn name(&self, node: NodeId) -> &str {
        self.names.get(usize::from(node.0)).map_or("?", |name| name)
    }
}
