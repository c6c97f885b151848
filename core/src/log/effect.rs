//! What a log asks of the disk.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;

use super::{FileName, Mark};

/// One change to a partition's directory. A log pushes them in durability order.
///
/// The driver performs the effects of one log in the order pushed: an effect may rely on all before
/// it. It may perform a [`Effect::Sync`] beside later `Write`s (beside nothing else: a new segment's name
/// must not outlive the end of the one before it), but an append is durable only when every
/// `Sync` and `SyncDir` pushed before the one that covers it has succeeded too.
///
/// When a `Write` or `Create` fails (a full disk), the driver performs nothing further until it has called
/// [`super::Log::undo_unwritten`] and performed what that pushes. When a sync fails, the log is lost to
/// this process: it is opened anew through [`super::Recovery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Makes an empty file. Whatever has the name is emptied.
    Create(FileName),
    /// Writes the pieces, one after the other, at `at`. Makes the file if it is missing.
    Write {
        /// The file.
        file: FileName,
        /// Where in it.
        at: u64,
        /// What; payload pieces are slices of what was appended.
        pieces: Vec<Bytes>,
    },
    /// Makes the file's bytes and length durable. A missing file is no error.
    Sync(FileName),
    /// Makes the directory's names durable.
    SyncDir,
    /// Cuts the file to `len`, if it is longer. A missing or shorter file is left as it is.
    Truncate {
        /// The file.
        file: FileName,
        /// Its new length.
        len: u64,
    },
    /// Gives the file the length `len` such that the next sync makes it durable, even if that is the
    /// length which it shows already: a sync that failed may have lost an earlier cut. The file is a
    /// byte longer on the way, so it is one that may have a torn end: the last segment's.
    Recut {
        /// The file.
        file: FileName,
        /// Its length.
        len: u64,
    },
    /// Puts a whole small file in place, atomically and durably.
    Replace {
        /// The file.
        file: FileName,
        /// All that is in it.
        contents: Bytes,
    },
    /// Renames to `.deleted` at once and deletes later, after `file.delete.delay.ms`; readers keep
    /// their handles. Missing files are no error. A file of the name may be made anew meanwhile.
    Delete(Vec<FileName>),
    /// Removes files at once, by their exact names: leftovers that recovery found, which nobody reads.
    /// Missing files are no error.
    Remove(Vec<String>),
    /// Takes the mark off a file's name, replacing a file of the plain name.
    Unmark {
        /// The plain name.
        file: FileName,
        /// The mark it bears.
        mark: Mark,
    },
}
