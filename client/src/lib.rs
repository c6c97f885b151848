//! Ottla's client: a producer, a consumer and an admin for Ottla and Apache Kafka clusters.
//!
//! Everything is generic over [`ottla_io::Io`], so the same code talks to a real broker and runs in
//! the simulator. Decisions (batching, sequence numbers, group membership, assignment) are plain
//! structs with tests of their own; the tasks around them only carry things to and from the network.

pub mod admin;
mod backoff;
mod client;
mod commit;
mod connection;
pub mod consumer;
mod coordinator;
mod error;
mod metadata;
mod offsets;
pub mod producer;
mod random;
mod sync;
mod types;

pub use backoff::Backoff;
pub use client::{Client, ClientConfig, TopicError};
pub use coordinator::GroupError;
pub use error::{BrokerError, ConnectError, RequestError};
pub use metadata::{Broker, Metadata, Partition, Topic};
pub use offsets::{PartitionError, PerPartition};
pub use ottla_wire::{ErrorCode, Str, Uuid};
pub use types::{
    Header, IsolationLevel, OffsetAndMetadata, OffsetAndTimestamp, OffsetSpec, TopicPartition,
};
