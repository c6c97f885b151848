//! The open files of all partitions, bounded.
//!
//! A broker holds far more files than it may have descriptors. Those used last stay open; the
//! others are opened again when they are wanted. A handle that is evicted while somebody reads
//! through it stays good: clones share the one open file.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ottla_core::log::FileName;
use ottla_io::{Disk, File, Io, OpenMode, disk::is_out_of_files};

/// A file of a partition, by the number that the partition got when it was opened.
type Key = (u64, FileName);

/// An open file.
type Handle<I> = <<I as Io>::Disk as Disk>::File;

/// A mapped index.
type Map<I> = <Handle<I> as File>::Map;

/// The least recently used cache of open files.
pub(super) struct OpenFiles<I: Io> {
    io: I,
    max: usize,
    state: Mutex<State<Handle<I>>>,
}

struct State<F: File> {
    files: BTreeMap<Key, Opened<F>>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    /// Counts what was forgotten: an open that overlapped with it may have got the old file.
    forgotten: u64,
}

struct Opened<F: File> {
    file: F,
    map: Option<(u64, Arc<F::Map>)>,
    used: u64,
}

impl<I: Io> OpenFiles<I> {
    /// A cache of at most `max` files.
    pub(super) fn new(io: I, max: usize) -> Self {
        let state = State {
            files: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            forgotten: 0,
        };
        Self {
            io,
            max: max.max(1),
            state: Mutex::new(state),
        }
    }

    /// The file, opened in `mode` if it is not open yet.
    pub(super) async fn get(
        &self,
        partition: u64,
        folder: &Path,
        name: FileName,
        mode: OpenMode,
    ) -> io::Result<Handle<I>> {
        let key = (partition, name);
        let forgotten = {
            let mut state = self.state();
            if let Some(file) = state.touch(key) {
                return Ok(file);
            }
            state.forgotten
        };
        // Always for writing too, so that one handle serves both; two who miss at once open it
        // twice and the later one stays.
        let mode = if mode == OpenMode::Read {
            OpenMode::ReadWrite
        } else {
            mode
        };
        let path = folder.join(name.to_string());
        let file = match self.io.disk().open(&path, mode).await {
            Err(error) if is_out_of_files(&error) => {
                // Connections took more than their share.
                self.state().evict_some();
                self.io.disk().open(&path, mode).await?
            }
            opened => opened?,
        };
        let mut state = self.state();
        if state.forgotten == forgotten {
            state.insert(key, file.clone(), self.max);
        }
        Ok(file)
    }

    /// The first `len` bytes of an index, which change no more, mapped. The map is kept for as long as
    /// the file stays open.
    pub(super) async fn map(
        &self,
        partition: u64,
        folder: &Path,
        name: FileName,
        len: u64,
    ) -> io::Result<Arc<Map<I>>> {
        let key = (partition, name);
        if let Some(map) = self.state().map_of(key, len) {
            return Ok(map);
        }
        let map = Arc::new(
            self.get(partition, folder, name, OpenMode::Read)
                .await?
                .map(len)
                .await?,
        );
        if let Some(opened) = self.state().files.get_mut(&key) {
            opened.map = Some((len, Arc::clone(&map)));
        }
        Ok(map)
    }

    /// Closes a file: its name now stands for another, or none.
    pub(super) fn forget(&self, partition: u64, name: FileName) {
        let mut state = self.state();
        state.forgotten += 1;
        state.remove((partition, name));
    }

    /// Closes all files of a partition.
    pub(super) fn forget_all(&self, partition: u64) {
        let mut state = self.state();
        state.forgotten += 1;
        let gone: Vec<Key> = state
            .files
            .keys()
            .filter(|(owner, _)| *owner == partition)
            .copied()
            .collect();
        for key in gone {
            state.remove(key);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<Handle<I>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: File> State<F> {
    fn touch(&mut self, key: Key) -> Option<F> {
        let opened = self.files.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(&opened.used);
        opened.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(opened.file.clone())
    }

    fn map_of(&mut self, key: Key, len: u64) -> Option<Arc<F::Map>> {
        self.touch(key)?;
        let (mapped, map) = self.files.get(&key)?.map.as_ref()?;
        (*mapped == len).then(|| Arc::clone(map))
    }

    fn insert(&mut self, key: Key, file: F, max: usize) {
        self.remove(key);
        while self.files.len() >= max && self.evict_oldest() {}
        self.uses += 1;
        self.files.insert(
            key,
            Opened {
                file,
                map: None,
                used: self.uses,
            },
        );
        self.by_use.insert(self.uses, key);
    }

    fn evict_oldest(&mut self) -> bool {
        let oldest = self.by_use.pop_first();
        if let Some((_, key)) = &oldest {
            self.files.remove(key);
        }
        oldest.is_some()
    }

    /// Closes the least used quarter.
    fn evict_some(&mut self) {
        for _ in 0..self.files.len().div_ceil(4) {
            self.evict_oldest();
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(opened) = self.files.remove(&key) {
            self.by_use.remove(&opened.used);
        }
    }
}
