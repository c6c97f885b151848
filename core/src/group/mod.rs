//! The group coordinator's decisions: who is in a group, which generation it is in, and what it has
//! committed.
//!
//! A [`GroupShard`] holds the groups of one partition of `__consumer_offsets`: classic groups with
//! the protocol of Kafka's JoinGroup, SyncGroup, Heartbeat and LeaveGroup (KIP-345 static members,
//! KIP-394 member ids, KIP-559, KIP-814), and offsets with their expiry (KIP-211) and deletion
//! (KIP-496). Its log is that partition, in Kafka's own records: replaying them gives the shard
//! again, here or on a broker of Kafka's.
//!
//! What a request asks for takes effect in two steps. The membership of a group changes at once, in
//! memory: clients cope with a coordinator that forgets a rebalance. Whatever a client may rely on
//! later (offsets, a generation's assignment, deletions) is first pushed as [`Output::Append`], and
//! becomes visible and is answered only when the driver reports it durable
//! ([`Input::Committed`]); so an answer can never be ahead of the log.
//!
//! `rewrite` says how the log stays bounded.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use bytes::Bytes;
use ottla_wire::{Str, Uuid};

mod admin;
mod classic;
mod config;
mod join;
mod member;
mod offsets;
mod rebalance;
mod records;
mod replay;
pub mod request;
mod rewrite;
mod shard;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod timer;
mod writes;

pub use classic::GroupState;
pub use config::GroupConfig;
pub use records::{OFFSETS_TOPIC, partition_for};
pub use request::{AppendFailure, GroupError, ListGroups, Request, Response};
pub use shard::GroupShard;
pub use timer::TimerReason;

pub use crate::partition::Ticket;

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Client {
    /// Its `client.id`.
    pub id: Str,
    /// Its address, as Kafka writes it: `/127.0.0.1`.
    pub host: Str,
}

/// A record of the shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key: two bytes say what it is about.
    pub key: Bytes,
    /// Its value; `None` removes what the key names.
    pub value: Option<Bytes>,
}

impl Record {
    /// What the record takes in the log, at most.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + records::RECORD_OVERHEAD
    }
}

/// What a shard may be told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client asks.
    Request {
        /// Who gets the answer.
        ticket: Ticket,
        /// Who asks.
        client: Client,
        /// What.
        request: Request,
    },
    /// The append of this sequence is durable. Comes once for each append, in their order.
    Committed {
        /// Which append.
        sequence: u64,
        /// The offset of its first record.
        offset: i64,
    },
    /// The append of this sequence failed, and what it held may or may not be in the log.
    AppendFailed {
        /// Which append.
        sequence: u64,
        /// Why.
        failure: AppendFailure,
    },
    /// The next record of the log, while loading.
    Loaded {
        /// The record.
        record: Record,
        /// Its offset.
        offset: i64,
        /// The producer whose transaction it is a part of.
        producer_id: Option<i64>,
    },
    /// The next record of the log ends a producer's transaction.
    LoadedMarker {
        /// The producer.
        producer_id: i64,
        /// Committed or aborted.
        committed: bool,
    },
    /// All topics that there are, while loading: once the log is loaded, offsets of others are
    /// forgotten. To be given only if no commit in the log can be for a topic made later.
    KnownTopics(Arc<BTreeSet<Uuid>>),
    /// The log has been read to its end.
    LoadDone,
    /// Another broker coordinates these groups from now on.
    Unload,
    /// These topics were deleted: forget their offsets.
    TopicsDeleted(Vec<(Str, Uuid)>),
    /// The settings changed.
    Config(GroupConfig),
    /// What a batch of the log may have beside its header; of more, [`Output::Append`] holds only what
    /// has to be one batch. [`GROUP_APPEND_BYTES_MAX`](crate::limits::GROUP_APPEND_BYTES_MAX) until
    /// this says otherwise, and at most.
    BatchBytesMax(usize),
    /// The time of [`GroupShard::next_timer`] has come.
    Timer,
}

/// What a shard wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Append these records as one batch, after all earlier ones, and report when they are durable.
    Append {
        /// The name of this append; they count up.
        sequence: u64,
        /// What to append.
        records: Vec<Record>,
    },
    /// Answer a request.
    Reply {
        /// Whose.
        ticket: Ticket,
        /// With what.
        response: Response,
    },
    /// Everything before this offset is repeated after it: it may go.
    AdvanceLogStart {
        /// The first offset to keep.
        offset: i64,
    },
}
