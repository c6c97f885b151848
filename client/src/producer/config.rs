//! The producer's settings.

use std::time::Duration;

use ottla_wire::records::Compression;

use super::accumulator::AccumulatorConfig;
use super::partition::Rules;
use crate::client::ClientConfig;

/// What must have happened before a record counts as acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: it was written to the socket.
    None,
    /// The leader has written it.
    Leader,
    /// All in-sync replicas have it (and Ottla has it on disk).
    All,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Settings of a producer, with Kafka's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// What producer, consumer and admin have in common.
    pub client: ClientConfig,
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`; needs `acks=all`, and is off without it.
    pub idempotent: bool,
    /// `compression.type`.
    pub compression: Compression,
    /// `batch.size`: bytes of records that are sent together.
    pub batch_size: usize,
    /// `linger.ms`: how long to wait for a batch to fill.
    pub linger: Duration,
    /// `buffer.memory`: bytes of records without an answer; a sender waits when it is full.
    pub buffer_memory: usize,
    /// `max.request.size`.
    pub max_request_size: usize,
    /// `max.block.ms`: how long a sender waits for room or metadata.
    pub max_block: Duration,
    /// `delivery.timeout.ms`: how long a record may take, retries included.
    pub delivery_timeout: Duration,
    /// `max.in.flight.requests.per.connection`; at most 5 with idempotence.
    pub max_in_flight: usize,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        let client = ClientConfig {
            client_id: "ottla-producer".to_owned(),
            ..ClientConfig::default()
        };
        Self {
            client,
            acks: Acks::All,
            idempotent: true,
            compression: Compression::None,
            batch_size: 16 << 10,
            linger: Duration::from_millis(5),
            buffer_memory: 32 << 20,
            max_request_size: 1 << 20,
            max_block: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            max_in_flight: MAX_IN_FLIGHT,
        }
    }
}

/// A broker knows the last five batches of a producer again (KIP-98).
const MAX_IN_FLIGHT: usize = 5;

impl ProducerConfig {
    pub(crate) fn is_idempotent(&self) -> bool {
        self.idempotent && self.acks == Acks::All
    }

    pub(crate) fn accumulator(&self) -> AccumulatorConfig {
        let idempotent = self.is_idempotent();
        let most = if idempotent {
            MAX_IN_FLIGHT
        } else {
            usize::MAX
        };
        AccumulatorConfig {
            rules: Rules {
                idempotent,
                max_in_flight: self.max_in_flight.clamp(1, most),
            },
            batch_size: self.batch_size,
            max_request_size: self.max_request_size,
            linger: self.linger,
            delivery_timeout: self.delivery_timeout,
            compression: self.compression,
        }
    }
}
