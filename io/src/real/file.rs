//! An open file of the real disk.
//!
//! Reads ask the page cache first (`preadv2` with `RWF_NOWAIT`), inline, and move to a blocking
//! thread only for what is not there. Buffered writes are a copy into the page cache and go inline
//! while they are small. A large copy takes its time either way, and a large write may be throttled
//! by the kernel's write-back, so it tells the runtime that this worker may be away for a while.
//! Syncs always wait for the device.

use std::{
    fs::File as StdFile,
    io::{Error, ErrorKind, IoSlice, Result},
    ops::Deref,
    os::fd::AsRawFd,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use memmap2::{Mmap, MmapOptions};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::disk::{blocking, with_plain_kind};
use crate::disk::File;

/// Linux takes at most this many pieces a call (`IOV_MAX`).
const PIECES_PER_CALL_MAX: usize = 1024;

/// Copies to and from the page cache up to this size are done inline: about 50 us.
const INLINE_COPY_MAX: usize = 256 * 1024;

/// Reads above this size look at the file's length first, so that a generous `len` near the end
/// does not hold memory that it cannot fill.
const UNCHECKED_READ_MAX: usize = 4 * 1024;

/// An open file; clones share the descriptor.
#[derive(Clone, Debug)]
pub struct RealFile {
    file: Arc<StdFile>,
    runtime: Handle,
}

/// A file's bytes, mapped for reading.
#[derive(Debug)]
pub struct RealMap(Option<Mmap>);

impl Deref for RealMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl RealFile {
    pub(super) fn new(file: StdFile, runtime: Handle) -> Self {
        Self {
            file: Arc::new(file),
            runtime,
        }
    }

    /// Copies `len` bytes to or from the page cache, on this thread.
    fn copying<T>(&self, len: usize, copy: impl FnOnce() -> T) -> T {
        if len > INLINE_COPY_MAX && self.runtime.runtime_flavor() == RuntimeFlavor::MultiThread {
            tokio::task::block_in_place(copy)
        } else {
            copy()
        }
    }

    async fn blocking<T, C>(&self, call: C) -> Result<T>
    where
        T: Send + 'static,
        C: FnOnce(&StdFile) -> Result<T> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        blocking(&self.runtime, move || call(&file)).await
    }
}

impl File for RealFile {
    type Map = RealMap;

    async fn read_at(&self, at: u64, len: usize) -> Result<Bytes> {
        let mut len = len;
        if len > UNCHECKED_READ_MAX {
            let remaining = self.file.metadata()?.len().saturating_sub(at);
            len = len.min(usize::try_from(remaining).unwrap_or(usize::MAX));
        }
        let mut buffer = BytesMut::new();
        buffer.reserve(len);
        let read = self.copying(len, || {
            read_more(&self.file, at, len, &mut buffer, libc::RWF_NOWAIT)
        });
        match read {
            Ok(()) => Ok(buffer.freeze()),
            // Not (or not all) in the page cache, or a file system without this mode.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Unsupported) =>
            {
                self.blocking(move |file| {
                    read_more(file, at, len, &mut buffer, 0)?;
                    Ok(buffer.freeze())
                })
                .await
            }
            Err(error) => Err(error),
        }
    }

    async fn write_at(&self, at: u64, pieces: Vec<Bytes>) -> Result<()> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        self.copying(len, || {
            write_all(&self.file, at, &pieces, ReadWriteFlags::empty())
        })
        .map_err(with_plain_kind)
    }

    async fn write_durable_at(&self, at: u64, pieces: Vec<Bytes>) -> Result<()> {
        self.blocking(
            move |file| match write_all(file, at, &pieces, ReadWriteFlags::DSYNC) {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    write_all(file, at, &pieces, ReadWriteFlags::empty())?;
                    file.sync_data()
                }
                result => result,
            },
        )
        .await
    }

    async fn sync_data(&self) -> Result<()> {
        self.blocking(StdFile::sync_data).await
    }

    async fn truncate(&self, len: u64) -> Result<()> {
        self.blocking(move |file| file.set_len(len)).await
    }

    async fn len(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    async fn map(&self, len: u64) -> Result<RealMap> {
        self.blocking(move |file| {
            if len > file.metadata()?.len() {
                // Touching a page past the end would end the process.
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let len = usize::try_from(len).map_err(|_| Error::from(ErrorKind::OutOfMemory))?;
            if len == 0 {
                return Ok(RealMap(None));
            }
            // SAFETY: only this process writes files of its (locked) data directory, and `File::map`
            // is for files that change no more.
            let map = unsafe { MmapOptions::new().len(len).map(file)? };
            Ok(RealMap(Some(map)))
        })
        .await
    }
}

/// Reads until `buffer` holds `len` bytes or the file ends. On an error it keeps what it has read.
fn read_more(
    file: &StdFile,
    at: u64,
    len: usize,
    buffer: &mut BytesMut,
    flags: libc::c_int,
) -> Result<()> {
    while buffer.len() < len {
        let offset = libc::off_t::try_from(at.saturating_add(buffer.len() as u64))
            .map_err(|_| Error::from(ErrorKind::InvalidInput))?;
        let wanted = len - buffer.len();
        let space = &mut buffer.spare_capacity_mut()[..wanted];
        let piece = libc::iovec {
            iov_base: space.as_mut_ptr().cast(),
            iov_len: space.len(),
        };
        // SAFETY: `piece` is writable memory of that length which nobody else sees, and the
        // descriptor is open. The raw call spares zeroing memory that the kernel is about to fill.
        let count = unsafe { libc::preadv2(file.as_raw_fd(), &raw const piece, 1, offset, flags) };
        match usize::try_from(count) {
            Ok(0) => return Ok(()),
            // SAFETY: the kernel has just filled that many bytes of the spare capacity.
            Ok(count) => unsafe { buffer.set_len(buffer.len() + count) },
            Err(_) => match Error::last_os_error() {
                error if error.kind() == ErrorKind::Interrupted => {}
                error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    return Err(ErrorKind::Unsupported.into());
                }
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Writes all of `pieces`, going on after short writes and signals.
fn write_all(file: &StdFile, at: u64, pieces: &[Bytes], flags: ReadWriteFlags) -> Result<()> {
    let mut at = at;
    let mut slices: Vec<IoSlice<'_>> = pieces
        .iter()
        .filter(|piece| !piece.is_empty())
        .map(|piece| IoSlice::new(piece))
        .collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let call = &left[..left.len().min(PIECES_PER_CALL_MAX)];
        let written = if flags.is_empty() {
            rustix::io::pwritev(file, call, at)
        } else {
            rustix::io::pwritev2(file, call, at, flags)
        };
        match written {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(ErrorKind::Unsupported.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
