//! Directories, names and locks of the real disk. Files are in [`super::file`].

use std::{
    fs::{self, File as StdFile, OpenOptions},
    io::{Error, ErrorKind, Result},
    os::fd::AsRawFd,
    path::Path,
};

use tokio::runtime::Handle;

use super::file::RealFile;
use crate::disk::{Disk, Entry, OpenMode};

/// The operating system's files and directories.
#[derive(Clone, Debug)]
pub struct RealDisk {
    runtime: Handle,
}

impl RealDisk {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

/// A held directory lock.
#[derive(Debug)]
pub struct RealLock {
    _held: StdFile,
}

impl Disk for RealDisk {
    type File = RealFile;
    type Lock = RealLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> Result<RealFile> {
        let path = path.to_owned();
        let file = blocking(&self.runtime, move || {
            let mut options = OpenOptions::new();
            options.read(true).write(mode != OpenMode::Read);
            match mode {
                OpenMode::Read | OpenMode::ReadWrite => {}
                OpenMode::Create => {
                    options.create(true);
                }
                OpenMode::CreateNew => {
                    options.create_new(true);
                }
            }
            let file = options.open(path)?;
            if file.metadata()?.is_dir() {
                return Err(ErrorKind::IsADirectory.into());
            }
            Ok(file)
        })
        .await?;
        Ok(RealFile::new(file, self.runtime.clone()))
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        let path = path.to_owned();
        blocking(&self.runtime, move || fs::create_dir_all(path)).await
    }

    async fn sync_dir(&self, path: &Path) -> Result<()> {
        let path = path.to_owned();
        blocking(&self.runtime, move || {
            let folder = StdFile::open(path)?;
            if !folder.metadata()?.is_dir() {
                return Err(ErrorKind::NotADirectory.into());
            }
            folder.sync_all()
        })
        .await
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        blocking(&self.runtime, move || fs::rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        let path = path.to_owned();
        blocking(&self.runtime, move || fs::remove_file(path)).await
    }

    async fn remove_dir_all(&self, path: &Path) -> Result<()> {
        let path = path.to_owned();
        blocking(&self.runtime, move || fs::remove_dir_all(path)).await
    }

    async fn list(&self, path: &Path) -> Result<Vec<Entry>> {
        let path = path.to_owned();
        blocking(&self.runtime, move || list(&path)).await
    }

    async fn metadata(&self, path: &Path) -> Result<Entry> {
        let path = path.to_owned();
        blocking(&self.runtime, move || {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Ok(entry(name, &fs::metadata(path)?))
        })
        .await
    }

    async fn free_space(&self, path: &Path) -> Result<u64> {
        let path = path.to_owned();
        blocking(&self.runtime, move || {
            let disk = rustix::fs::statvfs(&path)?;
            Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
        })
        .await
    }

    async fn total_space(&self, path: &Path) -> Result<u64> {
        let path = path.to_owned();
        blocking(&self.runtime, move || {
            let disk = rustix::fs::statvfs(&path)?;
            Ok(disk.f_blocks.saturating_mul(disk.f_frsize))
        })
        .await
    }

    fn open_files_max(&self) -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let limit = limit.current.unwrap_or(u64::MAX);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    async fn lock(&self, path: &Path) -> Result<RealLock> {
        let path = path.to_owned();
        blocking(&self.runtime, move || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            lock_exclusively(&file)?;
            Ok(RealLock { _held: file })
        })
        .await
    }
}

fn list(path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in fs::read_dir(path)? {
        let found = found?;
        let name = found.file_name().to_string_lossy().into_owned();
        // Links are followed, so that a log directory may be one; a dangling one is shown as it is.
        match fs::metadata(found.path()).or_else(|_| fs::symlink_metadata(found.path())) {
            Ok(metadata) => entries.push(entry(name, &metadata)),
            // Removed since the directory was read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn entry(name: String, metadata: &fs::Metadata) -> Entry {
    let is_dir = metadata.is_dir();
    Entry {
        name,
        is_dir,
        len: if is_dir { 0 } else { metadata.len() },
    }
}

/// Takes an open-file-description lock on the whole file. Unlike `flock` it also meets the record
/// locks that Java takes, so Apache Kafka and Ottla keep out of each other's data directories; and
/// unlike a record lock it meets a second lock of the same process.
fn lock_exclusively(file: &StdFile) -> Result<()> {
    // SAFETY: `flock` is plain data, for which all zeros is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and the kernel only reads `lock`.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => match Error::last_os_error() {
            // POSIX lets a held lock be either.
            error if error.raw_os_error() == Some(libc::EACCES) => {
                Err(Error::new(ErrorKind::WouldBlock, error))
            }
            error => Err(error),
        },
    }
}

/// Runs a call that may wait for a device on a blocking thread.
pub(super) async fn blocking<T, C>(runtime: &Handle, call: C) -> Result<T>
where
    T: Send + 'static,
    C: FnOnce() -> Result<T> + Send + 'static,
{
    match runtime.spawn_blocking(call).await {
        Ok(result) => result.map_err(with_plain_kind),
        Err(lost) => Err(Error::other(lost)),
    }
}

/// A quota that is used up is a full disk to the broker: the same refusals, the same recovery.
pub(super) fn with_plain_kind(error: Error) -> Error {
    match error.kind() {
        ErrorKind::QuotaExceeded => Error::new(ErrorKind::StorageFull, error),
        _ => error,
    }
}
