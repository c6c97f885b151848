//! What can go wrong with a directory or a partition's folder.

use std::{io, path::PathBuf};

use ottla_core::{
    log::{checkpoint, read::Damaged},
    partition::{QueryError, TopicPartition},
};

/// Why the log directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory's `.lock`.
    #[error("{path} is in use by another process (its .lock is held)")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be written.
    #[error("{path} cannot be written: {source}")]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The directory is empty and was not to be formatted.
    #[error("{path} has no meta.properties: format it first")]
    NotFormatted {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is empty, and others of this node are not: its disk may be missing, or it is new and
    /// nobody has said that its emptiness is no loss.
    #[error(
        "{path} has no meta.properties, although {other} has been in use: \
         is its disk mounted? (a new directory is to be formatted first)"
    )]
    Missing {
        /// The directory.
        path: PathBuf,
        /// One that shows that this node has run before.
        other: PathBuf,
    },
    /// The metadata log lies in another directory than the one it is looked for in.
    #[error("the metadata log lies in {path}, and is looked for in {expected} (metadata.log.dir)")]
    MetadataElsewhere {
        /// Where it lies.
        path: PathBuf,
        /// `metadata.log.dir`, or the first of `log.dirs`.
        expected: PathBuf,
    },
    /// The directory belongs to another cluster.
    #[error("{path} belongs to cluster {got}, not to {expected}")]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The configured cluster, or the first directory's.
        expected: String,
        /// The one in its `meta.properties`.
        got: String,
    },
    /// The directory belongs to another node.
    #[error("{path} belongs to node {got}, not to {expected}")]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// `node.id`.
        expected: i32,
        /// The one in its `meta.properties`.
        got: i32,
    },
    /// Two directories carry the same directory id: one is a copy of the other.
    #[error("{path} and {other} have the same directory.id")]
    SameDirectory {
        /// The directory.
        path: PathBuf,
        /// The other one.
        other: PathBuf,
    },
    /// `meta.properties` cannot be understood.
    #[error("{path}: {error}")]
    BadMetaProperties {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: checkpoint::ParseError,
    },
    /// The same partition lies in two directories.
    #[error("{name} lies both in {path} and in {other}")]
    TwicePresent {
        /// The partition.
        name: TopicPartition,
        /// A directory.
        path: PathBuf,
        /// The other one.
        other: PathBuf,
    },
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// Why a partition cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A folder of this name is here, and its `partition.metadata` cannot be read: whose records are in it
    /// is not known.
    #[error("{name} is here, and its partition.metadata cannot be read")]
    Unidentified {
        /// The partition.
        name: TopicPartition,
    },
    /// Making its folder or files failed.
    #[error("{path}: {source}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// Why planned bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The partition refuses.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The file cannot be read.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
    /// There is something else than a batch where one must be.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}
