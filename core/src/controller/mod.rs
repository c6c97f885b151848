//! The controller: the one place where the cluster's metadata is decided (KIP-500, KIP-631).
//!
//! A request is checked against the image as it will be once everything that was appended before
//! it is committed; its records are replayed onto that image at once, and appended. The answer, and
//! the publication of the records to the broker, follow when the append is durable. If an append
//! fails, the records of it and of all after it are taken back, newest first, every requester is
//! told that this is not the controller, and the controller stays idle until it is made leader
//! again: no decision is ever answered that is not in the log. If the log takes nothing of an append
//! (the disk is full), all that is pending is taken back and refused alike, and the controller goes
//! on from what is durable.
//!
//! | role | request | `Committed` | `AppendRefused` | `AppendFailed` |
//! | --- | --- | --- | --- | --- |
//! | standby | refused: not the controller | ignored | ignored | ignored |
//! | active | decided; appended | published, answered | all pending taken back; active | all pending taken back; standby |

mod activation;
mod configs;
mod features;
mod names;
mod partitions;
mod placement;
mod random;
mod request;
mod small_tables;
mod topics;

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::metadata::MetadataRecord;

pub use activation::{SelfRegistration, broker_features};
pub use names::{InvalidTopicName, is_internal, validate_topic_name};
pub use random::Seed;
pub use request::{AnswerError, ApiError, ProducerIdBlock, Request, Response};
pub use small_tables::{CLIENT_METRICS_KEYS, GROUP_KEYS, SmallKey};

use crate::config::{Entries, Layers};
use crate::limits;
use crate::marks;
use crate::metadata::{
    ConfigResource, MetadataDelta, MetadataImage, ReplayError, TransactionBuffer, Undo,
    record_version,
};
use crate::partition::Ticket;
use crate::time::{Instant, Now};

/// How many producer ids a broker gets at once.
pub const PRODUCER_ID_BLOCK_SIZE: i64 = 1000;

/// What the controller is told when it is made.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// `node.id`.
    pub node_id: i32,
    /// The properties file and its overrides: defaults for topics.
    pub file: Entries,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub max_bytes_between_snapshots: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` (Kafka's 0) for no limit.
    pub max_snapshot_interval: Option<Duration>,
}

/// What a controller may know.
#[derive(Clone, Debug)]
pub enum Input {
    /// A record of the newest snapshot (with the offset before its end) or of the log after it.
    Replay {
        /// The record's offset.
        offset: i64,
        /// The record.
        record: MetadataRecord,
    },
    /// This node leads the quorum, and everything in its log was replayed.
    BecameLeader {
        /// The leader's epoch.
        epoch: i32,
        /// The offset that the next record gets.
        log_end: i64,
        /// The records of `bootstrap.checkpoint`, for a log that has no metadata yet.
        bootstrap: Vec<MetadataRecord>,
    },
    /// Somebody asks for something.
    Request {
        /// Who.
        ticket: Ticket,
        /// What.
        request: Request,
        /// Chance to decide with.
        seed: Seed,
    },
    /// The log is durable up to here.
    Committed {
        /// The offset of the last durable record.
        last_offset: i64,
        /// How many bytes that were since the last time.
        bytes: u64,
    },
    /// The log took nothing of an append and goes on; what was appended after it was not passed on
    /// to the log, or refused like it.
    AppendRefused {
        /// Why.
        why: Refusal,
    },
    /// An append failed, or this node leads no more.
    AppendFailed,
    /// A snapshot is in place.
    SnapshotTaken {
        /// The offset after the last record in it.
        end_offset: i64,
    },
    /// [`Controller::next_timer`] has come.
    Timer,
}

/// Why the log took nothing of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The disk has no room: the same request may succeed later.
    Full,
    /// The log does not take such records.
    Invalid,
}

/// What must happen, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Append these records as one batch.
    Append {
        /// The offset that the first one must get.
        base_offset: i64,
        /// The records.
        records: Arc<[MetadataRecord]>,
    },
    /// These records count now: replay them onto the published image, and act on what they change.
    Publish {
        /// The offset of the last one.
        last_offset: i64,
        /// The records.
        records: Arc<[MetadataRecord]>,
    },
    /// Answer a requester; what its answer says was published before.
    Reply {
        /// Who.
        ticket: Ticket,
        /// The answer.
        answer: Result<Response, AnswerError>,
    },
    /// Write a snapshot of the published image.
    Snapshot {
        /// The offset after the last record in it.
        end_offset: i64,
        /// The epoch of the last record in it.
        epoch: i32,
    },
}

/// Why the controller wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerReason {
    /// The last snapshot is old, and there is something new.
    Snapshot,
}

#[derive(Clone, Debug)]
enum Role {
    Standby,
    Active { epoch: i32 },
}

/// An append that is not durable yet.
#[derive(Debug)]
struct InFlight {
    last_offset: i64,
    records: Arc<[MetadataRecord]>,
    undo: Vec<Undo>,
    replies: Vec<(Ticket, Response)>,
}

/// The records and the answer that a request comes to.
struct Decision {
    records: Vec<MetadataRecord>,
    response: Response,
}

/// The controller. See the module.
#[derive(Debug)]
pub struct Controller {
    settings: ControllerSettings,
    role: Role,
    /// With everything that is appended, durable or not.
    image: MetadataImage,
    transactions: TransactionBuffer,
    next_offset: i64,
    in_flight: VecDeque<InFlight>,
    committed: i64,
    bytes_since_snapshot: u64,
    snapshot_end: i64,
    snapshot_due: Option<Instant>,
}

impl Controller {
    /// A controller that knows nothing yet.
    #[must_use]
    pub fn new(settings: ControllerSettings) -> Self {
        Self {
            settings,
            role: Role::Standby,
            image: MetadataImage::new(),
            transactions: TransactionBuffer::default(),
            next_offset: 0,
            in_flight: VecDeque::new(),
            committed: -1,
            bytes_since_snapshot: 0,
            snapshot_end: 0,
            snapshot_due: None,
        }
    }

    /// The image with everything that is appended, durable or not.
    #[must_use]
    pub const fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// The epoch in which this is the active controller.
    #[must_use]
    pub const fn active_epoch(&self) -> Option<i32> {
        match self.role {
            Role::Active { epoch } => Some(epoch),
            Role::Standby => None,
        }
    }

    /// When [`Input::Timer`] is next wanted, and why.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Instant, TimerReason)> {
        self.snapshot_due.map(|at| (at, TimerReason::Snapshot))
    }

    /// Takes one input. An error means that the log holds what cannot be: the node must stop.
    pub fn step(
        &mut self,
        now: Now,
        input: Input,
        out: &mut Vec<Output>,
    ) -> Result<(), ReplayError> {
        match input {
            Input::Replay { offset, record } => self.replay(offset, record)?,
            Input::BecameLeader {
                epoch,
                log_end,
                bootstrap,
            } => self.activate(epoch, log_end, &bootstrap, out)?,
            Input::Request {
                ticket,
                request,
                seed,
            } => self.request(ticket, request, seed, out)?,
            Input::Committed { last_offset, bytes } => {
                self.commit(now, last_offset, bytes, out);
            }
            Input::AppendRefused { why } => self.take_back(AnswerError::refused(why), out),
            Input::AppendFailed => {
                self.role = Role::Standby;
                self.take_back(AnswerError::not_controller(), out);
            }
            Input::SnapshotTaken { end_offset } => {
                self.snapshot_end = self.snapshot_end.max(end_offset);
            }
            Input::Timer => {
                if self.snapshot_due.is_some_and(|due| due <= now.monotonic) {
                    self.snapshot(out);
                }
            }
        }
        Ok(())
    }

    fn replay(&mut self, offset: i64, record: MetadataRecord) -> Result<(), ReplayError> {
        let image = &mut self.image;
        let mut ignored = MetadataDelta::default();
        self.transactions.feed(offset, record, |record| {
            image.replay(record, &mut ignored).map(|_| ())
        })?;
        self.next_offset = self.next_offset.max(offset + 1);
        self.committed = self.committed.max(offset);
        Ok(())
    }

    /// Takes up the leadership: an empty log gets the bootstrap records (KIP-778) in a transaction
    /// (KIP-868), a transaction that the last leader left open is aborted.
    fn activate(
        &mut self,
        epoch: i32,
        log_end: i64,
        bootstrap: &[MetadataRecord],
        out: &mut Vec<Output>,
    ) -> Result<(), ReplayError> {
        self.role = Role::Active { epoch };
        self.next_offset = log_end;
        self.committed = log_end - 1;
        let is_empty = self.image == MetadataImage::new();
        let left_open = self.transactions.open_since().is_some();
        self.transactions = TransactionBuffer::default();
        let records = self.activation_records(is_empty, left_open, bootstrap);
        self.append(records, None, out)
    }

    fn request(
        &mut self,
        ticket: Ticket,
        request: Request,
        seed: Seed,
        out: &mut Vec<Output>,
    ) -> Result<(), ReplayError> {
        let Role::Active { .. } = self.role else {
            let answer = Err(AnswerError::not_controller());
            out.push(Output::Reply { ticket, answer });
            return Ok(());
        };
        let decided = self.decide(request, seed);
        let fitting = decided.and_then(|decision| {
            self.check_size(&decision.records)?;
            Ok(decision)
        });
        match fitting {
            Ok(Decision { records, response }) => {
                self.append(records, Some((ticket, response)), out)
            }
            Err(error) => {
                out.push(Output::Reply {
                    ticket,
                    answer: Err(error),
                });
                Ok(())
            }
        }
    }

    /// Whether the log can take the records as one batch. What it cannot take must not get as far as
    /// the log: one request would end the controller for all.
    fn check_size(&self, records: &[MetadataRecord]) -> Result<(), AnswerError> {
        check_count(records)?;
        let version = self.image.metadata_version();
        let mut bytes = limits::BATCH_HEADER_BYTES;
        for record in records {
            let value = record
                .to_bytes(record_version(record, version))
                .map_err(|_| AnswerError::unwritable())?;
            bytes += value.len() + limits::METADATA_RECORD_OVERHEAD_BYTES;
            if bytes > limits::METADATA_BATCH_BYTES_MAX {
                return Err(AnswerError::too_large());
            }
        }
        Ok(())
    }

    fn decide(&self, request: Request, seed: Seed) -> Result<Decision, AnswerError> {
        Ok(match request {
            Request::CreateTopics(request) => self.create_topics(&request, seed)?,
            Request::DeleteTopics(request) => self.delete_topics(&request),
            Request::CreatePartitions(request) => self.create_partitions(&request, seed)?,
            Request::AlterConfigs(request) => self.alter_configs(&request)?,
            Request::IncrementalAlterConfigs(request) => {
                self.incremental_alter_configs(&request)?
            }
            Request::UpdateFeatures { request, version } => self.update_features(&request, version),
            Request::AllocateProducerIds { broker_id } => self.allocate_producer_ids(broker_id),
            Request::RegisterController(record) => Decision {
                records: Vec::from([record.into()]),
                response: Response::Done,
            },
            Request::RegisterBroker(registration) => self.register_broker(*registration),
            Request::UnfenceBroker { broker_id } => self.unfence_broker(broker_id)?,
            Request::ElectAfterRestart { broker_id, from } => {
                self.elect_after_restart(broker_id, from.as_ref())
            }
            Request::UnregisterBroker { broker_id } => self.unregister_broker(broker_id)?,
        })
    }

    fn allocate_producer_ids(&self, broker_id: i32) -> Decision {
        let first = self.image.next_producer_id();
        let record = ottla_wire::metadata::ProducerIdsRecord {
            broker_id,
            broker_epoch: self.image.broker(broker_id).map_or(-1, |b| b.epoch),
            next_producer_id: first + PRODUCER_ID_BLOCK_SIZE,
            ..Default::default()
        };
        Decision {
            records: Vec::from([record.into()]),
            response: Response::ProducerIds(ProducerIdBlock {
                first,
                length: PRODUCER_ID_BLOCK_SIZE,
            }),
        }
    }

    /// Replays the records and appends them. An answer without records waits for all that is
    /// pending, as it may rest on it.
    fn append(
        &mut self,
        records: Vec<MetadataRecord>,
        reply: Option<(Ticket, Response)>,
        out: &mut Vec<Output>,
    ) -> Result<(), ReplayError> {
        if records.is_empty() {
            match (reply, self.in_flight.back_mut()) {
                (Some(reply), Some(last)) => last.replies.push(reply),
                (Some((ticket, response)), None) => out.push(Output::Reply {
                    ticket,
                    answer: Ok(response),
                }),
                (None, _) => {}
            }
            return Ok(());
        }
        let mut delta = MetadataDelta::default();
        let mut undo = Vec::with_capacity(records.len());
        for record in &records {
            match self.image.replay(record, &mut delta) {
                Ok(step) => undo.push(step),
                Err(error) => {
                    for step in undo.into_iter().rev() {
                        self.image.undo(step);
                    }
                    return Err(error);
                }
            }
        }
        let records: Arc<[MetadataRecord]> = records.into();
        let base_offset = self.next_offset;
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        self.next_offset += count;
        self.in_flight.push_back(InFlight {
            last_offset: self.next_offset - 1,
            records: Arc::clone(&records),
            undo,
            replies: reply.into_iter().collect(),
        });
        out.push(Output::Append {
            base_offset,
            records,
        });
        Ok(())
    }

    fn commit(&mut self, now: Now, last_offset: i64, bytes: u64, out: &mut Vec<Output>) {
        let done = |batch: &mut InFlight| batch.last_offset <= last_offset;
        while let Some(batch) = self.in_flight.pop_front_if(done) {
            self.committed = batch.last_offset;
            out.push(Output::Publish {
                last_offset: batch.last_offset,
                records: batch.records,
            });
            let replies = batch.replies.into_iter();
            out.extend(replies.map(|(ticket, response)| Output::Reply {
                ticket,
                answer: Ok(response),
            }));
        }
        self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_add(bytes);
        if self.bytes_since_snapshot >= self.settings.max_bytes_between_snapshots {
            self.snapshot(out);
        } else if self.snapshot_due.is_none() {
            let interval = self.settings.max_snapshot_interval;
            self.snapshot_due = interval.map(|interval| now.monotonic.after(interval));
        }
    }

    /// Takes back all that is appended and not durable, and refuses those who wait for it.
    fn take_back(&mut self, error: AnswerError, out: &mut Vec<Output>) {
        marks::METADATA_TAKEN_BACK.reach();
        let mut tickets = Vec::new();
        while let Some(batch) = self.in_flight.pop_back() {
            for step in batch.undo.into_iter().rev() {
                self.image.undo(step);
            }
            tickets.extend(batch.replies.into_iter().rev().map(|(ticket, _)| ticket));
        }
        self.next_offset = self.committed + 1;
        let replies = tickets.into_iter().rev();
        out.extend(replies.map(|ticket| Output::Reply {
            ticket,
            answer: Err(error),
        }));
    }

    fn snapshot(&mut self, out: &mut Vec<Output>) {
        let end_offset = self.committed + 1;
        self.bytes_since_snapshot = 0;
        self.snapshot_due = None;
        if let Role::Active { epoch } = self.role
            && end_offset > self.snapshot_end
        {
            out.push(Output::Snapshot { end_offset, epoch });
        }
    }

    /// Where the broker's own configuration stands, for the defaults of topics.
    fn with_layers<T>(&self, ask: impl FnOnce(&Layers<'_>) -> T) -> T {
        ask(&Layers {
            broker: self
                .image
                .configs(&ConfigResource::broker(self.settings.node_id)),
            cluster: self.image.configs(&ConfigResource::broker_default()),
            file: &self.settings.file,
        })
    }
}

impl AnswerError {
    /// This node is not the active controller: try again, there or here.
    #[must_use]
    pub const fn not_controller() -> Self {
        Self {
            code: ErrorCode::NotController,
            message: "This is not the correct controller for this cluster.",
        }
    }

    const fn too_large() -> Self {
        Self {
            code: ErrorCode::PolicyViolation,
            message: "Unable to perform excessively large batch operation.",
        }
    }

    const fn unwritable() -> Self {
        Self {
            code: ErrorCode::InvalidRequest,
            message: "The request holds a name or value that is too long for the metadata log.",
        }
    }

    const fn refused(why: Refusal) -> Self {
        match why {
            Refusal::Full => Self {
                code: ErrorCode::KafkaStorageError,
                message: "The disk of the metadata log is full; nothing was changed. Try again \
                          when there is room.",
            },
            Refusal::Invalid => Self {
                code: ErrorCode::UnknownServerError,
                message: "The metadata log does not take the change; nothing was changed.",
            },
        }
    }
}

/// Whether one request may make so many records. Asked as they are made, so that a small request
/// for much is given up early.
fn check_count(records: &[MetadataRecord]) -> Result<(), AnswerError> {
    if records.len() > limits::RECORDS_PER_METADATA_REQUEST_MAX {
        return Err(AnswerError::too_large());
    }
    Ok(())
}
