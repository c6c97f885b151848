//! What is sent, and what comes of it.

use bytes::Bytes;
use ottla_wire::Str;

use crate::{
    client::TopicError,
    error::{BrokerError, RequestError},
    types::{Header, TopicPartition},
};

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: Str,
    /// The partition; `None` leaves it to the key, or to chance.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// The headers, in order; keys may repeat.
    pub headers: Vec<Header>,
    /// Milliseconds since the Unix epoch; `None` is the time of sending.
    pub timestamp: Option<i64>,
}

impl Record {
    /// A record for `topic` with neither key nor value.
    pub fn to(topic: impl Into<Str>) -> Self {
        Self {
            topic: topic.into(),
            ..Self::default()
        }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// For this partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, key: impl Into<Str>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(key, value));
        self
    }

    /// With this timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }
}

/// Where an acknowledged record lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Its partition.
    pub partition: TopicPartition,
    /// Its offset; -1 where the broker does not tell (acks=0, or a repeated batch that it knew already).
    pub offset: i64,
    /// Its timestamp: the one sent, or the broker's where the topic says so.
    pub timestamp: i64,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", if *.may_be_written { " (it may have been written)" } else { "" })]
pub struct SendError {
    /// Whether the record may be in the log all the same. If not, it is not there for certain.
    pub may_be_written: bool,
    /// What went wrong.
    pub reason: SendFailure,
}

impl SendError {
    pub(crate) fn not_written(reason: SendFailure) -> Self {
        Self {
            may_be_written: false,
            reason,
        }
    }
}

/// What kept a record from being acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// A broker refused it.
    #[error(transparent)]
    Broker(BrokerError),
    /// A request failed in a way that trying again cannot mend.
    #[error(transparent)]
    Request(RequestError),
    /// The topic's metadata could not be had within `max.block.ms`.
    #[error("topic {topic}: {error}")]
    Topic {
        /// The topic.
        topic: Str,
        /// Why.
        error: TopicError,
    },
    /// The topic has no such partition.
    #[error("{partition} does not exist: the topic has {partitions} partitions")]
    NoSuchPartition {
        /// What was asked for.
        partition: TopicPartition,
        /// How many there are.
        partitions: i32,
    },
    /// The record is larger than `max.request.size` or `buffer.memory` allows.
    #[error("the record has {size} bytes, at most {max} can be sent")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What fits.
        max: usize,
    },
    /// `buffer.memory` was full for `max.block.ms`.
    #[error("no room in the send buffer in time")]
    BufferFull,
    /// Not acknowledged within `delivery.timeout.ms`; the last failure, if there was one.
    #[error("not acknowledged in time{}", .last.as_ref().map(|l| format!(": {l}")).unwrap_or_default())]
    TimedOut {
        /// The last failure before.
        last: Option<Box<SendFailure>>,
    },
    /// The records could not be put into a batch or compressed.
    #[error("the batch could not be built: {detail}")]
    Batch {
        /// What the builder says.
        detail: String,
    },
    /// The producer was closed first.
    #[error("the producer is closed")]
    Closed,
}
