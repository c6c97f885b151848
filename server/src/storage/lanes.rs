//! Performing a partition's effects: one lane for changes, one for syncs.
//!
//! Effects are taken in the order in which the machine pushed them. A change (a write, a new file)
//! begins when the one before it is done; a sync begins when all changes before it are done, and
//! runs beside later writes. What makes, replaces, cuts or deletes a file waits for the running syncs:
//! a new segment must have no name before the one it follows is durable, or a crash leaves a gap. So
//! a sync never claims a write that had not happened, and while one sync runs the next batch of
//! writes is already on its way: that is the group commit.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use ottla_core::{
    log::{Effect, FileName, Mark},
    partition::{EffectId, PartitionConfig},
};
use ottla_io::{Disk, File, Io, OpenMode};

use super::files::OpenFiles;

/// Bytes that one vectored write may gather. Enough to fill a device's queue; more would only make
/// the first of the appends wait for the last.
const GATHERED_BYTES_MAX: usize = 4 << 20;

/// Pieces that one vectored write may gather: the kernel takes 1024 in one call.
const GATHERED_PIECES_MAX: usize = 1024;

/// What an effect, or several gathered, came to.
#[derive(Debug)]
pub(super) enum Done {
    /// All changes up to this one are made.
    Changed(EffectId, io::Result<()>),
    /// All syncs up to this one are made.
    Synced(EffectId, io::Result<()>),
}

/// Where a partition's files are.
pub(super) struct Place<I: Io> {
    pub(super) io: I,
    pub(super) files: Arc<OpenFiles<I>>,
    pub(super) number: u64,
    pub(super) folder: PathBuf,
    /// How long deleted files stay, in milliseconds.
    pub(super) delete_delay: Arc<AtomicU64>,
}

impl<I: Io> Clone for Place<I> {
    fn clone(&self) -> Self {
        Self {
            io: self.io.clone(),
            files: Arc::clone(&self.files),
            number: self.number,
            folder: self.folder.clone(),
            delete_delay: Arc::clone(&self.delete_delay),
        }
    }
}

impl<I: Io> Place<I> {
    pub(super) fn delete_delay(&self) -> Duration {
        Duration::from_millis(self.delete_delay.load(Ordering::Relaxed))
    }

    /// Takes the delay that a partition is configured with, if it is.
    pub(super) fn configure(&self, config: &PartitionConfig) {
        if let Some(delay) = config.file_delete_delay {
            self.delete_delay.store(as_millis(delay), Ordering::Relaxed);
        }
    }
}

pub(super) fn as_millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

/// The effects in flight.
pub(super) struct Lanes {
    changing: Option<BoxFuture<'static, Done>>,
    syncing: Option<BoxFuture<'static, Done>>,
    syncs: VecDeque<(EffectId, Effect)>,
}

/// Writes to one file that follow on one another.
struct Run {
    file: FileName,
    at: u64,
    end: u64,
    pieces: Vec<Bytes>,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            changing: None,
            syncing: None,
            syncs: VecDeque::new(),
        }
    }

    /// Whether nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.changing.is_none() && self.syncing.is_none() && self.syncs.is_empty()
    }

    /// Begins what can begin of `effects`.
    pub(super) fn fill<I: Io>(
        &mut self,
        place: &Place<I>,
        effects: &mut VecDeque<(EffectId, Effect)>,
    ) {
        while self.changing.is_none() {
            match effects.front() {
                None => break,
                Some((_, Effect::Sync(_) | Effect::SyncDir)) => {
                    self.syncs.extend(effects.pop_front());
                }
                Some((_, Effect::Write { .. })) => {
                    let (last, runs) = gather(effects);
                    let place = place.clone();
                    self.changing = Some(
                        async move { Done::Changed(last, write_runs(&place, runs).await) }.boxed(),
                    );
                }
                Some(_) if self.syncing.is_some() || !self.syncs.is_empty() => break,
                Some(_) => self.change(place, effects.pop_front()),
            }
        }
        if self.syncing.is_none() && !self.syncs.is_empty() {
            let syncs: Vec<_> = self.syncs.drain(..).collect();
            let place = place.clone();
            self.syncing = Some(sync_all(place, syncs).boxed());
        }
    }

    /// The next thing that is done. Waits for ever if nothing is in flight.
    pub(super) async fn next(&mut self) -> Done {
        let done = std::future::poll_fn(|cx| {
            for lane in [&mut self.syncing, &mut self.changing] {
                if let Some(running) = lane
                    && let std::task::Poll::Ready(done) = running.poll_unpin(cx)
                {
                    *lane = None;
                    return std::task::Poll::Ready(done);
                }
            }
            std::task::Poll::Pending
        });
        done.await
    }

    /// Waits for the running sync, if there is one, and forgets those that had not begun.
    pub(super) async fn settle_syncs(&mut self) -> Option<Done> {
        self.syncs.clear();
        match self.syncing.take() {
            Some(running) => Some(running.await),
            None => None,
        }
    }

    /// Waits for what runs and forgets the rest: the files are given up.
    pub(super) async fn settle(&mut self) {
        self.settle_syncs().await;
        if let Some(running) = self.changing.take() {
            running.await;
        }
    }

    fn change<I: Io>(&mut self, place: &Place<I>, effect: Option<(EffectId, Effect)>) {
        self.changing = effect.map(|(id, effect)| {
            let place = place.clone();
            async move { Done::Changed(id, perform(&place, effect).await) }.boxed()
        });
    }
}

/// Takes writes off the front, gathering those that follow on one another in each file.
fn gather(effects: &mut VecDeque<(EffectId, Effect)>) -> (EffectId, Vec<Run>) {
    let mut runs: Vec<Run> = Vec::new();
    let mut last = EffectId(0);
    let (mut bytes, mut count) = (0, 0);
    while let Some((id, Effect::Write { file, at, pieces })) = effects.front_mut() {
        let size: usize = pieces.iter().map(Bytes::len).sum();
        let full = bytes + size > GATHERED_BYTES_MAX || count + pieces.len() > GATHERED_PIECES_MAX;
        if full && !runs.is_empty() {
            break;
        }
        bytes += size;
        count += pieces.len();
        last = *id;
        let pieces = std::mem::take(pieces);
        match runs.iter_mut().rev().find(|run| run.file == *file) {
            Some(run) if run.end == *at => {
                run.end += size as u64;
                run.pieces.extend(pieces);
            }
            _ => runs.push(Run {
                file: *file,
                at: *at,
                end: *at + size as u64,
                pieces,
            }),
        }
        effects.pop_front();
    }
    (last, runs)
}

async fn write_runs<I: Io>(place: &Place<I>, runs: Vec<Run>) -> io::Result<()> {
    for run in runs {
        place
            .open(run.file, OpenMode::Create)
            .await?
            .write_at(run.at, run.pieces)
            .await?;
    }
    Ok(())
}

/// Performs syncs, each file once, directory last of all.
async fn sync_all<I: Io>(place: Place<I>, syncs: Vec<(EffectId, Effect)>) -> Done {
    let last = syncs.last().map_or(EffectId(0), |(id, _)| *id);
    let mut names: Vec<FileName> = Vec::new();
    let mut folder = false;
    for (_, effect) in syncs {
        match effect {
            Effect::Sync(name) if !names.contains(&name) => names.push(name),
            Effect::SyncDir => folder = true,
            _ => {}
        }
    }
    let synced = async {
        for name in names {
            match place.open(name, OpenMode::Read).await {
                Ok(file) => file.sync_data().await?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if folder {
            place.io.disk().sync_dir(&place.folder).await?;
        }
        Ok(())
    };
    Done::Synced(last, synced.await)
}

/// Performs one effect by itself.
pub(super) async fn perform<I: Io>(place: &Place<I>, effect: Effect) -> io::Result<()> {
    match effect {
        Effect::Create(name) => {
            // A new file rather than an emptied one: somebody may have the old one mapped.
            place.files.forget(place.number, name);
            remove_if_there(&place.io, &place.path(name)).await?;
            place.open(name, OpenMode::Create).await.map(|_| ())
        }
        Effect::Write { file, at, pieces } => {
            place
                .open(file, OpenMode::Create)
                .await?
                .write_at(at, pieces)
                .await
        }
        Effect::Sync(name) => match place.open(name, OpenMode::Read).await {
            Ok(file) => file.sync_data().await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        },
        Effect::SyncDir => place.io.disk().sync_dir(&place.folder).await,
        Effect::Truncate { file, len } => match place.open(file, OpenMode::Read).await {
            Ok(opened) if opened.len().await? > len => {
                // What is mapped of it must not reach past its end.
                place.files.forget(place.number, file);
                opened.truncate(len).await
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        },
        Effect::Recut { file, len } => {
            let opened = place.open(file, OpenMode::Create).await?;
            // What is mapped of it must not reach past its end.
            place.files.forget(place.number, file);
            // To cut a file to the length that it shows does nothing.
            opened.truncate(len + 1).await?;
            opened.truncate(len).await
        }
        Effect::Replace { file, contents } => {
            place.files.forget(place.number, file);
            let replaced = place.io.disk().replace(&place.path(file), contents).await;
            place.files.forget(place.number, file);
            replaced
        }
        Effect::Delete(names) => delete(place, names).await,
        Effect::Remove(names) => {
            for name in names {
                remove_if_there(&place.io, &place.folder.join(name)).await?;
            }
            // Those that were open under their plain names are found missing, or made anew.
            place.files.forget_all(place.number);
            Ok(())
        }
        Effect::Unmark { file, mark } => {
            let marked = place.folder.join(file.marked(mark));
            place.io.disk().rename(&marked, &place.path(file)).await?;
            place.files.forget(place.number, file);
            Ok(())
        }
    }
}

/// Renames files out of the way at once and removes them later, so that readers that have planned
/// a read of them still find what they hold open.
async fn delete<I: Io>(place: &Place<I>, names: Vec<FileName>) -> io::Result<()> {
    let disk = place.io.disk();
    let mut renamed = Vec::with_capacity(names.len());
    for name in names {
        let to = place.folder.join(name.marked(Mark::Deleted));
        match disk.rename(&place.path(name), &to).await {
            Ok(()) => renamed.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        place.files.forget(place.number, name);
    }
    let io = place.io.clone();
    let delay = place.delete_delay();
    place.io.spawn_detached(
        "delete-segment",
        async move {
            io.sleep(delay).await;
            for path in renamed {
                // What is left behind is removed when the partition is opened next.
                if let Err(error) = remove_if_there(&io, &path).await {
                    tracing::warn!(path = %path.display(), %error, "a deleted segment's file cannot be removed");
                }
            }
        }
        .boxed(),
    );
    Ok(())
}

async fn remove_if_there<I: Io>(io: &I, path: &Path) -> io::Result<()> {
    match io.disk().remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl<I: Io> Place<I> {
    pub(super) fn path(&self, name: FileName) -> PathBuf {
        self.folder.join(name.to_string())
    }

    pub(super) async fn open(
        &self,
        name: FileName,
        mode: OpenMode,
    ) -> io::Result<<I::Disk as Disk>::File> {
        self.files.get(self.number, &self.folder, name, mode).await
    }
    /// A mapped index.
    pub(super) async fn map(
        &self,
        name: FileName,
        len: u64,
    ) -> io::Result<Arc<<<I::Disk as Disk>::File as File>::Map>> {
        self.files.map(self.number, &self.folder, name, len).await
    }
}
