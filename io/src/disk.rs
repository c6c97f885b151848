//! Disks: files and directories, with what is durable said plainly.
//!
//! A write is in the page cache when it completes: another process reads it, a killed process
//! leaves it, a power loss may lose or tear it. [`File::sync_data`] makes a file's bytes and length
//! durable; [`File::write_durable_at`] does both in one step. A new, renamed or removed name is
//! durable only after [`Disk::sync_dir`] of its folder. After a failed sync the file's unsynced
//! bytes must be taken for lost: syncing again and succeeding proves nothing.
//!
//! A full disk is `ErrorKind::StorageFull`; a write that met it may have written a part.

use std::{
    future::Future,
    io::Result,
    ops::Deref,
    path::{Path, PathBuf},
};

use bytes::Bytes;

/// Whether a call failed because this process, or all of them, have too many files open.
#[must_use]
pub fn is_out_of_files(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// How [`Disk::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// As `ReadWrite`, made empty if it is missing.
    Create,
    /// As `ReadWrite`, refused with `AlreadyExists` if it is there.
    CreateNew,
}

/// What [`Disk::list`] and [`Disk::metadata`] say of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// A file's length in bytes; 0 for a directory.
    pub len: u64,
}

/// A node's disks.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: File;
    /// Holds a directory lock; dropping it (or the process ending) lets the lock go.
    type Lock: Send + Sync + 'static;

    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> impl Future<Output = Result<Self::File>> + Send;

    /// Makes a directory and its missing parents.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = Result<()>> + Send;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = Result<()>> + Send;

    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = Result<()>> + Send;

    /// Removes a file. Open handles and maps of it stay readable.
    fn remove_file(&self, path: &Path) -> impl Future<Output = Result<()>> + Send;

    /// Removes a directory and all that is in it.
    fn remove_dir_all(&self, path: &Path) -> impl Future<Output = Result<()>> + Send;

    /// The entries of a directory, sorted by name.
    fn list(&self, path: &Path) -> impl Future<Output = Result<Vec<Entry>>> + Send;

    /// What is at `path`; `NotFound` if nothing is.
    fn metadata(&self, path: &Path) -> impl Future<Output = Result<Entry>> + Send;

    /// Bytes free for this process on the disk that holds `path`.
    fn free_space(&self, path: &Path) -> impl Future<Output = Result<u64>> + Send;

    /// Bytes of the disk that holds `path`, free or not.
    fn total_space(&self, path: &Path) -> impl Future<Output = Result<u64>> + Send;

    /// How many files and connections this process may have open at once.
    fn open_files_max(&self) -> usize {
        // What a process is given where nobody raised it.
        1024
    }

    /// Takes the exclusive lock that the file at `path` (made if missing) stands for;
    /// `WouldBlock` if another process holds it.
    fn lock(&self, path: &Path) -> impl Future<Output = Result<Self::Lock>> + Send;

    /// A whole file. For small files (checkpoints, properties).
    fn read(&self, path: &Path) -> impl Future<Output = Result<Bytes>> + Send {
        async move {
            let file = self.open(path, OpenMode::Read).await?;
            let len = file.len().await?;
            file.read_at(0, usize::try_from(len).unwrap_or(usize::MAX))
                .await
        }
    }

    /// Puts a whole small file in place so that after any crash either the old or the new one is
    /// there, whole: written beside it as `NAME.tmp`, synced, renamed, and the folder synced.
    fn replace(&self, path: &Path, contents: Bytes) -> impl Future<Output = Result<()>> + Send {
        async move {
            let mut beside = path.as_os_str().to_owned();
            beside.push(".tmp");
            let beside = PathBuf::from(beside);
            let file = self.open(&beside, OpenMode::Create).await?;
            file.truncate(0).await?;
            file.write_at(0, vec![contents]).await?;
            file.sync_data().await?;
            self.rename(&beside, path).await?;
            match path.parent() {
                Some(folder) => self.sync_dir(folder).await,
                None => Ok(()),
            }
        }
    }
}

/// An open file. Clones share the one open file; all positions are explicit, so clones may be used
/// at once.
#[expect(
    clippy::len_without_is_empty,
    reason = "a length is a system call; nobody asks for less"
)]
pub trait File: Clone + Send + Sync + 'static {
    /// What [`File::map`] gives.
    type Map: FileMap;

    /// Up to `len` bytes at `at`: fewer only at the end of the file.
    fn read_at(&self, at: u64, len: usize) -> impl Future<Output = Result<Bytes>> + Send;

    /// Writes `pieces`, one after the other, at `at`; past the end the gap reads as zeros. An error
    /// may leave a part of them written.
    fn write_at(&self, at: u64, pieces: Vec<Bytes>) -> impl Future<Output = Result<()>> + Send;

    /// As [`File::write_at`], durable (bytes and length) when it completes.
    fn write_durable_at(
        &self,
        at: u64,
        pieces: Vec<Bytes>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Makes all completed writes to this file durable, its length included.
    fn sync_data(&self) -> impl Future<Output = Result<()>> + Send;

    /// Cuts or extends (with zeros) the file to `len` bytes.
    fn truncate(&self, len: u64) -> impl Future<Output = Result<()>> + Send;

    /// The file's length in bytes.
    fn len(&self) -> impl Future<Output = Result<u64>> + Send;

    /// Maps the file's first `len` bytes for reading. Meant for files that change no more (the
    /// indexes of sealed segments).
    fn map(&self, len: u64) -> impl Future<Output = Result<Self::Map>> + Send;
}

/// A file's bytes, mapped for reading.
pub trait FileMap: Deref<Target = [u8]> + Send + Sync + 'static {}

impl<M: Deref<Target = [u8]> + Send + Sync + 'static> FileMap for M {}
