//! A mark: one event, where it is drawn and in which words.

use crate::event::NodeId;

/// One event of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Virtual nanoseconds since the run began.
    pub at: u64,
    /// Its place among the events of the recording.
    pub event: usize,
    /// Where it happened.
    pub node: NodeId,
    /// What kind of thing it is.
    pub kind: Kind,
    /// The lanes that it is drawn in.
    pub lanes: Vec<usize>,
    /// What happened, in words.
    pub text: String,
}

/// What kind of thing a mark is: it has a colour, and a row in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A fault, or its end.
    Fault,
    /// A process starts, serves or ends.
    Process,
    /// A record is handed to its producer.
    Sent,
    /// Batches are written to the page cache.
    Written,
    /// Batches become durable.
    Synced,
    /// Batches are cut away, lost, or removed with their segment.
    Cut,
    /// A record is acknowledged.
    Acknowledged,
    /// A producer gives a record up.
    GaveUp,
    /// A record is read by a consumer.
    Read,
    /// A consumer takes up a position.
    Position,
    /// A commit, on its way or found.
    Commit,
    /// A member is given partitions, or loses them.
    Rebalance,
    /// What is read with nothing else going on.
    Final,
    /// What is not right.
    Violation,
    /// Other work of a disk.
    Disk,
    /// An operation of a disk fails.
    DiskError,
    /// Connections.
    Network,
}

impl Kind {
    /// Every kind, in the order of their rows.
    pub const ALL: [Self; 17] = [
        Self::Violation,
        Self::Fault,
        Self::Process,
        Self::Sent,
        Self::Written,
        Self::Synced,
        Self::Cut,
        Self::Acknowledged,
        Self::GaveUp,
        Self::Position,
        Self::Read,
        Self::Commit,
        Self::Rebalance,
        Self::Final,
        Self::DiskError,
        Self::Disk,
        Self::Network,
    ];

    /// Its name, in a word or two.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Process => "process",
            Self::Sent => "sent",
            Self::Written => "written",
            Self::Synced => "synced",
            Self::Cut => "cut",
            Self::Acknowledged => "acknowledged",
            Self::GaveUp => "given up",
            Self::Read => "read",
            Self::Position => "position",
            Self::Commit => "commit",
            Self::Rebalance => "rebalance",
            Self::Final => "last reading",
            Self::Violation => "violation",
            Self::Disk => "disk",
            Self::DiskError => "disk error",
            Self::Network => "network",
        }
    }
}
