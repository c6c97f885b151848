//! An open file of the simulated disk.

use std::{
    io::{ErrorKind, Result},
    ops::Deref,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use ottla_io::File;

use super::{Cost, SimDisk, not_writable, of_kind};
use crate::{
    event::{Aside, What},
    hash::digest,
};

/// An open file; clones share it.
#[derive(Clone, Debug)]
pub struct SimFile {
    open: Arc<OpenGuard>,
    writable: bool,
}

/// Keeps a removed file's bytes for as long as a live process has it open.
#[derive(Debug)]
pub(super) struct OpenGuard {
    disk: SimDisk,
    inode: u64,
}

impl OpenGuard {
    pub(super) fn new(disk: SimDisk, inode: u64) -> Self {
        Self { disk, inode }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        if self.disk.process.is_alive() {
            self.disk.device.lock().close(self.inode);
        }
    }
}

/// A file's bytes at the moment that it was mapped. A real map shows later changes; the trait is for
/// files that change no more.
#[derive(Debug)]
pub struct SimMap(Bytes);

impl Deref for SimMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl SimFile {
    pub(super) fn new(open: OpenGuard, writable: bool) -> Self {
        Self {
            open: Arc::new(open),
            writable,
        }
    }

    fn disk(&self) -> &SimDisk {
        &self.open.disk
    }

    async fn write(&self, at: u64, pieces: Vec<Bytes>) -> Result<()> {
        if !self.writable {
            return Err(not_writable());
        }
        let inode = self.open.inode;
        let bytes = joined(pieces);
        let recorded = bytes.clone();
        self.disk().process.only_alive().await;
        let fails = self.disk().device.lock().draw_failure("write");
        self.disk()
            .perform("write_at", Cost::Memory, |state| {
                let (written, result) = match fails {
                    true => state.fail_write(inode, at, bytes),
                    false => state.write(inode, at, bytes),
                };
                let recorded = recorded.slice(..written);
                self.disk().aside(|| Aside::Written {
                    inode,
                    at,
                    bytes: recorded.clone(),
                });
                self.disk().record(What::DiskWrite {
                    inode,
                    at,
                    len: written as u64,
                    digest: digest(&[&recorded]),
                });
                result
            })
            .await
    }
}

impl File for SimFile {
    type Map = SimMap;

    async fn read_at(&self, at: u64, len: usize) -> Result<Bytes> {
        let inode = self.open.inode;
        self.disk().process.only_alive().await;
        let end = at.saturating_add(len as u64);
        let cost = self.disk().device.lock().read_cost(inode, end);
        self.disk()
            .perform("read", cost, |state| {
                let bytes = state.read(inode, at, len);
                self.disk().record(What::DiskRead {
                    inode,
                    at,
                    len: bytes.len() as u64,
                    digest: digest(&[&bytes]),
                });
                Ok(bytes)
            })
            .await
    }

    async fn write_at(&self, at: u64, pieces: Vec<Bytes>) -> Result<()> {
        self.write(at, pieces).await
    }

    async fn write_durable_at(&self, at: u64, pieces: Vec<Bytes>) -> Result<()> {
        self.write(at, pieces).await?;
        self.sync_data().await
    }

    async fn sync_data(&self) -> Result<()> {
        let disk = self.disk();
        disk.process.only_alive().await;
        let inode = self.open.inode;
        let (mark, fails) = {
            let mut state = disk.device.lock();
            (state.mark(), state.draw_failure("sync"))
        };
        disk.perform("sync_data", Cost::Device, |state| {
            if fails {
                disk.note_lost_sync();
                state.fail_sync(inode, mark);
                return Err(std::io::Error::from_raw_os_error(5));
            }
            let len = state.sync(inode, mark);
            disk.record(What::DiskSync { inode, len });
            Ok(())
        })
        .await
    }

    async fn truncate(&self, len: u64) -> Result<()> {
        if !self.writable {
            return of_kind(ErrorKind::InvalidInput);
        }
        let inode = self.open.inode;
        self.disk()
            .perform("truncate", Cost::Memory, |state| {
                state.truncate(inode, len);
                self.disk().record(What::DiskTruncate { inode, len });
                Ok(())
            })
            .await
    }

    async fn len(&self) -> Result<u64> {
        self.disk().process.only_alive().await;
        Ok(self.disk().device.lock().len(self.open.inode))
    }

    async fn map(&self, len: u64) -> Result<SimMap> {
        let inode = self.open.inode;
        self.disk().process.only_alive().await;
        let cost = self.disk().device.lock().read_cost(inode, len);
        self.disk()
            .perform("map", cost, |state| {
                if len > state.len(inode) {
                    return of_kind(ErrorKind::UnexpectedEof);
                }
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                Ok(SimMap(state.read(inode, 0, len)))
            })
            .await
    }
}

fn joined(pieces: Vec<Bytes>) -> Bytes {
    let mut pieces = pieces;
    if pieces.len() == 1 {
        return pieces.remove(0);
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in &pieces {
        all.extend_from_slice(piece);
    }
    all.freeze()
}
