//! One partition of `__consumer_offsets` and the task that serves its machine.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ottla_core::{
    group::{
        AppendFailure, Client, GroupConfig, GroupError, GroupShard, Input, Output, Record, Request,
        Response, Ticket,
    },
    limits::{GROUP_APPEND_BYTES_MAX, GROUP_RELOAD_DELAY},
    time::Instant,
};
use ottla_io::Io;
use ottla_wire::{Str, Uuid, records::BatchBuilder};
use tokio::sync::{Notify, oneshot};

use super::load::load;
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
    config: GroupConfig,
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
    stopped: bool,
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
    /// The log refused an append, so its end is not known: it must be read again.
    LogLost,
}

impl<I: Io> Shard<I> {
    /// Starts to load the partition, and serves its groups from then on.
    pub(super) fn start(
        io: I,
        handle: PartitionHandle<I>,
        leader_epoch: i32,
        config: GroupConfig,
    ) -> Self {
        let state = Mutex::new(State {
            machine: GroupShard::new(config.clone()),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            queue: VecDeque::new(),
            alarm: None,
            stopped: false,
            outputs: Vec::new(),
        });
        let changed = Notify::new();
        let shared = Arc::new(Shared {
            io,
            handle,
            leader_epoch,
            config,
            state,
            changed,
        });
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

    pub(super) async fn ask(&self, client: Client, request: Request) -> Response {
        let (sender, answer) = oneshot::channel();
        let lost = request.refused(GroupError::NotCoordinator);
        {
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
        }
        answer.await.unwrap_or(lost)
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
        let mut outputs = std::mem::take(&mut state.outputs);
        state.machine.step(self.io.now(), input, &mut outputs);
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
    /// was lost on the way.
    async fn serve(&self) {
        loop {
            match self.load().await {
                Ok(()) => {
                    if matches!(self.serve_loaded().await, Ended::Stopped) {
                        return;
                    }
                }
                Err(error) => {
                    let partition = self.handle.name();
                    tracing::error!(%partition, %error, "cannot load the groups");
                }
            }
            if !self.begin_again() {
                return;
            }
            self.io.sleep(GROUP_RELOAD_DELAY).await;
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
        state.machine = GroupShard::new(self.config.clone());
        true
    }

    async fn load(&self) -> Result<(), super::load::LoadError> {
        load(&self.handle, |inputs| {
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

    /// Takes as many of the waiting appends as fit one batch, and begins to append it.
    fn begin_append(&self, state: &mut State) -> Option<InFlight> {
        let now = self.io.now().wall.0;
        let mut batch = BatchBuilder::new();
        let mut parts = Vec::new();
        while let Some((_, records)) = state.queue.front() {
            let size: usize = records.iter().map(Record::size).sum();
            if !parts.is_empty() && batch.size() + size > GROUP_APPEND_BYTES_MAX {
                break;
            }
            let Some((sequence, records)) = state.queue.pop_front() else {
                break;
            };
            for record in &records {
                if let Err(error) = batch.push(now, Some(&record.key), record.value.as_deref()) {
                    // Only a batch of two gigabytes can get here, and such a request never does.
                    tracing::error!(%error, "a group's record does not fit a batch");
                }
            }
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
                let failure = match error {
                    AppendError::NotEnoughReplicas { .. } => AppendFailure::NotAvailable,
                    _ => AppendFailure::NotLeader,
                };
                for (sequence, _) in parts {
                    self.step_locked(&mut state, Input::AppendFailed { sequence, failure });
                }
                (failure == AppendFailure::NotLeader).then_some(Ended::LogLost)
            }
        }
    }
}

/// Completes when the append under way does; never if there is none.
async fn landed(in_flight: &mut Option<InFlight>) -> Result<Appended, AppendError> {
    match in_flight {
        Some(it) => it.done.as_mut().await,
        None => std::future::pending().await,
    }
}
