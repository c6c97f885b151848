//! What is kept beside the events where all are kept: what a picture needs and no checker reads.
//!
//! None of it is hashed, so that a run has the same hash whether a picture is wanted or not.

use bytes::Bytes;

/// Something that stands beside the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aside {
    /// A file was opened by this name.
    Opened {
        /// The file.
        inode: u64,
        /// Its path.
        path: String,
    },
    /// The bytes of the write that is recorded next.
    Written {
        /// The file.
        inode: u64,
        /// Where.
        at: u64,
        /// What.
        bytes: Bytes,
    },
    /// What the loss of power that is recorded next left of each unsynced write.
    Survival(Vec<Survival>),
}

/// What a loss of power left of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// The file.
    pub inode: u64,
    /// Where it was written.
    pub at: u64,
    /// How much is there.
    pub left: Left,
}

/// How much of a write is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All of it.
    All,
    /// Some of its sectors.
    Some,
    /// Nothing.
    Nothing,
}
