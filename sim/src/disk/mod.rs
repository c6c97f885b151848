//! A disk of the simulated world, one for each node.
//!
//! madsim's own file model keeps unsynced data through a power loss and knows no rename; this one
//! models what `ottla_io::disk` promises and no more. A file has two images: what the page cache
//! shows, and what is durable. A write changes the first and joins a list of unsynced operations;
//! a sync moves those that were complete when it began into the second. Names have the same two
//! images, and a directory's sync moves its creates, renames and removals. A process that is killed
//! leaves both images as they are; a power loss draws from the seed which unsynced operations had
//! reached the device ([`fate`]) and makes that the only image.
//!
//! It is harsher than ext4 in its usual mode where POSIX allows it: syncing a new file does not make
//! its name durable, and unsynced name changes do not reach the device in order.

mod damage;
mod fate;
mod faults;
mod file;
mod names;
mod state;
mod survival;

use std::{
    io::{Error, ErrorKind, Result},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ottla_io::{Disk, OpenMode, disk::Entry};
use tokio::sync::watch;

use self::{damage::Misdirection, file::OpenGuard, state::DiskState};
pub use self::{
    fate::Losses,
    faults::DiskFaults,
    file::{SimFile, SimMap},
};
use crate::{
    clock::SimClock,
    event::{Aside, NodeId, Recorder, What, Work},
    process::Process,
    random::SimRandom,
};

/// The disk of a node: it outlives the node's processes.
#[derive(Clone)]
pub struct DiskDevice {
    node: NodeId,
    clock: SimClock,
    recorder: Recorder,
    state: Arc<Mutex<DiskState>>,
    stalled: watch::Sender<bool>,
}

impl DiskDevice {
    /// An empty disk of `capacity` bytes.
    #[must_use]
    pub fn new(node: NodeId, capacity: u64, random: SimRandom, recorder: Recorder) -> Self {
        let state = Arc::new(Mutex::new(DiskState::new(capacity, random)));
        Self {
            node,
            clock: SimClock::current(),
            recorder,
            state,
            stalled: watch::channel(false).0,
        }
    }

    /// The disk as `process` sees it.
    #[must_use]
    pub fn mount(&self, process: Process) -> SimDisk {
        SimDisk {
            device: self.clone(),
            process,
        }
    }

    /// The process that used the disk was killed: its handles and locks are gone.
    pub fn process_ended(&self) {
        self.lock().process_ended();
    }

    /// The node lost power: what was not synced is kept, lost or torn, as the seed says.
    pub fn power_lost(&self) -> Losses {
        let keeps_all = self.recorder.lock().keeps_all();
        let mut state = self.lock();
        let unsynced = match keeps_all {
            true => state.unsynced_writes(),
            false => Vec::new(),
        };
        let losses = state.power_lost();
        self.recorder
            .aside(self.node, || Aside::Survival(state.survival(&unsynced)));
        losses
    }

    /// Sets the faults that the disk shows from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.lock().faults = faults;
        self.stalled.send_replace(faults.stalled);
    }

    /// The faults that it shows.
    #[must_use]
    pub fn faults(&self) -> DiskFaults {
        self.lock().faults
    }

    /// Bytes that files take up.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().used
    }

    /// Flips bits of files whose path contains `files`, where they are durable and at rest. Gives the
    /// path and the bit's place of each.
    pub fn rot(&self, files: &str, bits: u32) -> Vec<(String, u64)> {
        self.lock().rot(files, bits)
    }

    /// The next write to a file whose path contains `files` goes to another place, where something
    /// else is at rest, while the page cache shows what was meant.
    pub fn misdirect_next(&self, files: &str) {
        self.lock().misdirection = Some(Misdirection::new(files));
    }

    /// The disk is replaced by an empty one.
    pub fn wipe(&self) {
        self.lock().wipe();
    }

    fn lock(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for DiskDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DiskDevice of node {}", self.node.0)
    }
}

/// A node's disk as one of its processes sees it.
#[derive(Clone, Debug)]
pub struct SimDisk {
    device: DiskDevice,
    process: Process,
}

/// How long an operation takes, before faults.
#[derive(Clone, Copy)]
enum Cost {
    /// The page cache answers: often at once.
    Memory,
    /// The device answers.
    Device,
}

impl SimDisk {
    /// Performs one operation: it takes its time, and its effect comes at the beginning or the end
    /// of it, so that one whose future is dropped half-way may or may not have happened.
    async fn perform<T>(
        &self,
        operation: &'static str,
        cost: Cost,
        act: impl FnOnce(&mut DiskState) -> Result<T>,
    ) -> Result<T> {
        self.process.only_alive().await;
        let (delay, effect_first, fails, stalled) = {
            let mut state = self.device.lock();
            (
                state.draw_delay(cost),
                state.draw_effect_first(),
                state.draw_failure(operation),
                state.draw_stalled(operation, cost),
            )
        };
        if stalled {
            self.until_it_goes_on().await;
        }
        if delay.is_zero() {
            return self.finish(operation, fails, act);
        }
        if effect_first {
            let result = self.finish(operation, fails, act);
            self.wait(delay).await;
            return result;
        }
        self.wait(delay).await;
        self.finish(operation, fails, act)
    }

    fn finish<T>(
        &self,
        operation: &'static str,
        fails: bool,
        act: impl FnOnce(&mut DiskState) -> Result<T>,
    ) -> Result<T> {
        let result = if fails {
            if operation.starts_with("sync") {
                self.note_lost_sync();
            }
            // EIO, as a failing device gives it.
            Err(Error::from_raw_os_error(5))
        } else {
            act(&mut self.device.lock())
        };
        if let Err(error) = &result {
            let error = error.to_string();
            self.record(What::DiskError { operation, error });
        }
        result
    }

    /// A sync fails: what it was to cover may be gone.
    fn note_lost_sync(&self) {
        let recorder = &self.device.recorder;
        recorder.work(self.device.node, Work::UnsyncedLost);
    }

    async fn wait(&self, delay: Duration) {
        self.device.clock.sleep(delay).await;
        self.process.only_alive().await;
    }

    async fn until_it_goes_on(&self) {
        // The device keeps the sender.
        let mut stalled = self.device.stalled.subscribe();
        let _ = stalled.wait_for(|stalled| !*stalled).await;
        self.process.only_alive().await;
    }

    fn record(&self, what: What) {
        self.device.recorder.record(self.device.node, what);
    }

    fn aside(&self, make: impl FnOnce() -> Aside) {
        self.device.recorder.aside(self.device.node, make);
    }

    fn record_name(&self, operation: &'static str, path: &Path) {
        self.record(What::DiskName {
            operation,
            path: path.display().to_string(),
        });
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> Result<SimFile> {
        let inode = self
            .perform("open", Cost::Memory, |state| {
                let inode = state.open(path, mode)?;
                self.record_name("open", path);
                self.aside(|| Aside::Opened {
                    inode,
                    path: path.display().to_string(),
                });
                Ok(inode)
            })
            .await?;
        let guard = OpenGuard::new(self.clone(), inode);
        Ok(SimFile::new(guard, mode != OpenMode::Read))
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.perform("create_dir_all", Cost::Memory, |state| {
            self.record_name("create_dir_all", path);
            state.create_dir_all(path)
        })
        .await
    }

    async fn sync_dir(&self, path: &Path) -> Result<()> {
        self.process.only_alive().await;
        let mark = self.device.lock().mark();
        self.perform("sync_dir", Cost::Device, |state| {
            self.record_name("sync_dir", path);
            state.sync_dir(path, mark)
        })
        .await
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.perform("rename", Cost::Memory, |state| {
            state.rename(from, to)?;
            self.record_name("rename from", from);
            self.record_name("rename to", to);
            Ok(())
        })
        .await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        self.perform("remove_file", Cost::Memory, |state| {
            self.record_name("remove_file", path);
            state.remove_file(path)
        })
        .await
    }

    async fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.perform("remove_dir_all", Cost::Memory, |state| {
            self.record_name("remove_dir_all", path);
            state.remove_dir_all(path)
        })
        .await
    }

    async fn list(&self, path: &Path) -> Result<Vec<Entry>> {
        self.perform("list", Cost::Memory, |state| state.list(path))
            .await
    }

    async fn metadata(&self, path: &Path) -> Result<Entry> {
        self.perform("metadata", Cost::Memory, |state| state.metadata(path))
            .await
    }

    async fn free_space(&self, path: &Path) -> Result<u64> {
        self.perform("free_space", Cost::Memory, |state| {
            state.metadata(path)?;
            Ok(state.free())
        })
        .await
    }

    async fn total_space(&self, path: &Path) -> Result<u64> {
        self.perform("total_space", Cost::Memory, |state| {
            state.metadata(path)?;
            Ok(state.total())
        })
        .await
    }

    async fn lock(&self, path: &Path) -> Result<SimLock> {
        let inode = self
            .perform("lock", Cost::Memory, |state| {
                self.record_name("lock", path);
                state.take_lock(path)
            })
            .await?;
        Ok(SimLock {
            disk: self.clone(),
            inode,
        })
    }
}

/// A held directory lock.
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    inode: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        if self.disk.process.is_alive() {
            self.disk.device.lock().release_lock(self.inode);
        }
    }
}

/// The error of a call that a file opened for reading cannot serve (EBADF).
fn not_writable() -> Error {
    Error::from_raw_os_error(9)
}

fn of_kind<T>(kind: ErrorKind) -> Result<T> {
    Err(Error::from(kind))
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
