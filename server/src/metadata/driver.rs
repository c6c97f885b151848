//! The task that performs what the controller decides.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use ottla_core::{
    controller::{AnswerError, Controller, Input, Output, Refusal, Response, Seed},
    limits::METADATA_BATCH_BYTES_MAX,
    marks,
    metadata::ReplayError,
    partition::Ticket,
    time::Instant,
};
use ottla_io::{Disk, Io, Task};
use ottla_wire::metadata::MetadataRecord;
use tokio::sync::{mpsc, oneshot};

use super::{
    Asked, Published, Shared,
    publish::Publisher,
    quorum::quorum_records,
    records::{EncodeBatchError, encode_batch},
    snapshot::{SnapshotContents, SnapshotError, SnapshotId, list_snapshots, write_snapshot},
};
use crate::storage::{Acks, AppendError, Appended, Origin};

/// How many snapshots are kept: the newest, and the one before it in case the newest is damaged.
const SNAPSHOTS_KEPT: usize = 2;

/// Why the driver ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum DriveError {
    /// The log holds, or the controller made, what cannot be.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Records cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeBatchError),
    /// The log cannot be written.
    #[error("the metadata log cannot be written: {0}")]
    Append(#[from] AppendError),
    /// The log gave another offset than the controller reckoned with.
    #[error("the metadata log gave offset {got}, expected {expected}")]
    Offset {
        /// What the controller reckoned with.
        expected: i64,
        /// What the log gave.
        got: i64,
    },
}

/// What became of an append.
struct Done {
    result: Result<Appended, AppendError>,
    expected: i64,
    bytes: u64,
}

/// A batch that is made and not yet given to the log.
struct Batch {
    base_offset: i64,
    bytes: Bytes,
}

type Waiting = oneshot::Sender<Result<Response, AnswerError>>;

pub(super) struct Driver<I: Io> {
    pub(super) io: I,
    pub(super) shared: Arc<Shared<I>>,
    pub(super) controller: Controller,
    pub(super) publisher: Publisher<I>,
    pub(super) folder: PathBuf,
    pub(super) last_timestamp: i64,
    /// The one append under way. The batches that are made meanwhile wait, and go together: none may
    /// be in the log that rests on one which the log refused.
    appending: Option<BoxFuture<'static, Done>>,
    batches: VecDeque<Batch>,
    /// The log refused the last append: said once, not for every request.
    is_refusing: bool,
    waiting: BTreeMap<Ticket, Waiting>,
    next_ticket: u64,
    snapshot: Option<Task<Result<SnapshotId, SnapshotError>>>,
    /// Whether changes go to this node's partitions; not while the node starts.
    is_live: bool,
}

impl<I: Io> Driver<I> {
    pub(super) fn new(
        io: I,
        shared: Arc<Shared<I>>,
        controller: Controller,
        publisher: Publisher<I>,
        folder: PathBuf,
        last_timestamp: i64,
    ) -> Self {
        Self {
            io,
            shared,
            controller,
            publisher,
            folder,
            last_timestamp,
            appending: None,
            batches: VecDeque::new(),
            is_refusing: false,
            waiting: BTreeMap::new(),
            next_ticket: 0,
            snapshot: None,
            is_live: false,
        }
    }

    /// Performs an input and everything that follows from it, to the end. Only for the start, when
    /// nobody else asks: a node that cannot write its own first records cannot go on.
    pub(super) async fn settle(&mut self, input: Input) -> Result<(), DriveError> {
        self.step(input).await?;
        while let Some(appending) = &mut self.appending {
            let done = appending.await;
            if let Err(error) = done.result {
                return Err(error.into());
            }
            self.appended(done).await?;
        }
        Ok(())
    }

    /// As [`Driver::settle`], for a request; gives its answer.
    pub(super) async fn ask(
        &mut self,
        request: ottla_core::controller::Request,
    ) -> Result<Result<Response, AnswerError>, DriveError> {
        let (sender, mut answer) = oneshot::channel();
        let input = self.request(request, sender);
        self.settle(input).await?;
        Ok(answer
            .try_recv()
            .unwrap_or_else(|_| Err(AnswerError::not_controller())))
    }

    /// Opens this node's partitions; from now on they follow every change.
    pub(super) async fn go_live(&mut self) {
        self.publisher.apply_all(&self.io, &self.shared.image).await;
        self.is_live = true;
    }

    /// Serves requests until there is nobody left who could ask, or the log fails.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Asked>) {
        let mut guard = EndGuard {
            shared: Arc::clone(&self.shared),
            is_ended: false,
        };
        self.run_to_end(&mut requests).await;
        guard.is_ended = true;
    }

    async fn run_to_end(&mut self, requests: &mut mpsc::Receiver<Asked>) {
        if let Err(error) = self.serve(requests).await {
            tracing::error!(%error, "the metadata cannot be changed any more");
            let mut out = Vec::new();
            let _ = self
                .controller
                .step(self.io.now(), Input::AppendFailed, &mut out);
            for output in out {
                if let Output::Reply { ticket, answer } = output {
                    self.reply(ticket, answer);
                }
            }
            self.shared
                .failed
                .send_replace(Some(error.to_string().into()));
            requests.close();
            while let Some((_, sender)) = requests.recv().await {
                let _ = sender.send(Err(AnswerError::not_controller()));
            }
        }
    }

    async fn serve(&mut self, requests: &mut mpsc::Receiver<Asked>) -> Result<(), DriveError> {
        loop {
            let timer = self.sleep_until(self.controller.next_timer().map(|(at, _)| at));
            let reopen = self.sleep_until(self.publisher.next_reopen());
            let appending = async {
                match &mut self.appending {
                    Some(appending) => appending.await,
                    None => std::future::pending().await,
                }
            };
            let snapshot = async {
                match &mut self.snapshot {
                    Some(task) => task.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = appending => self.appended(done).await?,
                asked = requests.recv() => {
                    let Some((request, sender)) = asked else { return Ok(()) };
                    let input = self.request(request, sender);
                    self.step(input).await?;
                }
                outcome = snapshot => {
                    self.snapshot = None;
                    self.snapshot_done(outcome.ok()).await?;
                }
                () = timer => self.step(Input::Timer).await?,
                () = reopen => self.reopen().await,
            }
        }
    }

    /// Completes at `at`; never for none.
    fn sleep_until(&self, at: Option<Instant>) -> impl Future<Output = ()> + Send + use<I> {
        let io = self.io.clone();
        async move {
            match at {
                Some(at) => io.sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Tries again to open what could not be opened, and tells of what is open now.
    async fn reopen(&mut self) {
        let delta = self.publisher.reopen(&self.io, &self.shared.image).await;
        if !delta.is_empty() {
            self.shared.tell_followers(&delta);
        }
    }

    fn request(&mut self, request: ottla_core::controller::Request, sender: Waiting) -> Input {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, sender);
        let seed = Seed([self.io.random_u64(), self.io.random_u64()]);
        Input::Request {
            ticket,
            request,
            seed,
        }
    }

    async fn appended(&mut self, done: Done) -> Result<(), DriveError> {
        self.appending = None;
        let Done {
            result,
            expected,
            bytes,
        } = done;
        let appended = match result {
            Ok(appended) => appended,
            Err(error) => return self.refused(error).await,
        };
        self.is_refusing = false;
        if appended.base_offset != expected {
            return Err(DriveError::Offset {
                expected,
                got: appended.base_offset,
            });
        }
        let last_offset = appended.last_offset;
        self.step(Input::Committed { last_offset, bytes }).await
    }

    /// The log took nothing of an append. What waits behind it rests on it, so it goes as well.
    async fn refused(&mut self, error: AppendError) -> Result<(), DriveError> {
        let why = match error {
            AppendError::Full => Refusal::Full,
            AppendError::Batch(_) | AppendError::Log(_) => Refusal::Invalid,
            error => return Err(error.into()),
        };
        if !std::mem::replace(&mut self.is_refusing, true) {
            tracing::error!(%error, "changes of the metadata are refused");
        }
        self.batches.clear();
        self.step(Input::AppendRefused { why }).await
    }

    async fn step(&mut self, input: Input) -> Result<(), DriveError> {
        let mut out = Vec::new();
        self.controller.step(self.io.now(), input, &mut out)?;
        for output in out {
            match output {
                Output::Append {
                    base_offset,
                    records,
                } => self.append(base_offset, &records)?,
                Output::Publish {
                    last_offset,
                    records,
                } => {
                    self.publish(last_offset, &records).await?;
                }
                Output::Reply { ticket, answer } => self.reply(ticket, answer),
                Output::Snapshot { end_offset, epoch } => {
                    self.start_snapshot(SnapshotId { end_offset, epoch });
                }
            }
        }
        self.start_append();
        Ok(())
    }

    fn append(&mut self, base_offset: i64, records: &[MetadataRecord]) -> Result<(), DriveError> {
        let now = self.io.now().wall.0;
        let version = self.controller.image().metadata_version();
        let bytes = encode_batch(records, version, base_offset, self.shared.epoch, now)?;
        self.last_timestamp = self.last_timestamp.max(now);
        self.batches.push_back(Batch { base_offset, bytes });
        Ok(())
    }

    /// Gives the log the batches that wait, as many as one append may hold, if nothing is under way.
    fn start_append(&mut self) {
        if self.appending.is_some() {
            return;
        }
        let Some(first) = self.batches.pop_front() else {
            return;
        };
        let expected = first.base_offset;
        let mut all = BytesMut::from(first.bytes);
        while let Some(next) = self
            .batches
            .pop_front_if(|next| all.len() + next.bytes.len() <= METADATA_BATCH_BYTES_MAX)
        {
            all.extend_from_slice(&next.bytes);
        }
        let bytes = all.len() as u64;
        let log = &self.shared.log;
        let appending = log.append(all.freeze(), Acks::All, Origin::RaftLeader);
        self.appending = Some(Box::pin(async move {
            Done {
                result: appending.await,
                expected,
                bytes,
            }
        }));
    }

    async fn publish(
        &mut self,
        last_offset: i64,
        records: &[MetadataRecord],
    ) -> Result<(), DriveError> {
        let delta = self
            .publisher
            .replay(&self.shared.image, records, last_offset)?;
        self.shared.applied.store(last_offset, Ordering::Release);
        if self.is_live && !delta.is_empty() {
            self.publisher
                .apply(&self.io, &self.shared.image, &delta)
                .await;
            self.shared.tell_followers(&delta);
            // Nobody subscribed is fine.
            let _ = self.shared.published.send(Arc::new(Published {
                offset: last_offset,
                delta,
            }));
        }
        Ok(())
    }

    fn reply(&mut self, ticket: Ticket, answer: Result<Response, AnswerError>) {
        if let Some(sender) = self.waiting.remove(&ticket) {
            // A requester that is gone needs no answer.
            let _ = sender.send(answer);
        }
    }

    fn start_snapshot(&mut self, id: SnapshotId) {
        if self.snapshot.is_some() {
            return;
        }
        let contents = {
            let image = self
                .shared
                .image
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            SnapshotContents {
                last_contained_timestamp: self.last_timestamp,
                quorum: quorum_records(self.shared.voters.as_ref()),
                records: image.to_records(),
                metadata_version: image.metadata_version(),
            }
        };
        let (io, path) = (self.io.clone(), self.folder.join(id.file_name()));
        self.snapshot = Some(self.io.spawn("metadata-snapshot", async move {
            let now = io.now().wall.0;
            write_snapshot(io.disk(), &path, &contents, id.epoch, now).await?;
            Ok(id)
        }));
    }

    /// A snapshot that cannot be written costs only a longer start: it is tried again later.
    async fn snapshot_done(
        &mut self,
        outcome: Option<Result<SnapshotId, SnapshotError>>,
    ) -> Result<(), DriveError> {
        match outcome {
            Some(Ok(id)) => {
                marks::METADATA_SNAPSHOT_MADE.reach();
                self.step(Input::SnapshotTaken {
                    end_offset: id.end_offset,
                })
                .await?;
                self.clean().await;
            }
            Some(Err(error)) => tracing::error!(%error, "a metadata snapshot cannot be written"),
            None => tracing::error!("the writing of a metadata snapshot was cut short"),
        }
        Ok(())
    }

    /// Removes old snapshots, and the log that no kept snapshot needs.
    fn clean(&self) -> impl Future<Output = ()> + Send + use<I> {
        clean(
            self.io.clone(),
            self.folder.clone(),
            Arc::clone(&self.shared),
        )
    }
}

/// Says that the metadata failed if its task ends without having said why: a fault of ours, after
/// which no change would ever be answered.
struct EndGuard<I: Io> {
    shared: Arc<Shared<I>>,
    is_ended: bool,
}

impl<I: Io> Drop for EndGuard<I> {
    fn drop(&mut self) {
        if !self.is_ended {
            let why = "the metadata's task ended unexpectedly";
            self.shared.failed.send_replace(Some(why.into()));
        }
    }
}

async fn clean<I: Io>(io: I, folder: PathBuf, shared: Arc<Shared<I>>) {
    let snapshots = match list_snapshots(io.disk(), &folder).await {
        Ok(snapshots) => snapshots,
        Err(error) => {
            tracing::warn!(%error, "the metadata snapshots cannot be listed");
            return;
        }
    };
    let Some(kept_from) = snapshots.len().checked_sub(SNAPSHOTS_KEPT) else {
        return;
    };
    let oldest = snapshots[kept_from].end_offset;
    if oldest > shared.log.log_start()
        && let Err(error) = shared.log.delete_records(oldest).await
    {
        tracing::warn!(%error, "the start of the metadata log cannot be moved");
        return;
    }
    for id in &snapshots[..kept_from] {
        let path = folder.join(id.file_name());
        if let Err(error) = io.disk().remove_file(&path).await {
            tracing::warn!(path = %path.display(), %error, "an old snapshot cannot be removed");
        }
    }
}
