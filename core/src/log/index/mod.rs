//! The sparse indexes of a segment, in Kafka's formats.
//!
//! Looking something up is a pure function over an index file's bytes, which the driver maps; the
//! entries of the segment being written are held in memory (`tail`) until they are written and a
//! while longer. All numbers are big-endian.

pub mod offset;
mod tail;
pub mod time;
pub mod txn;

pub(super) use tail::{Entry, Looked, Tail};

/// What is wrong with an index file. It is rebuilt from its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The length is no multiple of an entry's.
    #[error("{len} bytes are no multiple of {entry}")]
    Length {
        /// The file's length.
        len: u64,
        /// An entry's.
        entry: usize,
    },
    /// An entry does not rise above the one before it.
    #[error("entry {entry} does not rise above the one before it")]
    NotRising {
        /// Which entry.
        entry: usize,
    },
    /// An entry of an unknown version.
    #[error("entry {entry} has version {got}, expected {expected}")]
    Version {
        /// Which entry.
        entry: usize,
        /// The version this code writes.
        expected: i16,
        /// The version found.
        got: i16,
    },
}
