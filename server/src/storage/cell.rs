//! A partition's machine behind its mutex, and those who wait for its answers.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ottla_core::{
    log::Effect,
    partition::{
        Answer, EffectId, Input, Output, Partition, PartitionConfig, QueryError, Ticket,
        TopicPartition,
    },
    time::Instant,
};
use ottla_io::Io;
use tokio::sync::{Notify, oneshot};

use super::{Uuid, folders::METADATA_TOPIC, lanes::Place, recovery::Known};

/// One partition, shared by its handles and its task.
pub(super) struct Cell<I: Io> {
    pub(super) name: TopicPartition,
    pub(super) topic: Identity,
    pub(super) place: Place<I>,
    pub(super) node_id: i32,
    state: Mutex<State>,
    /// Rung when the task has something to look at.
    pub(super) bell: Notify,
}

/// What a partition's folder says of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Its id.
    Topic(Uuid),
    /// Nothing: the folder was not finished.
    Unsaid,
    /// Something that cannot be read.
    Unreadable,
}

impl Identity {
    pub(super) fn id(self) -> Option<Uuid> {
        match self {
            Self::Topic(id) => Some(id),
            Self::Unsaid | Self::Unreadable => None,
        }
    }
}

/// Where to cut a log that was never opened: what it has is what it has.
pub(super) const NOTHING_IS_CUT: i64 = i64::MAX;

/// What the mutex guards.
pub(super) struct State {
    /// None while the partition cannot be used: damaged, or being opened anew.
    pub(super) machine: Option<Partition>,
    /// Asked for and not begun.
    pub(super) effects: VecDeque<(EffectId, Effect)>,
    /// The machine gave its files up and wants to be opened anew, its log cut to end here; or there is
    /// none yet because the disk failed ([`NOTHING_IS_CUT`]).
    pub(super) reopen: Option<i64>,
    /// No more inputs are taken and the task ends.
    pub(super) ended: bool,
    /// It ended because the partition was deleted.
    pub(super) deleted: bool,
    /// What leadership and configuration are to be when it is opened anew.
    pub(super) leadership: Option<Leadership>,
    pub(super) config: PartitionConfig,
    /// Whether that is the topic's: until the metadata is known it is the broker's.
    pub(super) configured: bool,
    known: Known,
    waiting: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    next_ticket: u64,
    outputs: Vec<Output>,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leadership {
    Here { epoch: i32 },
    Elsewhere { epoch: i32, leader: i32 },
}

impl Leadership {
    pub(super) fn input(self) -> Input {
        match self {
            Self::Here { epoch } => Input::Lead {
                epoch,
                members: Vec::new(),
            },
            Self::Elsewhere { epoch, leader } => Input::Follow { epoch, leader },
        }
    }
}

impl<I: Io> Cell<I> {
    pub(super) fn new(
        name: TopicPartition,
        topic: Identity,
        place: Place<I>,
        machine: Option<Partition>,
        config: PartitionConfig,
        known: Known,
        node_id: i32,
    ) -> Arc<Self> {
        let state = State {
            machine,
            effects: VecDeque::new(),
            reopen: None,
            ended: false,
            deleted: false,
            leadership: None,
            config,
            configured: false,
            known,
            waiting: BTreeMap::new(),
            next_ticket: 1,
            outputs: Vec::new(),
        };
        Arc::new(Self {
            name,
            topic,
            place,
            node_id,
            state: Mutex::new(state),
            bell: Notify::new(),
        })
    }

    /// Whether it is a partition of that topic. The metadata log was one before it had an id.
    pub(super) fn is_of(&self, topic_id: Uuid) -> bool {
        self.topic == Identity::Topic(topic_id) || self.name.topic.as_ref() == METADATA_TOPIC
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the machine an input that nobody waits for. False if there is no machine.
    pub(super) fn tell(&self, input: Input) -> bool {
        let told = self.state().step(&self.place.io, input);
        if told {
            self.bell.notify_one();
        }
        told
    }

    /// Gives the machine an input, in the order of the calls, and a way to wait for the answer.
    /// Without a machine the way is closed.
    pub(super) fn ask(
        &self,
        input: impl FnOnce(Ticket) -> Input,
    ) -> (Ticket, oneshot::Receiver<Answer>) {
        let asked = self.ask_quietly(input);
        self.bell.notify_one();
        asked
    }

    /// As [`Cell::ask`], for what gives the task nothing to do: somebody who waits.
    pub(super) fn ask_quietly(
        &self,
        input: impl FnOnce(Ticket) -> Input,
    ) -> (Ticket, oneshot::Receiver<Answer>) {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        if state.machine.is_some() {
            state.waiting.insert(ticket, sender);
            state.step(&self.place.io, input(ticket));
        }
        (ticket, answer)
    }

    /// Somebody waits no more.
    pub(super) fn cancel(&self, ticket: Ticket) {
        let mut state = self.state();
        if state.waiting.remove(&ticket).is_some() {
            state.step(&self.place.io, Input::Cancel { ticket });
        }
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        Some(self.state().machine.as_ref()?.next_timer()?.0)
    }
}

impl State {
    /// Steps the machine. Answers go out at once: what they promise has been reported done.
    pub(super) fn step<I: Io>(&mut self, io: &I, input: Input) -> bool {
        let Some(machine) = &mut self.machine else {
            return false;
        };
        machine.step(io.now(), input, &mut self.outputs);
        for output in self.outputs.drain(..) {
            match output {
                Output::Effect { id, effect } => self.effects.push_back((id, effect)),
                Output::Reply { to, answer } => {
                    if let Some(waiting) = self.waiting.remove(&to) {
                        // Nobody there any more is fine.
                        let _ = waiting.send(answer);
                    }
                }
                Output::Reopen { cut_to } => {
                    self.effects.clear();
                    self.reopen = Some(cut_to);
                }
            }
        }
        true
    }

    /// Works by the topic's configuration from now on.
    pub(super) fn configure<I: Io>(&mut self, io: &I, config: PartitionConfig) {
        self.config = config.clone();
        self.configured = true;
        self.step(io, Input::Configure(Box::new(config)));
    }

    /// Where the partition stands, or stood when it was last known.
    pub(super) fn known(&mut self) -> Known {
        if let Some(machine) = &self.machine {
            let offsets = machine.offsets();
            self.known = Known {
                recovery_point: machine.recovery_point(),
                log_start: offsets.log_start,
                high_watermark: offsets.high_watermark,
                ..Known::default()
            };
        }
        self.known
    }

    /// Why there is no machine.
    pub(super) fn why_unusable(&self) -> QueryError {
        match self.deleted {
            true => QueryError::Gone,
            false => QueryError::Offline,
        }
    }

    /// Ends the partition because it is deleted.
    pub(super) fn delete(&mut self) {
        self.deleted = true;
        self.end();
    }

    /// Ends the partition: nothing more is performed, and whoever waits learns that it is gone.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.machine = None;
        self.effects.clear();
        self.waiting.clear();
    }
}
