//! One partition of `__consumer_offsets` and the task that serves its machine.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt;
use ottla_core::{
    batch::BatchError,
    group::{
        AppendFailure, Client, GroupError, GroupShard, Input, Output, Record, Request, Response,
        Ticket,
    },
    limits::{BATCH_HEADER_BYTES, GROUP_APPEND_BYTES_MAX, GROUP_RELOAD_DELAY},
    log,
    time::Instant,
};
use ottla_io::Io;
use ottla_wire::{Str, Uuid, records::BatchBuilder};
use tokio::sync::{
    Notify,
    oneshot::{self, error::TryRecvError},
};

use super::{GroupSettings, load::load};
use crate::storage::{Acks, AppendError, AppendOptions, Appended, Origin, PartitionHandle};

/// A partition that this node leads. Clones are the same.
pub(super) struct Shard<I: Io> {
    shared: Arc<Shared<I>>,
}

impl<I: Io> Clone for Shard<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

struct Shared<I: Io> {
    io: I,
    handle: PartitionHandle<I>,
    leader_epoch: i32,
    settings: GroupSettings,
    state: Mutex<State>,
    /// There is something to append, or the next timer is another one, or it is time to stop.
    changed: Notify,
}

struct State {
    machine: GroupShard,
    waiting: BTreeMap<Ticket, oneshot::Sender<Response>>,
    next_ticket: u64,
    /// Appends that the machine asked for and that are not under way.
    queue: VecDeque<(u64, Vec<Record>)>,
    /// What the task sleeps until.
    alarm: Option<Instant>,
    /// What the machine was last told that a batch may hold.
    batch_bytes_max: usize,
    stopped: bool,
    /// Something panicked: nothing that is in memory counts, and the task makes a new machine.
    broken: bool,
    /// Kept between steps for its memory.
    outputs: Vec<Output>,
}

/// An append under way.
struct InFlight {
    /// Which of the machine's appends it holds, and how many records each has.
    parts: Vec<(u64, usize)>,
    done: Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send>>,
}

/// Why the task stopped serving the machine that it had loaded.
enum Ended {
    /// The partition is led by another node now, or the broker stops.
    Stopped,
    /// What the machine holds may not be what the log says: it must be read again.
    LogLost,
}

impl<I: Io> Shard<I> {
    /// Starts to load the partition, and serves its groups from then on. `topics` are all that there
    /// are, as of this node's leading the partition.
    pub(super) fn start(
        io: I,
        handle: PartitionHandle<I>,
        leader_epoch: i32,
        settings: GroupSettings,
        topics: Arc<BTreeSet<Uuid>>,
    ) -> Self {
        let state = Mutex::new(State {
            machine: GroupShard::new(settings.groups.clone()),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            queue: VecDeque::new(),
            alarm: None,
            batch_bytes_max: GROUP_APPEND_BYTES_MAX,
            stopped: false,
            broken: false,
            outputs: Vec::new(),
        });
        let shared = Arc::new(Shared {
            io,
            handle,
            leader_epoch,
            settings,
            state,
            changed: Notify::new(),
        });
        // Not when it is loaded again: then there may be commits for topics made since.
        shared.step(Input::KnownTopics(topics));
        let task = Arc::clone(&shared);
        shared
            .io
            .spawn_detached("group-shard", Box::pin(async move { task.serve().await }));
        Self { shared }
    }

    pub(super) fn leader_epoch(&self) -> i32 {
        self.shared.leader_epoch
    }

    /// Ends the task; whoever waits is answered.
    pub(super) fn stop(&self) {
        self.shared.lock().stopped = true;
        self.shared.step(Input::Unload);
        self.shared.changed.notify_one();
    }

    pub(super) fn topics_deleted(&self, topics: Vec<(Str, Uuid)>) {
        self.shared.step(Input::TopicsDeleted(topics));
    }

    /// As if the machine had panicked.
    #[cfg(test)]
    pub(super) fn break_down(&self) {
        self.shared
            .give_up(&mut self.shared.lock(), Box::new("for a test"));
    }

    /// Asks the machine. What has to be written and is not after `offsets.commit.timeout.ms` is
    /// answered with COORDINATOR_NOT_AVAILABLE, though it may be written later.
    pub(super) async fn ask(&self, client: Client, request: Request) -> Response {
        let (sender, mut answer) = oneshot::channel();
        let lost = request.refused(GroupError::NotCoordinator);
        let late = waits_for_the_log(&request)
            .then(|| request.refused(GroupError::CoordinatorNotAvailable));
        let ticket = {
            let mut state = self.shared.lock();
            let ticket = Ticket(state.next_ticket);
            state.next_ticket += 1;
            state.waiting.insert(ticket, sender);
            self.shared.step_locked(
                &mut state,
                Input::Request {
                    ticket,
                    client,
                    request,
                },
            );
            ticket
        };
        // Most answers are there at once, and need no timer.
        match answer.try_recv() {
            Ok(response) => return response,
            Err(TryRecvError::Closed) => return lost,
            Err(TryRecvError::Empty) => {}
        }
        let Some(late) = late else {
            return answer.await.unwrap_or(lost);
        };
        let timeout = self.shared.settings.commit_timeout;
        match self.shared.io.timeout(timeout, answer).await {
            Some(answer) => answer.unwrap_or(lost),
            None => {
                self.shared.lock().waiting.remove(&ticket);
                late
            }
        }
    }
}

/// Whether a request, if it waits, waits for the log alone. A JoinGroup waits for the other members,
/// and so does the SyncGroup of one who has no assignment to hand in.
fn waits_for_the_log(request: &Request) -> bool {
    match request {
        Request::Join(_) => false,
        Request::Sync(request) => !request.assignments.is_empty(),
        _ => true,
    }
}

impl<I: Io> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, input: Input) {
        self.step_locked(&mut self.lock(), input);
    }

    /// Takes one step and performs what it asks for: answers at once, appends by the task.
    fn step_locked(&self, state: &mut State, input: Input) {
        if state.broken {
            state.waiting.clear();
            return;
        }
        let mut outputs = std::mem::take(&mut state.outputs);
        let (now, machine) = (self.io.now(), &mut state.machine);
        let step = AssertUnwindSafe(|| machine.step(now, input, &mut outputs));
        if let Err(panic) = catch_unwind(step) {
            return self.give_up(state, panic);
        }
        for output in outputs.drain(..) {
            match output {
                Output::Append { sequence, records } => state.queue.push_back((sequence, records)),
                Output::Reply { ticket, response } => {
                    if let Some(sender) = state.waiting.remove(&ticket) {
                        // Nobody waiting is fine: the connection is gone.
                        let _ = sender.send(response);
                    }
                }
                Output::AdvanceLogStart { offset } => self.advance_log_start(offset),
            }
        }
        state.outputs = outputs;
        let timer = state.machine.next_timer().map(|(at, _)| at);
        // A later timer needs no wake-up: the task then finds nothing due and sleeps on.
        let sooner = match (timer, state.alarm) {
            (Some(timer), Some(alarm)) => timer < alarm,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner || !state.queue.is_empty() {
            self.changed.notify_one();
        }
    }

    /// A panic is a defect; it must not take the groups of a partition out of service for ever. Who
    /// waits is told to look for the coordinator again, and the task loads the log anew.
    fn give_up(&self, state: &mut State, panic: Box<dyn Any + Send>) {
        let partition = self.handle.name();
        tracing::error!(%partition, "the group coordinator panicked; its groups are loaded again");
        state.broken = true;
        state.waiting.clear();
        state.queue.clear();
        self.changed.notify_one();
        // Raised again where it ends nothing here, but fails a run of the simulator.
        let raise = async move { resume_unwind(panic) };
        self.io.spawn_detached("group-shard-panic", Box::pin(raise));
    }

    /// What lies before `offset` is not needed any more. If this fails the log is only longer, and
    /// the next rewrite tries again.
    fn advance_log_start(&self, offset: i64) {
        let handle = self.handle.clone();
        let advance = async move {
            if let Err(error) = handle.delete_records(offset).await {
                tracing::warn!(partition = %handle.name(), offset, %error, "cannot advance the log start");
            }
        };
        self.io.spawn_detached("group-log-start", Box::pin(advance));
    }

    /// Loads and serves the partition until it is stopped; again from the start whenever the log
    /// was lost on the way, or something panicked.
    async fn serve(&self) {
        loop {
            match AssertUnwindSafe(self.serve_once()).catch_unwind().await {
                Ok(Ended::Stopped) => return,
                Ok(Ended::LogLost) => {}
                Err(panic) => self.give_up(&mut self.lock(), panic),
            }
            if !self.begin_again() {
                return;
            }
            self.io.sleep(GROUP_RELOAD_DELAY).await;
        }
    }

    async fn serve_once(&self) -> Ended {
        match self.load().await {
            Ok(()) => self.serve_loaded().await,
            Err(error) => {
                let partition = self.handle.name();
                tracing::error!(%partition, %error, "cannot load the groups");
                Ended::LogLost
            }
        }
    }

    /// Lets go of a machine whose log was lost, and makes a new one; false if the task is to end.
    fn begin_again(&self) -> bool {
        let mut state = self.lock();
        if state.stopped {
            return false;
        }
        self.step_locked(&mut state, Input::Unload);
        state.queue.clear();
        state.machine = GroupShard::new(self.settings.groups.clone());
        state.batch_bytes_max = GROUP_APPEND_BYTES_MAX;
        state.broken = false;
        true
    }

    async fn load(&self) -> Result<(), super::load::LoadError> {
        self.tell_batch_bytes_max(&mut self.lock());
        let read_bytes = self.settings.load_read_bytes;
        load(&self.handle, read_bytes, |inputs| {
            let mut state = self.lock();
            for input in inputs {
                self.step_locked(&mut state, input);
            }
        })
        .await?;
        self.step(Input::LoadDone);
        Ok(())
    }

    async fn serve_loaded(&self) -> Ended {
        let mut in_flight: Option<InFlight> = None;
        loop {
            let alarm = {
                let mut state = self.lock();
                if state.stopped {
                    return Ended::Stopped;
                }
                if state.broken {
                    return Ended::LogLost;
                }
                if in_flight.is_none() {
                    in_flight = self.begin_append(&mut state);
                }
                state.alarm = state.machine.next_timer().map(|(at, _)| at);
                state.alarm
            };
            tokio::select! {
                biased;
                done = landed(&mut in_flight) => {
                    if let Some(ended) = self.report(in_flight.take(), done) {
                        return ended;
                    }
                }
                () = self.changed.notified() => {}
                () = self.until(alarm) => self.step(Input::Timer),
            }
        }
    }

    async fn until(&self, alarm: Option<Instant>) {
        match alarm {
            Some(at) => self.io.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Tells the machine what a batch may hold, if that is not what it was told before.
    fn tell_batch_bytes_max(&self, state: &mut State) {
        let log = self.handle.config().log;
        let whole = log.max_message_bytes.min(log.segment_bytes) as usize;
        let bytes = GROUP_APPEND_BYTES_MAX.min(whole.saturating_sub(BATCH_HEADER_BYTES));
        if bytes != state.batch_bytes_max {
            state.batch_bytes_max = bytes;
            self.step_locked(state, Input::BatchBytesMax(bytes));
        }
    }

    /// Takes as many of the waiting appends as fit one batch, and begins to append it. One that is
    /// too large goes alone, so that nobody else is refused with it.
    fn begin_append(&self, state: &mut State) -> Option<InFlight> {
        if !state.queue.is_empty() {
            self.tell_batch_bytes_max(state);
        }
        let now = self.io.now().wall.0;
        let mut batch = BatchBuilder::new();
        let mut parts = Vec::new();
        let mut bytes = 0;
        while let Some((_, records)) = state.queue.front() {
            let size: usize = records.iter().map(Record::size).sum();
            if !parts.is_empty() && bytes + size > state.batch_bytes_max {
                break;
            }
            let Some((sequence, records)) = state.queue.pop_front() else {
                break;
            };
            let pushed = records
                .iter()
                .try_for_each(|r| batch.push(now, Some(&r.key), r.value.as_deref()));
            if let Err(error) = pushed {
                // Two gigabytes: it is the first of its batch, so nothing is told out of order.
                tracing::warn!(%error, "a group's records do not fit a batch");
                let failure = AppendFailure::TooLarge;
                self.step_locked(state, Input::AppendFailed { sequence, failure });
                batch = BatchBuilder::new();
                continue;
            }
            bytes += size;
            parts.push((sequence, records.len()));
        }
        if parts.is_empty() {
            return None;
        }
        let options = AppendOptions {
            acks: Acks::All,
            origin: Origin::Coordinator,
            expected_leader_epoch: Some(self.leader_epoch),
        };
        // The step is taken here, under the lock: the order of the queue is that of the log.
        let done = Box::pin(self.handle.append_with(batch.build(), options));
        Some(InFlight { parts, done })
    }

    /// Tells the machine what became of an append.
    fn report(
        &self,
        in_flight: Option<InFlight>,
        done: Result<Appended, AppendError>,
    ) -> Option<Ended> {
        let parts = in_flight.map(|it| it.parts).unwrap_or_default();
        let mut state = self.lock();
        match done {
            Ok(appended) => {
                let mut offset = appended.base_offset;
                for (sequence, records) in parts {
                    self.step_locked(&mut state, Input::Committed { sequence, offset });
                    offset += i64::try_from(records).unwrap_or(i64::MAX);
                }
                None
            }
            Err(error) => {
                let partition = self.handle.name();
                tracing::warn!(%partition, %error, "cannot append to the groups' log");
                let (failure, is_lost) = judge(&error);
                for (sequence, _) in parts {
                    self.step_locked(&mut state, Input::AppendFailed { sequence, failure });
                }
                is_lost.then_some(Ended::LogLost)
            }
        }
    }
}

/// What a failed append means to those who wait for it, and whether the log's end is not known any
/// more. It is where the append was refused for what it is, or undone: then the groups go on.
pub(super) fn judge(error: &AppendError) -> (AppendFailure, bool) {
    match error {
        AppendError::NotEnoughReplicas { .. } => (AppendFailure::NotAvailable, false),
        AppendError::Full => (AppendFailure::Full, false),
        AppendError::Batch(BatchError::TooLarge { .. })
        | AppendError::Log(log::AppendError::TooLarge { .. }) => (AppendFailure::TooLarge, false),
        _ => (AppendFailure::NotLeader, true),
    }
}

/// Completes when the append under way does; never if there is none.
async fn landed(in_flight: &mut Option<InFlight>) -> Result<Appended, AppendError> {
    match in_flight {
        Some(it) => it.done.as_mut().await,
        None => std::future::pending().await,
    }
}
